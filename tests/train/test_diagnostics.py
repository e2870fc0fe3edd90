"""Warnings about gradients, and the fraction of saturated gates."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import GRU, LSTM, MinGRU, MinLSTM, VanillaRNN
from rnnlab.models.config import ModelConfig
from rnnlab.tasks.batch import Batch
from rnnlab.testing import assert_close
from rnnlab.train.diagnostics import GradientMonitor, gate_values, make_gate_saturation


def norms(total, **layers):
    return {"gradient_norm": total, **{f"gradient_norm/{k}": v for k, v in layers.items()}}


def test_monitor_exploding_gradient_warns_once_with_step_and_layer():
    monitor = GradientMonitor()
    for step in range(20):
        assert monitor(step, norms(1.0, head=0.5, body=0.8)) == []
    lines = monitor(20, norms(1000.0, head=0.5, body=999.0))
    assert lines == ["step 20: the gradient of body has exploded: norm 1e+03, and 1 in the median"]
    assert monitor(21, norms(1000.0, head=0.5, body=999.0)) == []
    nan = monitor(22, norms(float("nan"), head=float("nan"), body=1.0))
    assert nan == ["step 22: the gradient of head has exploded: NaN or Inf, first in head"]


def test_monitor_vanishing_gradient_names_the_layer():
    monitor = GradientMonitor()
    assert monitor(1, norms(1.0, low=1e-5, head=1.0)) == []
    (line,) = monitor(2, norms(1.0, low=1e-8, head=1.0))
    assert line == "step 2: the gradient of low has vanished: norm 1e-08, and 1 in head"


@pytest.mark.parametrize("make", [GRU, LSTM])
def test_gate_values_of_classic_cells_match_their_equations(make, getkey):
    cell = make(3, 4, rngs=nnx.Rngs(0))
    xs = jax.random.normal(getkey(), (2, 5, 3))
    carry = cell.initial_carry((2,))
    reset = jnp.zeros((2, 5), bool).at[:, 3].set(True)
    gates = cell.gate_values(carry, xs, reset=reset)
    names, order = {GRU: ("rz", "rz"), LSTM: ("ifo", "ifgo")}[make]
    assert set(gates) == set(names)
    _, ys = cell(carry, xs, reset=reset)
    for t in range(5):
        h = jnp.zeros((2, 4)) if t in (0, 3) else ys[:, t - 1]
        pre = xs[:, t] @ cell.kernel[...] + h @ cell.recurrent_kernel[...]
        pre = pre + cell.bias[...][None]
        for name in names:
            k = order.index(name)
            wanted = jax.nn.sigmoid(pre[:, 4 * k : 4 * (k + 1)])
            assert_close(gates[name][:, t], wanted, name)


@pytest.mark.parametrize("decay_range", [(0, 1), (-1, 1)])
@pytest.mark.parametrize("make", [MinGRU, MinLSTM])
def test_gate_values_of_minimal_cells_are_scaled_to_0_1(make, decay_range, getkey):
    cell = make(3, 4, rngs=nnx.Rngs(0), decay_range=decay_range)
    xs = 1000 * jax.random.normal(getkey(), (2, 5, 3))
    decay = cell.gate_values(cell.initial_carry((2,)), xs)["decay"]
    assert decay.shape == (2, 5, 4)
    assert float(decay.min()) < 1e-3
    assert float(decay.max()) > 0.999
    assert ((decay >= 0) & (decay <= 1)).all()


def test_gate_values_of_a_cell_without_gates_are_empty(getkey):
    cell = VanillaRNN(3, 4, rngs=nnx.Rngs(0))
    assert cell.gate_values(cell.initial_carry((2,)), jnp.ones((2, 5, 3))) == {}


def test_gate_saturation_ignores_padding():
    model = ModelConfig(width=4, depth=2, expansion=1, conv_kernel_size=2, mlp_expansion=2).build(
        3, in_features=2, rngs=nnx.Rngs(0)
    )
    kernel = model.body.layers[1].cell.update_kernel
    kernel[...] = 1e6 * jnp.sign(kernel[...])
    mask = np.arange(6) < np.array([[6], [2]])
    inputs = np.random.default_rng(0).normal(size=(2, 6, 2)).astype(np.float32)
    batch = Batch(inputs, np.zeros((2, 6, 3), np.float32), mask)
    graphdef, params = nnx.split(model)
    shares = make_gate_saturation(graphdef)(params, batch)
    assert set(shares) == {"saturated/layer 0/decay", "saturated/layer 1/decay"}
    assert float(shares["saturated/layer 0/decay"]) < 0.1
    assert float(shares["saturated/layer 1/decay"]) > 0.95
    gates = gate_values(model, jax.tree.map(jnp.asarray, batch))[0]["decay"]
    assert gates.shape == (2, 6, 4)
    other = batch._replace(inputs=np.where(mask[..., None], inputs, 1e9).astype(np.float32))
    for name, share in make_gate_saturation(graphdef)(params, other).items():
        assert float(share) == pytest.approx(float(shares[name]))
