"""The contract of a cell, as checks."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from rnnlab.dtypes import accumulation_dtype
from rnnlab.testing.tolerances import assert_close

LENGTH = 9


def check_cell(cell: nnx.Module | Callable[..., nnx.Module], seed: int = 0) -> None:
    """Runs every check of the cell contract. Raises AssertionError at the first broken one.

    Args:
      cell: a cell, or what makes one: a class, or another function that is called as
        `cell(in_features, features, rngs=...)`. That is checked at two sizes.
      seed: of the inputs, and of the parameters of a cell that is made here.

    >>> from rnnlab import VanillaRNN
    >>> check_cell(VanillaRNN(3, 4, rngs=nnx.Rngs(0)))
    """
    cells = [cell]
    if not isinstance(cell, nnx.Module):
        cells = [cell(*sizes, rngs=nnx.Rngs(seed)) for sizes in ((3, 4), (1, 1))]
    for made in cells:
        for check in {**SEQUENCE_CHECKS, **CELL_CHECKS}.values():
            check(made, jax.random.key(seed))


def sequence_equals_steps(cell: nnx.Module, key: Array) -> None:
    """One call over time is `step` folded over it, flags included."""
    run, carry, xs = _example(cell, key, (2,))
    reset, mask = _flags(xs)

    @jax.jit
    def fold(carry, xs, reset, mask):
        def body(carry, row):
            x, reset, mask = row
            return cell.step(carry, x, reset=reset, mask=mask)

        rows = [jnp.moveaxis(x, 1, 0) for x in (xs, reset, mask)]
        carry, ys = lax.scan(body, carry, tuple(rows))
        return carry, jnp.moveaxis(ys, 0, 1)

    whole, folded = run(carry, xs, reset, mask), fold(carry, xs, reset, mask)
    assert_close(whole, folded, "sequence against steps")


def resumes_at_any_cut(cell: nnx.Module, key: Array) -> None:
    """Two calls with the carry handed on are one call, wherever the sequence is cut."""
    run, carry, xs = _example(cell, key, (2,))
    reset, mask = _flags(xs)
    whole = run(carry, xs, reset, mask)
    for cut in (0, 1, 4, LENGTH):
        middle, left = run(carry, xs[:, :cut], reset[:, :cut], mask[:, :cut])
        end, right = run(middle, xs[:, cut:], reset[:, cut:], mask[:, cut:])
        pieces = end, jnp.concatenate([left, right], 1)
        assert_close(pieces, whole, f"cut at {cut}")


def carry_keeps_its_type(cell: nnx.Module, key: Array) -> None:
    """The returned carry has the shapes and dtypes of the initial one, at least float32."""
    del key
    carry = cell.initial_carry((2,))
    xs = jnp.ones((2, LENGTH, cell.in_features))
    for call, x in ((cell, xs), (cell.step, xs[:, 0])):
        after = jax.eval_shape(lambda carry, x, call=call: call(carry, x)[0], carry, x)
        wanted = jax.tree.map(lambda c: (c.shape, c.dtype), carry)
        assert jax.tree.map(lambda c: (c.shape, c.dtype), after) == wanted
    for leaf in jax.tree.leaves(carry):
        assert jnp.finfo(leaf.dtype).bits >= 32, f"a carry of {leaf.dtype} changes when cut"


def outputs_are_causal(cell: nnx.Module, key: Array) -> None:
    """An input changes no output before it."""
    run, carry, xs = _example(cell, key, (2,))
    changed = xs.at[:, 5:].add(1)
    assert_close(run(carry, changed)[1][:, :5], run(carry, xs)[1][:, :5], "outputs before")


def reset_restores_the_initial_carry(cell: nnx.Module, key: Array) -> None:
    """A reset at the first step makes the given carry irrelevant, NaN included."""
    run, carry, xs = _example(cell, key, (2,))
    fresh = run(cell.initial_carry((2,)), xs)
    lost = jax.tree.map(lambda c: jnp.full_like(c, jnp.nan), carry)
    reset = jnp.zeros(xs.shape[:-1], bool).at[:, 0].set(True)
    assert_close(run(lost, xs, reset), fresh, "after a reset")


def step_gradients_stop_at_a_reset(cell: nnx.Module, key: Array) -> None:
    """A NaN carry before a reset changes no gradient of the step after it."""
    _, carry, xs = _example(cell, key, (2,))
    reset = jnp.array([True, False])

    @jax.jit
    def gradient(carry, x):
        def loss(x):
            return jnp.sum(jnp.sin(_wide(cell.step(carry, x, reset=reset)[1][0])))

        return jax.grad(loss)(x)

    lost = jax.tree.map(lambda c: c.at[0].set(jnp.nan), carry)
    assert_close(gradient(lost, xs[:, 0]), gradient(carry, xs[:, 0]), "gradients after a reset")


def last_carry_of_packed_rows(cell: nnx.Module, key: Array) -> None:
    """The carry after packed segments is that of the last one alone."""
    run, carry, xs = _example(cell, key, (2,))
    reset = jnp.zeros(xs.shape[:-1], bool).at[:, 4].set(True)
    alone = run(cell.initial_carry((2,)), xs[:, 4:])[0]
    assert_close(run(carry, xs, reset)[0], alone, "carry of packed rows")


def packed_equals_separate(cell: nnx.Module, key: Array) -> None:
    """Segments in one row, divided by resets, give what each gives alone, gradients included."""
    run, _, xs = _example(cell, key, (2,))
    reset = jnp.zeros(xs.shape[:-1], bool).at[:, 4].set(True)
    carry = cell.initial_carry((2,))

    def packed(xs):
        return run(carry, xs, reset)[1]

    def separate(xs):
        return jnp.concatenate([run(carry, xs[:, :4])[1], run(carry, xs[:, 4:])[1]], 1)

    assert_close(packed(xs), separate(xs), "packed rows")
    assert_close(_gradient(packed)(xs), _gradient(separate)(xs), "their gradients")


def padded_equals_unpadded(cell: nnx.Module, key: Array) -> None:
    """A masked row gives what its real part gives alone, 0 after it, and the carry at its end."""
    lengths = (LENGTH, 5, 0)
    run, carry, xs = _example(cell, key, (3,))
    mask = jnp.arange(LENGTH)[None] < jnp.array(lengths)[:, None]
    after, ys = run(carry, xs, None, mask)
    for row, length in enumerate(lengths):
        one = slice(row, row + 1)
        start = jax.tree.map(lambda c, one=one: c[one], carry)
        alone, real = run(start, xs[one, :length])
        ended = jax.tree.map(lambda c, one=one: c[one], after)
        assert_close(ended, alone, f"carry of a row of {length}")
        assert_close(ys[one, :length], real, f"outputs of a row of {length}")
        assert not ys[one, length:].any(), "outputs in padding are not 0"


def nan_stays_in_its_segment(cell: nnx.Module, key: Array) -> None:
    """A NaN input changes no other segment's outputs or input gradients, in either direction."""
    run, _, xs = _example(cell, key, (2,))
    reset = jnp.zeros(xs.shape[:-1], bool).at[:, jnp.array([3, 6])].set(True)
    carry = cell.initial_carry((2,))

    def outputs(xs):
        return run(carry, xs, reset)[1]

    poisoned = xs.at[:, 4].set(jnp.nan)
    for f in (outputs, _gradient(outputs)):
        clean, dirty = f(xs), f(poisoned)
        assert jnp.isnan(dirty[:, 3:6]).any(), "the planted NaN did not show"
        for part in (slice(0, 3), slice(6, None)):
            assert_close(dirty[:, part], clean[:, part], "the segments beside a NaN")


def nan_in_padding_is_harmless(cell: nnx.Module, key: Array) -> None:
    """What padding holds changes nothing: outputs, carry, gradients of inputs and parameters."""
    graphdef, params = nnx.split(cell)
    _, carry, xs = _example(cell, key, (2,))
    mask = jnp.arange(LENGTH)[None] < jnp.array([[LENGTH], [4]])

    @jax.jit
    def loss_and_gradients(xs):
        def loss(params, xs):
            model = nnx.merge(graphdef, params, copy=True)
            after, ys = model(carry, xs, mask=mask)
            return sum(jnp.sum(jnp.sin(_wide(y))) for y in jax.tree.leaves((after, ys)))

        return jax.value_and_grad(loss, (0, 1))(params, xs)

    poisoned = jnp.where(mask[..., None], xs, jnp.nan)
    assert_close(loss_and_gradients(poisoned), loss_and_gradients(xs), "beside NaN padding")


def batch_axes_are_vmap(cell: nnx.Module, key: Array) -> None:
    """Any number of leading axes, none included, is as many `jax.vmap`s."""
    run, carry, xs = _example(cell, key, (2, 3))
    together = run(carry, xs)
    assert_close(jax.vmap(jax.vmap(run))(carry, xs), together, "batch axes")
    first = jax.tree.map(lambda x: x[0, 0], together)
    alone = run(jax.tree.map(lambda c: c[0, 0], carry), xs[0, 0])
    assert_close(alone, first, "no batch axis")


def gradients_are_finite(cell: nnx.Module, key: Array) -> None:
    """Inputs of +-1000, which saturate every gate, give finite outputs and gradients."""
    run, carry, xs = _example(cell, key, (2,))
    xs = 1000 * jnp.sign(xs)

    def outputs(xs):
        return run(carry, xs)[1]

    assert jnp.isfinite(outputs(xs)).all(), "outputs at saturated gates"
    assert jnp.isfinite(_gradient(outputs)(xs)).all(), "gradients at saturated gates"


SEQUENCE_CHECKS = {
    check.__name__: check
    for check in (
        packed_equals_separate,
        padded_equals_unpadded,
        nan_stays_in_its_segment,
        nan_in_padding_is_harmless,
        batch_axes_are_vmap,
        gradients_are_finite,
    )
}
"""What holds for whatever maps sequences to sequences under the contract."""

CELL_CHECKS = {
    check.__name__: check
    for check in (
        sequence_equals_steps,
        resumes_at_any_cut,
        carry_keeps_its_type,
        outputs_are_causal,
        reset_restores_the_initial_carry,
        step_gradients_stop_at_a_reset,
        last_carry_of_packed_rows,
    )
}
"""What holds besides for whatever can stream."""


def _example(cell, key, batch):
    """The cell as a jitted function, a random carry and random inputs."""
    carry_key, xs_key = jax.random.split(key)
    carry = cell.initial_carry(batch)
    leaves, treedef = jax.tree.flatten(carry)
    keys = jax.random.split(carry_key, len(leaves))
    leaves = [c + jax.random.normal(k, c.shape, c.dtype) for c, k in zip(leaves, keys, strict=True)]
    # In the cell's dtype, whose tolerance then holds for gradients of the inputs too.
    xs = jax.random.normal(xs_key, (*batch, LENGTH, cell.in_features), jnp.float32)
    xs = xs.astype(getattr(cell, "dtype", jnp.float32))

    return functools.partial(_call, *nnx.split(cell)), jax.tree.unflatten(treedef, leaves), xs


@functools.partial(jax.jit, static_argnums=0)
def _call(graphdef, params, carry, xs, reset=None, mask=None):
    """One call of a cell; all checks share what is compiled for a cell and a shape."""
    return nnx.merge(graphdef, params, copy=True)(carry, xs, reset=reset, mask=mask)


def _flags(xs):
    """Two resets a row, one of them in the second row's padding, which starts at step 6."""
    reset = jnp.zeros(xs.shape[:-1], bool).at[:, 2].set(True).at[:, 7].set(True)
    return reset, jnp.arange(LENGTH)[None] < jnp.array([[LENGTH], [6]])


def _gradient(f):
    """Gradient of a scalar of f's outputs that weighs each differently."""
    return jax.jit(jax.grad(lambda xs: _weighted_sum(f(xs))))


def _weighted_sum(ys):
    weights = 1 + 0.1 * jnp.arange(ys.size, dtype=jnp.float32).reshape(ys.shape)
    # NaN outputs are left out, so that each output's own gradient shows whom it reaches.
    ys = _wide(ys)
    return jnp.sum(jnp.where(jnp.isnan(ys), 0 * ys, weights.astype(ys.dtype) * jnp.sin(ys)))


def _wide(y):
    return y.astype(accumulation_dtype(y.dtype))
