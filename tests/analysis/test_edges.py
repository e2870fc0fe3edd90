"""Rare valid inputs: 16 bit, extremes, one time step, nested stacks, changed parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from linear_cell import LinearRNN, rotation

from rnnlab import GRU, Attention, MinGRU, SequenceModel, Stack
from rnnlab.analysis import (
    cell_inputs,
    decay_horizon,
    gradient_flow,
    gradient_times_input,
    input_sensitivity,
    integrated_gradients,
    jacobians,
    layers,
    log_product_norms,
    lyapunov_exponents,
    memory_horizon,
    participation_ratio,
    states,
)
from rnnlab.analysis.report import figures, table
from rnnlab.models.config import ModelConfig


def last(ys):
    return ys[-1, 0]


@pytest.mark.parametrize(
    "settings",
    [
        {"cell": "gru", "dtype": "bfloat16"},
        {"cell": "tcn"},
        {"cell": "mamba+transformer", "depth": 2},
    ],
)
@pytest.mark.usefixtures("quick_compile")
def test_report_of_every_kind_of_model_has_table_and_figures(settings):
    model = ModelConfig(**{"width": 8, "depth": 1, **settings}).build(
        5, vocab_size=5, rngs=nnx.Rngs(0)
    )
    xs = jnp.array([1, 4, 0, 2, 2, 3], jnp.int32)
    assert len(table(model, xs).lines) == settings.get("depth", 1)
    assert len(dict(figures(model, xs, list("abcdef")))) >= 4


@pytest.mark.usefixtures("quick_compile")
def test_report_of_one_time_step_has_no_trajectory():
    model = ModelConfig("gru", width=8, depth=1).build(5, vocab_size=5, rngs=nnx.Rngs(0))
    xs = jnp.array([1], jnp.int32)
    assert "trajectory" not in dict(figures(model, xs))
    assert "nan" not in " ".join(table(model, xs).lines[0])
    with pytest.raises(ValueError, match="one entry per time step \\(1\\), got 2"):
        next(figures(model, xs, list("ab")))


def test_norms_whose_squares_leave_float32_are_accurate():
    """A radius of 3 over 75 steps, and of 1/3."""
    for radius in (3.0, 1 / 3):
        cell = LinearRNN(rotation(radius))
        xs = jnp.zeros((75, 2))
        flow = gradient_flow(cell, cell.initial_carry(()), xs, last)["cell"]
        np.testing.assert_allclose(np.log(flow[0]), 75 * np.log(radius), rtol=1e-5)
        found = input_sensitivity(cell, cell.initial_carry(()), xs)
        np.testing.assert_allclose(np.log(found[-1]), 74 * np.log(radius), rtol=1e-5)
    for size in (1e-24, 1e24):
        found = log_product_norms(jnp.full((3, 1, 1), size))
        np.testing.assert_allclose(found, np.log(size) * np.array([3, 2, 1]), rtol=1e-5)
    cube = jnp.concatenate([jnp.eye(3), -jnp.eye(3)])
    for size in (1e-20, 1e20):
        np.testing.assert_allclose(participation_ratio(size * cube), 3, rtol=1e-5)
    assert participation_ratio(jnp.ones((5, 3))) == 0


def test_gradient_flow_exploded_gradient_is_not_small():
    cell = LinearRNN(rotation(3.0))
    flow = gradient_flow(cell, cell.initial_carry(()), jnp.zeros((100, 2)), last)["cell"]
    assert flow[20] > 1e38
    assert not (flow[:20] < 1e38).any()  # beyond float32: Inf or NaN


def test_memory_horizon_of_constant_decay_and_nan_is_not_finite():
    assert jnp.isinf(decay_horizon(jnp.array([1.0, -1.0, 1.1]))).all()
    unknown = jnp.ones((5, 2)).at[0, 0].set(jnp.nan)
    assert memory_horizon(unknown).tolist() == [5, 5]
    with pytest.raises(ValueError, match="threshold must be"):
        decay_horizon(jnp.array(0.9), 1.5)


def test_layers_of_nested_stacks_have_nested_names():
    rngs = nnx.Rngs(0)
    inner = Stack([GRU(3, 4, rngs=rngs), GRU(4, 4, rngs=rngs)])
    stack = Stack([inner, GRU(4, 4, rngs=rngs)])
    names = ["layer 1.1", "layer 1.2", "layer 2"]
    carry = stack.initial_carry(())
    assert [layer.name for layer in layers(stack, carry)] == names
    assert list(gradient_flow(stack, carry, jnp.ones((5, 3)), last)) == names


def test_attribution_after_a_parameter_change_uses_the_new_parameters(getkey):
    cell = GRU(3, 4, rngs=nnx.Rngs(0))
    xs = jax.random.normal(getkey(), (6, 3))

    def f(xs):
        return cell(cell.initial_carry(()), xs)[1][..., -1, 0]

    before = gradient_times_input(f, xs)
    cell.kernel[...] = 3 * cell.kernel[...]
    assert not jnp.allclose(gradient_times_input(f, xs), before)
    parts = integrated_gradients(f, xs, steps=256)
    np.testing.assert_allclose(parts.sum(), f(xs) - f(0 * xs), atol=1e-4)


def test_integrated_gradients_of_16_bit_inputs_accumulate_in_float32():
    xs = jnp.array([[1.0], [3.0]], jnp.bfloat16)
    found = integrated_gradients(
        lambda x: (x.astype(jnp.float32) ** 2).sum((-2, -1)), xs, steps=1024
    )
    np.testing.assert_allclose(found, [1, 9], rtol=0.01)


def test_analyses_of_a_16_bit_carry_cast_it():
    cell = GRU(3, 4, rngs=nnx.Rngs(0))
    carry, xs = cell.initial_carry(()).astype(jnp.bfloat16), jnp.ones((5, 3))
    assert states(cell, carry, xs).shape == (5, 4)
    assert gradient_flow(cell, carry, xs, last)["cell"].shape == (5,)
    assert lyapunov_exponents(cell, carry, xs).shape == (1,)


def test_lyapunov_exponents_are_independent_of_count(getkey):
    cell = GRU(3, 8, rngs=nnx.Rngs(0))
    xs = jax.random.normal(getkey(), (20, 3))
    all_of_them = lyapunov_exponents(cell, cell.initial_carry(()), xs, 8)
    assert (jnp.diff(all_of_them) <= 0).all()
    one = lyapunov_exponents(cell, cell.initial_carry(()), xs, 1)
    assert jnp.abs(all_of_them - one).min() < 1e-4


def test_jacobians_of_attention_and_of_an_empty_sequence_have_their_shapes(getkey):
    layer = Attention(3, 8, rngs=nnx.Rngs(0), heads=2, window=3)
    xs = jax.random.normal(getkey(), (4, 3))
    assert jacobians(layer, layer.initial_carry(()), xs).shape == (4, 34, 34)
    cell = GRU(3, 4, rngs=nnx.Rngs(0))
    assert jacobians(cell, cell.initial_carry(()), xs[:0]).shape == (0, 4, 4)
    for f in (input_sensitivity, lyapunov_exponents):
        with pytest.raises(ValueError, match="xs must have >= 1 time steps"):
            f(cell, cell.initial_carry(()), xs[:0])


def test_cell_inputs_in_padding_are_finite(getkey):
    rngs = nnx.Rngs(0)
    model = SequenceModel(MinGRU(4, 4, rngs=rngs), 5, in_features=3, rngs=rngs)
    mask = jnp.arange(6) < 4
    xs = jnp.where(mask[:, None], jax.random.normal(getkey(), (6, 3)), jnp.nan)
    (read,) = cell_inputs(model, model.initial_carry(()), xs, mask=mask)
    assert jnp.isfinite(read.xs).all()
