"""Bad arguments of cells raise ValueError with the argument, its value and what must hold."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import CELLS, GRU, LSTM, MinGRU, MinLSTM, VanillaRNN


@pytest.mark.parametrize("name", CELLS)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"xs": jnp.ones((2, 5, 4))}, r"xs must have shape .* in_features 3, got \(2, 5, 4\)"),
        ({"xs": jnp.ones(3)}, r"xs must have shape .*, got \(3,\)"),
        ({"xs": jnp.ones((2, 5, 3), int)}, "xs must have a real floating dtype, got int32"),
        ({"mask": jnp.ones((2, 5))}, "mask must have dtype bool, got float32"),
        ({"mask": jnp.ones((2, 4), bool)}, r"mask must have shape \(2, 5\), .* got \(2, 4\)"),
        ({"reset": jnp.ones((5,), bool)}, r"reset must have shape \(2, 5\), .* got \(5,\)"),
    ],
)
def test_call_with_bad_arguments_raises(unchecked, name, change, message):
    cell = CELLS[name](3, 4, rngs=nnx.Rngs(0))
    arguments = {"xs": jnp.ones((2, 5, 3))} | change
    with pytest.raises(ValueError, match=message):
        cell(cell.initial_carry((2,)), arguments.pop("xs"), **arguments)


@pytest.mark.parametrize("name", CELLS)
def test_call_with_a_bad_carry_raises(unchecked, name):
    cell = CELLS[name](3, 4, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"carry.* must have shape \(2, .*4\), .* got \(3, .*4\)"):
        cell(cell.initial_carry((3,)), jnp.ones((2, 5, 3)))
    with pytest.raises(ValueError, match=r"carry must have the structure of .*, got a tuple"):
        cell((cell.initial_carry((2,)),), jnp.ones((2, 5, 3)))
    with pytest.raises(ValueError, match=r"x must have shape .*, got \(2, 4\)"):
        cell.step(cell.initial_carry((2,)), jnp.ones((2, 4)))


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (MinGRU, {"candidate": "relu"}, "candidate must be one of 'positive'.* got 'relu'"),
        (
            MinLSTM,
            {"decay_range": (0, 2)},
            r"decay_range must be one of \(0, 1\), \(-1, 1\), got \(0, 2\)",
        ),
        (MinGRU, {"backend": "scan"}, "backend must be one of 'auto', 'sequential'.* got 'scan'"),
        (
            GRU,
            {"backend": "sequential"},
            "backend must be one of 'auto', 'scan'.* got 'sequential'",
        ),
        (GRU, {"backend": "cudnn"}, "backend must be .* got 'cudnn'"),
        (
            VanillaRNN,
            {"activation": "gelu"},
            "activation must be one of 'tanh', 'relu'.* got 'gelu'",
        ),
        (MinGRU, {"decay_range": None}, "decay_range must be .* got None"),
        (GRU, {"dtype": jnp.int32}, "dtype must be a real floating dtype, got int32"),
        (MinLSTM, {"param_dtype": jnp.int8}, "param_dtype must be a real floating dtype, got int8"),
    ],
)
def test_constructor_with_a_bad_option_raises(unchecked, make, options, message):
    with pytest.raises(ValueError, match=message):
        make(3, 4, rngs=nnx.Rngs(0), **options)


@pytest.mark.parametrize("name", CELLS)
def test_constructor_with_a_bad_size_raises(unchecked, name):
    with pytest.raises(ValueError, match="features must be an int >= 1, got 0"):
        CELLS[name](3, 0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"in_features must be an int >= 1, got 2\.0"):
        CELLS[name](2.0, 3, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("name", CELLS)
def test_carry_of_another_dtype_becomes_the_cells_dtype(unchecked, name):
    """NumPy's float64 and 16-bit carries come in; the cell's own dtype goes out."""
    cell = CELLS[name](3, 4, rngs=nnx.Rngs(0))
    start = cell.initial_carry((2,))
    for dtype in (np.float64, jnp.bfloat16):
        carry = jax.tree.map(lambda c, dtype=dtype: np.asarray(c).astype(dtype), start)
        after, _ = cell(carry, np.ones((2, 5, 3), np.float32))
        assert {leaf.dtype for leaf in jax.tree.leaves(after)} == {jnp.dtype(jnp.float32)}
    with pytest.raises(ValueError, match="must have a real floating dtype, got int32"):
        cell(jax.tree.map(lambda c: c.astype(int), start), jnp.ones((2, 5, 3)))


def test_initial_parameters_have_the_chosen_biases():
    """Forget biases have the given value; recurrent kernels are orthogonal per gate."""
    lstm = LSTM(3, 4, rngs=nnx.Rngs(0), forget_bias=2.0)
    assert lstm.bias[...].tolist() == [0.0] * 4 + [2.0] * 4 + [0.0] * 8
    assert MinLSTM(3, 4, rngs=nnx.Rngs(0), forget_bias=3.0).forget_bias[...].tolist() == [3.0] * 4
    for gate in jnp.split(GRU(3, 4, rngs=nnx.Rngs(0)).recurrent_kernel[...], 3, -1):
        assert jnp.abs(gate.T @ gate - jnp.eye(4)).max() < 1e-5


@pytest.mark.parametrize("name", CELLS)
def test_carry_may_be_none_and_a_batch_shape_an_int(name):
    cell, xs = CELLS[name](3, 4, rngs=nnx.Rngs(0)), jnp.ones((2, 5, 3))
    for shape, same in ((2, (2,)), ((), ()), ([2, 1], (2, 1))):
        for one, other in zip(
            *(jax.tree.leaves(cell.initial_carry(s)) for s in (shape, same)), strict=True
        ):
            assert one.shape == other.shape
    shapes = jax.eval_shape(cell, cell.initial_carry(2), xs)
    for found in (
        jax.eval_shape(cell, xs),
        jax.eval_shape(lambda xs: cell(None, xs), xs),
        jax.eval_shape(lambda xs: cell(xs=xs), xs),
    ):
        assert found == shapes
    assert jax.eval_shape(lambda x: cell.step(None, x), xs[:, 0])[1].shape == (2, 4)


@pytest.mark.parametrize("shape", [None, 1.5, "ab", (2.0,)])
def test_bad_batch_shape_raises(shape, unchecked):
    with pytest.raises(ValueError, match="batch_shape must be an int or a tuple of ints, got"):
        CELLS["gru"](3, 4, rngs=nnx.Rngs(0)).initial_carry(shape)


def test_call_without_inputs_raises():
    with pytest.raises(ValueError, match="xs must be given, got None; call cell"):
        CELLS["gru"](3, 4, rngs=nnx.Rngs(0))()
