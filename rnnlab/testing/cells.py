"""The contract of a cell, as checks. Their compiled functions are `rnnlab.testing.programs`."""

from collections.abc import Callable
from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array

from rnnlab.testing import programs
from rnnlab.testing.programs import LENGTH
from rnnlab.testing.tolerances import assert_close

CUT = 4
"""Time step at which the sequences are cut in two."""


def check_cell(cell: nnx.Module | Callable[..., nnx.Module], seed: int = 0) -> None:
    """Runs every check of the cell contract.

    Args:
      cell: a cell, or a class or function that is called as `cell(in_features, features, rngs=...)`
        and returns one. The latter is checked at two sizes.
      seed: seed of the inputs, and of the parameters of a cell that is made here.

    Raises:
      AssertionError: the cell breaks the contract; the message names what differs.

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
    """One call over time equals `step` folded over it, flags included."""
    call, carry, xs = programs.prepare(cell, key, (2,))
    reset, mask = programs.flags(xs)
    whole = call(programs.run, carry, xs, reset, mask)
    assert_close(whole, call(programs.fold, carry, xs, reset, mask), "sequence against steps")


def resumes_at_any_cut(cell: nnx.Module, key: Array) -> None:
    """Two calls that hand on the carry equal one call, wherever the sequence is cut."""
    call, carry, xs = programs.prepare(cell, key, (2,))
    reset, mask = programs.flags(xs)
    whole = call(programs.run, carry, xs, reset, mask)
    for cut in (0, CUT, LENGTH):
        middle, left = call(programs.run, carry, xs[:, :cut], reset[:, :cut], mask[:, :cut])
        end, right = call(programs.run, middle, xs[:, cut:], reset[:, cut:], mask[:, cut:])
        pieces = end, jnp.concatenate([left, right], 1)
        assert_close(pieces, whole, f"cut at {cut}")


def carry_keeps_its_type(cell: nnx.Module, key: Array) -> None:
    """The returned carry has the shapes and dtypes of the initial one, at least float32."""
    del key
    cell = programs.without_dropout(cell)
    carry = cell.initial_carry((2,))
    xs = jnp.ones((2, LENGTH, cell.in_features))
    expected = jax.tree.map(lambda c: (c.shape, c.dtype), carry)
    for call, x in ((cell, xs), (cell.step, xs[:, 0])):
        call = partial(call, **programs.gaps(cell, x))
        after = jax.eval_shape(lambda carry, x, call=call: call(carry, x)[0], carry, x)
        found = jax.tree.map(lambda c: (c.shape, c.dtype), after)
        assert found == expected, f"the carry must keep {expected}, got {found}"
    for leaf in jax.tree.leaves(carry):
        assert jnp.finfo(leaf.dtype).bits >= 32, (
            f"a carry must be float32 or wider, got {leaf.dtype}: cutting a sequence would round it"
        )


def outputs_are_causal(cell: nnx.Module, key: Array) -> None:
    """An input changes no earlier output."""
    call, carry, xs = programs.prepare(cell, key, (2,))
    changed = xs.at[:, 5:].add(1)
    before = call(programs.run, carry, xs)[1][:, :5]
    assert_close(
        call(programs.run, carry, changed)[1][:, :5], before, "outputs before a changed input"
    )


def neutral_flags_change_nothing(cell: nnx.Module, key: Array) -> None:
    """A call without flags equals one that resets and masks nothing."""
    call, carry, xs = programs.prepare(cell, key, (2,))
    plain = call(programs.run, carry, xs)
    assert_close(programs.run_flagged(call, carry, xs), plain, "results with neutral flags")


def reset_restores_the_initial_carry(cell: nnx.Module, key: Array) -> None:
    """A reset at the first step makes the given carry irrelevant, NaN included."""
    call, carry, xs = programs.prepare(cell, key, (2,))
    fresh = programs.run_flagged(call, cell.initial_carry((2,)), xs)
    nan_carry = jax.tree.map(lambda c: jnp.full_like(c, jnp.nan), carry)
    reset = jnp.zeros(xs.shape[:-1], bool).at[:, 0].set(True)
    found = programs.run_flagged(call, nan_carry, xs, reset)
    assert_close(found, fresh, "results after a reset")


def step_gradients_stop_at_a_reset(cell: nnx.Module, key: Array) -> None:
    """A NaN carry before a reset changes no gradient of the step after it."""
    call, carry, xs = programs.prepare(cell, key, (2,))
    reset = jnp.array([True, False])
    nan_carry = jax.tree.map(lambda c: c.at[0].set(jnp.nan), carry)
    clean = call(programs.step_gradient, carry, xs[:, 0], reset)
    found = call(programs.step_gradient, nan_carry, xs[:, 0], reset)
    assert_close(found, clean, "gradients after a reset")


def last_carry_of_packed_rows(cell: nnx.Module, key: Array) -> None:
    """The carry after packed segments equals that of the last segment."""
    call, carry, xs = programs.prepare(cell, key, (2,))
    reset = jnp.zeros(xs.shape[:-1], bool).at[:, CUT].set(True)
    alone = programs.run_flagged(call, cell.initial_carry((2,)), xs[:, CUT:])[0]
    packed = programs.run_flagged(call, carry, xs, reset)[0]
    assert_close(packed, alone, "carry of packed sequences")


def packed_equals_separate(cell: nnx.Module, key: Array) -> None:
    """Segments in one row, separated by resets, equal separate rows, gradients included."""
    call, _, xs = programs.prepare(cell, key, (2,))
    reset = jnp.zeros(xs.shape[:-1], bool).at[:, CUT].set(True)
    carry = cell.initial_carry((2,))
    pieces = xs[:, :CUT], xs[:, CUT:]

    packed = programs.run_flagged(call, carry, xs, reset)[1]
    separate = [programs.run_flagged(call, carry, x)[1] for x in pieces]
    assert_close(packed, jnp.concatenate(separate, 1), "outputs of packed sequences")

    weights = programs.output_weights(packed)
    gradient = call(programs.gradient, carry, xs, weights, reset)
    separate = [
        call(programs.gradient, carry, x, w, programs.no_reset(x))
        for x, w in zip(pieces, (weights[:, :CUT], weights[:, CUT:]), strict=True)
    ]
    assert_close(gradient, jnp.concatenate(separate, 1), "gradients of packed sequences")


def padded_equals_unpadded(cell: nnx.Module, key: Array) -> None:
    """A padded row gives the outputs and the carry of its real part, and 0 in padding."""
    lengths = jnp.array([LENGTH - CUT, 0])
    call, carry, xs = programs.prepare(cell, key, (2,))
    mask = jnp.arange(LENGTH)[None] < lengths[:, None]
    after, ys = programs.run_flagged(call, carry, xs, mask=mask)
    alone, real = programs.run_flagged(call, carry, xs[:, : LENGTH - CUT])
    assert_close(
        programs.example_of(after, 0), programs.example_of(alone, 0), "carry of a padded row"
    )
    assert_close(ys[0, : LENGTH - CUT], real[0], "outputs of a padded row")
    assert_close(
        programs.example_of(after, 1), programs.example_of(carry, 1), "carry of a row of length 0"
    )
    assert not ys[0, LENGTH - CUT :].any(), "outputs in padding are not 0"
    assert not ys[1].any(), "outputs in padding are not 0"


def nan_stays_in_its_segment(cell: nnx.Module, key: Array) -> None:
    """A NaN input changes no other segment's outputs or input gradients, in either direction."""
    call, _, xs = programs.prepare(cell, key, (2,))
    reset = jnp.zeros(xs.shape[:-1], bool).at[:, jnp.array([3, 6])].set(True)
    carry = cell.initial_carry((2,))
    poisoned = xs.at[:, 4].set(jnp.nan)
    outputs = [programs.run_flagged(call, carry, x, reset)[1] for x in (xs, poisoned)]
    weights = programs.output_weights(outputs[0])
    gradients = [call(programs.gradient, carry, x, weights, reset) for x in (xs, poisoned)]
    for clean, found in (outputs, gradients):
        assert jnp.isnan(found[:, 3:6]).any(), "the planted NaN must show in its own segment"
        for part in (slice(0, 3), slice(6, None)):
            assert_close(found[:, part], clean[:, part], "the segments next to a NaN")


def nan_in_padding_is_harmless(cell: nnx.Module, key: Array) -> None:
    """Padding changes nothing: outputs, carry, gradients of inputs and parameters."""
    call, carry, xs = programs.prepare(cell, key, (2,))
    mask = jnp.arange(LENGTH)[None] < jnp.array([[LENGTH], [4]])
    poisoned = jnp.where(mask[..., None], xs, jnp.nan)
    clean = call(programs.loss_and_gradients, carry, xs, mask)
    assert_close(
        call(programs.loss_and_gradients, carry, poisoned, mask), clean, "with NaN in padding"
    )


def batch_axes_are_vmap(cell: nnx.Module, key: Array) -> None:
    """Any number of leading axes, including none, equals as many `jax.vmap`s."""
    call, carry, xs = programs.prepare(cell, key, (2, 3))
    together = call(programs.run, carry, xs)
    run = partial(call, programs.run)
    assert_close(jax.vmap(jax.vmap(run))(carry, xs), together, "batch axes")
    alone = run(programs.example_of(programs.example_of(carry, 0), 0), xs[0, 0])
    assert_close(alone, programs.example_of(programs.example_of(together, 0), 0), "no batch axis")


def gradients_are_finite(cell: nnx.Module, key: Array) -> None:
    """Inputs of +-1000, which saturate every gate, give finite outputs and gradients."""
    call, carry, xs = programs.prepare(cell, key, (2,))
    xs = 1000 * jnp.sign(xs)
    ys = programs.run_flagged(call, carry, xs)[1]
    assert jnp.isfinite(ys).all(), "outputs at saturated gates must be finite"
    weights = programs.output_weights(ys)
    gradient = call(programs.gradient, carry, xs, weights, programs.no_reset(xs))
    assert jnp.isfinite(gradient).all(), "gradients at saturated gates must be finite"


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
"""Checks of every module that maps sequences to sequences under the contract."""

CELL_CHECKS = {
    check.__name__: check
    for check in (
        sequence_equals_steps,
        resumes_at_any_cut,
        carry_keeps_its_type,
        outputs_are_causal,
        neutral_flags_change_nothing,
        reset_restores_the_initial_carry,
        step_gradients_stop_at_a_reset,
        last_carry_of_packed_rows,
    )
}
"""Further checks of modules that can stream."""
