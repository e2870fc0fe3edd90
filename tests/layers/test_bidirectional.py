"""Bidirectional compared with two plain runs and with torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import CELLS, GRU, Bidirectional, MinGRU
from rnnlab.interop import torch as torch_weights
from rnnlab.testing import assert_close


def pair(name, **options):
    rngs = nnx.Rngs(0)
    return Bidirectional(CELLS[name](3, 4, rngs=rngs), CELLS[name](3, 4, rngs=rngs), **options)


@pytest.mark.parametrize("merge", ["concat", "sum"])
@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in ("mingru", "lstm") else pytest.mark.slow) for n in CELLS],
)
def test_padded_sequences_equal_a_forward_and_a_reversed_run(name, merge, getkey):
    both = pair(name, merge=merge)
    lengths = (7, 4, 0)
    xs = jax.random.normal(getkey(), (3, 7, 3))
    mask = jnp.arange(7)[None] < jnp.array(lengths)[:, None]
    carry, ys = both(both.initial_carry((3,)), xs, mask=mask)
    for row, length in enumerate(lengths):
        real = xs[row, :length]
        forward_carry, forward = both.forward(both.forward.initial_carry(()), real)
        backward_carry, backward = both.backward(both.backward.initial_carry(()), real[::-1])
        backward = backward[::-1]
        expected = (
            jnp.concatenate([forward, backward], -1) if merge == "concat" else forward + backward
        )
        assert_close(ys[row, :length], expected)
        ended = jax.tree.map(lambda c, row=row: c[row], carry)
        assert_close(ended, (forward_carry, backward_carry))


def test_packed_sequences_with_padding_equal_separate_ones(getkey):
    both = pair("lstm")
    xs = jax.random.normal(getkey(), (1, 9, 3))
    mask = jnp.arange(9)[None] < 7
    # The second flag is in padding, right after the last real step, and has no effect.
    reset = jnp.zeros((1, 9), bool).at[0, jnp.array([3, 7])].set(True)
    _, ys = both(both.initial_carry((1,)), xs, reset=reset, mask=mask)
    for part in (slice(0, 3), slice(3, 7)):
        _, alone = both(both.initial_carry((1,)), xs[:, part])
        assert_close(ys[:, part], alone)


def test_bidirectional_gru_equals_torch(getkey):
    torch = pytest.importorskip("torch")
    layer = torch.nn.GRU(3, 4, batch_first=True, bidirectional=True)
    both = torch_weights.load(layer)
    with torch.no_grad():
        xs = jax.random.normal(getkey(), (2, 5, 3))
        lengths = torch.tensor([5, 3])
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            torch.tensor(np.asarray(xs)), lengths, batch_first=True
        )
        theirs, _ = torch.nn.utils.rnn.pad_packed_sequence(layer(packed)[0], batch_first=True)
    mask = jnp.arange(5)[None] < jnp.array([[5], [3]])
    _, ys = both(both.initial_carry((2,)), xs, mask=mask)
    np.testing.assert_allclose(ys, theirs.numpy(), rtol=1e-5, atol=1e-6)


def test_step_raises_value_error():
    both = pair("mingru")
    with pytest.raises(ValueError, match="no step: its backward cell reads the future"):
        both.step(both.initial_carry((2,)), jnp.ones((2, 3)))


def test_cells_that_do_not_fit_raise_value_error():
    rngs = nnx.Rngs(0)
    with pytest.raises(ValueError, match="must have the in_features of forward, 3, got 2"):
        Bidirectional(MinGRU(3, 4, rngs=rngs), MinGRU(2, 4, rngs=rngs))
    with pytest.raises(ValueError, match="must have the features of forward, 4, with"):
        Bidirectional(MinGRU(3, 4, rngs=rngs), GRU(3, 5, rngs=rngs), merge="sum")
    with pytest.raises(ValueError, match=r"merge must be one of 'concat', 'sum'.* got 'mean'"):
        pair("gru", merge="mean")
