"""What a cell refuses: one line that names the argument, its value and what is needed."""

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
        ({"xs": jnp.ones((2, 5, 4))}, r"xs has shape \(2, 5, 4\); .* in_features 3"),
        ({"xs": jnp.ones(3)}, r"xs has shape \(3,\)"),
        ({"xs": jnp.ones((2, 5, 3), int)}, "xs has dtype int32"),
        ({"mask": jnp.ones((2, 5))}, "mask has dtype float32; bool"),
        ({"mask": jnp.ones((2, 4), bool)}, r"mask has shape \(2, 4\); \(2, 5\)"),
        ({"reset": jnp.ones((5,), bool)}, r"reset has shape \(5,\); \(2, 5\)"),
    ],
)
def test_bad_calls(unchecked, name, change, message):
    cell = CELLS[name](3, 4, rngs=nnx.Rngs(0))
    arguments = {"xs": jnp.ones((2, 5, 3))} | change
    with pytest.raises(ValueError, match=message):
        cell(cell.initial_carry((2,)), arguments.pop("xs"), **arguments)


@pytest.mark.parametrize("name", CELLS)
def test_bad_carries(unchecked, name):
    cell = CELLS[name](3, 4, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"carry.* has shape \(3, 4\); \(2, 4\) is needed"):
        cell(cell.initial_carry((3,)), jnp.ones((2, 5, 3)))
    with pytest.raises(ValueError, match="carry is a tuple built unlike what initial_carry"):
        cell((cell.initial_carry((2,)),), jnp.ones((2, 5, 3)))
    with pytest.raises(ValueError, match=r"x has shape \(2, 4\)"):
        cell.step(cell.initial_carry((2,)), jnp.ones((2, 4)))


@pytest.mark.parametrize(
    ("make", "options", "message"),
    [
        (MinGRU, {"candidate": "relu"}, "candidate is 'relu'; one of 'positive'"),
        (MinLSTM, {"gate_range": (0, 2)}, r"gate_range is \(0, 2\); one of \(0, 1\), \(-1, 1\)"),
        (MinGRU, {"backend": "scan"}, "backend is 'scan'; one of 'auto', 'sequential'"),
        (GRU, {"backend": "sequential"}, "backend is 'sequential'; one of 'auto', 'scan'"),
        (GRU, {"backend": "cudnn"}, "backend is 'cudnn'"),
        (VanillaRNN, {"activation": "gelu"}, "activation is 'gelu'; one of 'tanh', 'relu'"),
        (MinGRU, {"gate_range": None}, "gate_range is None"),
        (GRU, {"dtype": jnp.int32}, "dtype is int32; a real floating dtype"),
        (MinLSTM, {"param_dtype": jnp.int8}, "param_dtype is int8"),
    ],
)
def test_bad_options(unchecked, make, options, message):
    with pytest.raises(ValueError, match=message):
        make(3, 4, rngs=nnx.Rngs(0), **options)


@pytest.mark.parametrize("name", CELLS)
def test_bad_sizes(unchecked, name):
    with pytest.raises(ValueError, match="features is 0; an int of at least 1"):
        CELLS[name](3, 0, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=r"in_features is 2\.0"):
        CELLS[name](2.0, 3, rngs=nnx.Rngs(0))


@pytest.mark.parametrize("name", CELLS)
def test_carries_take_the_cells_dtype(unchecked, name):
    """NumPy's float64 and 16-bit carries come in; the cell's own dtype goes out."""
    cell = CELLS[name](3, 4, rngs=nnx.Rngs(0))
    start = cell.initial_carry((2,))
    for dtype in (np.float64, jnp.bfloat16):
        carry = jax.tree.map(lambda c, dtype=dtype: np.asarray(c).astype(dtype), start)
        after, _ = cell(carry, np.ones((2, 5, 3), np.float32))
        assert {leaf.dtype for leaf in jax.tree.leaves(after)} == {jnp.dtype(jnp.float32)}
    with pytest.raises(ValueError, match="has dtype int32; a real floating"):
        cell(jax.tree.map(lambda c: c.astype(int), start), jnp.ones((2, 5, 3)))


def test_initialisation():
    """The forget biases start where they are told to; recurrent kernels are orthogonal by gate."""
    lstm = LSTM(3, 4, rngs=nnx.Rngs(0), forget_bias=2.0)
    assert lstm.bias[...].tolist() == [0.0] * 4 + [2.0] * 4 + [0.0] * 8
    assert MinLSTM(3, 4, rngs=nnx.Rngs(0), forget_bias=3.0).forget_bias[...].tolist() == [3.0] * 4
    for gate in jnp.split(GRU(3, 4, rngs=nnx.Rngs(0)).recurrent_kernel[...], 3, -1):
        assert jnp.abs(gate.T @ gate - jnp.eye(4)).max() < 1e-5
