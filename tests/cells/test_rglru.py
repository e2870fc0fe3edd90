"""RG-LRU against the authors' implementation, and its initialization and limits."""

import json
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracles import relative_error

from rnnlab import RGLRU

STORED = Path(__file__).parent.parent / "data" / "peers" / "rglru.json"
"""What recurrentgemma 1.0.1 computes in float32, with all gradients; the file has its provenance.
The package itself needs an older numpy than rnnlab."""


def mapped(params):
    """The authors' parameters under our names; their layer has no projection before the gates."""
    gates = {"recurrence": params["a_gate"], "input": params["input_gate"]}
    return {
        **{f"{name}_gate_kernel": np.float32(gate["w"]) for name, gate in gates.items()},
        **{f"{name}_gate_bias": np.float32(gate["b"]).reshape(-1) for name, gate in gates.items()},
        "rate": np.float32(params["a_param"]),
    }


def test_outputs_last_state_and_gradients_equal_recurrentgemma():
    stored = json.loads(STORED.read_text(encoding="utf-8"))
    x, h0, y_weights, last_weights = (
        jnp.float32(jnp.array(value))
        for value in (stored["x"], stored["h0"], *stored["weights"].values())
    )
    graphdef, state = nnx.split(RGLRU(4, 4, heads=2, rngs=nnx.Rngs(0)))
    params = {"input_kernel": np.eye(4, dtype=np.float32), **mapped(stored["params"])}
    assert params.keys() == nnx.to_pure_dict(state).keys()
    nnx.replace_by_pure_dict(state, {name: jnp.asarray(value) for name, value in params.items()})

    def loss(state, x, h0):
        last, y = nnx.merge(graphdef, state, copy=True)(h0, x)
        return jnp.sum(y * y_weights) + jnp.sum(last * last_weights), (y, last)

    (dstate, dx, dh0), (y, last) = jax.jit(jax.grad(loss, (0, 1, 2), has_aux=True))(state, x, h0)
    assert relative_error(y, stored["y"]) < 1e-6
    assert relative_error(last, stored["last"]) < 1e-6
    gradients = stored["gradients"]
    assert relative_error(dx, gradients["x"]) < 1e-5
    assert relative_error(dh0, gradients["h0"]) < 1e-5
    for name, expected in mapped(gradients["params"]).items():
        assert relative_error(nnx.to_pure_dict(dstate)[name], expected) < 1e-5, name


def test_decays_start_within_the_range_of_the_paper():
    cell = RGLRU(2, 1000, rngs=nnx.Rngs(0))
    radius = np.exp(-np.logaddexp(0, np.asarray(cell.rate[...])))
    assert 0.9 <= radius.min() < 0.91
    assert 0.998 < radius.max() <= 0.999
    assert np.quantile(radius**2, 0.5) == pytest.approx((0.81 + 0.998) / 2, abs=0.01)


def test_closed_recurrence_gate_keeps_the_state_with_finite_gradients():
    cell = RGLRU(3, 4, rngs=nnx.Rngs(0))
    cell.recurrence_gate_bias[...] = jnp.full(4, -200.0)
    state, xs = jnp.arange(4.0), jnp.ones((6, 3))
    last, gradient = jax.value_and_grad(lambda xs: cell(state, xs)[0].sum())(xs)
    assert float(last) == pytest.approx(6.0, rel=1e-6)
    assert jnp.isfinite(gradient).all()


def test_heads_that_do_not_divide_the_features_are_refused():
    with pytest.raises(ValueError, match="features must be a multiple of heads, got 4 and 3"):
        RGLRU(3, 4, heads=3, rngs=nnx.Rngs(0))
