"""The contract of recurrent modules and the base class that keeps its bookkeeping.

A module of the contract has `in_features`, `features` and `initial_carry(batch_shape)`, is called
on whole sequences, and has a `step` for one time step. `docs/contract.md` describes the contract,
`rnnlab.testing.check_cell` tests it.
"""

import math
from collections.abc import Callable
from typing import Any, final

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Key

from rnnlab.argument_errors import explain_constructor
from rnnlab.call_arguments import (
    BatchShape,
    RandomSource,
    accept_batch_size,
    call_key,
    split_arguments,
)
from rnnlab.call_validation import mask_outputs, validate_call, validate_gaps
from rnnlab.chained_calls import remember_results
from rnnlab.errors import MissingMethodError, explain_forward_mode
from rnnlab.scan.time_shards import time_axis
from rnnlab.scan.varying import match_varying
from rnnlab.scan.whole_rows import run_whole_rows

SATURATION_MARGIN = 0.01
"""A gate, scaled to [0, 1], is saturated within this distance of either end: its derivative is then
at most 1/25 of the maximum."""


class Recurrent(nnx.Module):
    """Base class of cells and layers.

    `__call__` and `step` are final. They validate their arguments, set masked inputs to 0, run a
    hook, and set masked outputs to 0. A subclass sets `in_features` and `features`, defines
    `initial_carry`, and one of these hooks:

    - `update(carry, x)`: one time step without flags. `run_step` and `run_sequence` apply resets
      and masks around it with `where` and scan over time. The carry's arrays start with the batch
      axes. A faster loop over time overrides `run_loop`.
    - `run_step(carry, x, reset, mask, key)` and `run_sequence(carry, xs, reset, mask, key)`: one
      time step and a whole sequence with flags. A faster form over time overrides `run_sequence`.

    Inputs of the hooks are validated and 0 where masked; outputs may hold anything there. `reset`,
    `mask` and `key` may be None. A module whose `uses_gaps` is True also gets `gaps` by keyword.

    >>> class MovingAverage(Recurrent):
    ...     def __init__(self, features, *, rngs=None):
    ...         self.in_features = self.features = features
    ...
    ...     def initial_carry(self, batch_shape):
    ...         return jnp.zeros((*batch_shape, self.features))
    ...
    ...     def update(self, carry, x):
    ...         carry = 0.5 * carry + 0.5 * x
    ...         return carry, carry
    >>> cell = MovingAverage(1)
    >>> carry, ys = cell(cell.initial_carry(()), jnp.ones((3, 1)))
    >>> print(ys[:, 0])
    [0.5   0.75  0.875]
    """

    in_features: int
    features: int

    def __init_subclass__(cls, **options: Any):
        super().__init_subclass__(**options)
        if "initial_carry" in vars(cls):
            cls.initial_carry = accept_batch_size(cls.initial_carry)
        explain_constructor(cls)

    def initial_carry(self, batch_shape: BatchShape = ()) -> Any:
        """Returns the carry before the first time step, its arrays of shape (*batch_shape, ...).

        `initial_carry(n)` is `initial_carry((n,))`; a subclass always receives a tuple.
        """
        raise MissingMethodError(self, "initial_carry")

    @property
    def uses_gaps(self) -> bool:
        """Whether calls need `gaps`, the time since the previous input."""
        return False

    @final
    def __call__(
        self,
        carry: Any = None,
        xs: Float[Array, "*batch time in_features"] | None = None,
        *,
        reset: Bool[Array, "*batch time"] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
        gaps: Float[Array, "*batch time"] | None = None,
        key: Key[Array, ""] | None = None,
        rngs: RandomSource | None = None,
    ) -> tuple[Any, Float[Array, "*batch time features"]]:
        """Returns the carry after the last real time step and all outputs, 0 where masked.

        Args:
          carry: state before the first time step; None is `initial_carry`, and so is `module(xs)`.
          xs: inputs.
          reset: where True, the state is `initial_carry` before that input.
          mask: where False, the input is padding: the state is kept and the output is 0.
          gaps: time since the previous input, >= 0 and 0 for the first, for modules whose
            `uses_gaps` is True. It does not count in padding.
          key: randomness of dropout, see `rnnlab.layers.Dropout`.
          rngs: the same as an `nnx.Rngs`, whose stream `dropout` is used, or an `nnx.RngStream`.

        Raises:
          ValueError: shapes or dtypes do not fit, carry and xs are what `nnx.Sequential` passes on
            from another cell, or dropout in training mode has no key.
        """
        carry, xs = split_arguments(carry, xs)
        key = call_key(key, rngs)
        carry, xs, reset, mask = validate_call(self, carry, xs, reset, mask, time=True)
        options = validate_gaps(self, gaps, xs.shape[:-1], mask)
        carry, xs, reset, mask, options = match_varying((carry, xs, reset, mask, options))
        with jax.named_scope(type(self).__name__), explain_forward_mode():
            carry, ys = self.run_sequence(carry, xs, reset, mask, key, **options)
            ys = mask_outputs(ys, mask)
        remember_results(self, carry, ys)
        return carry, ys

    @final
    def step(
        self,
        carry: Any,
        x: Float[Array, "*batch in_features"],
        *,
        reset: Bool[Array, "*batch"] | None = None,
        mask: Bool[Array, "*batch"] | None = None,
        gaps: Float[Array, "*batch"] | None = None,
        key: Key[Array, ""] | None = None,
        rngs: RandomSource | None = None,
    ) -> tuple[Any, Float[Array, "*batch features"]]:
        """Returns the carry and the output of one time step, in memory independent of the past.

        Arguments are those of a call, without time.
        """
        key = call_key(key, rngs)
        carry, x, reset, mask = validate_call(self, carry, x, reset, mask, time=False)
        options = validate_gaps(self, gaps, x.shape[:-1], mask)
        carry, x, reset, mask, options = match_varying((carry, x, reset, mask, options))
        with jax.named_scope(type(self).__name__):
            carry, y = self.run_step(carry, x, reset, mask, key, **options)
            return carry, mask_outputs(y, mask)

    @property
    def num_feature_axes(self) -> int:
        """Raises AttributeError: `nnx.RNN` reads this of a cell that it calls step by step."""
        name = type(self).__name__
        raise AttributeError(
            f"nnx.RNN cannot run {name}, which reads whole sequences itself; call it, `carry, ys = "
            "cell(xs)`, or use rnnlab.OutputOnly(cell) in place of nnx.RNN(cell)"
        )

    def update(self, carry: Any, x: Array) -> tuple[Any, Array]:
        """Returns the carry and the output of one time step without flags."""
        raise MissingMethodError(self, "update or run_sequence")

    def run_step(
        self, carry: Any, x: Array, reset: Array | None, mask: Array | None, key: Array | None
    ) -> tuple[Any, Array]:
        """Returns the carry and the output of one time step: reset, then update, then keep."""
        carry = tree_where(reset, self.initial_carry(x.shape[:-1]), carry)
        new, y = self.update(carry, x)
        return (new if mask is None else tree_where(mask, new, carry)), y

    def run_sequence(
        self,
        carry: Any,
        xs: Array,
        reset: Array | None,
        mask: Array | None,
        key: Array | None,
        **options: Array,
    ) -> tuple[Any, Array]:
        """Returns the last carry and all outputs, by `run_loop`.

        Where the time axis is cut over devices, the loop runs as in `rnnlab.scan.whole_rows`.
        """
        return self.run_loops(type(self).run_loop, carry, xs, reset, mask, key, **options)

    @final
    def run_loops(
        self,
        loop: Callable[..., tuple[Any, Array]],
        carry: Any,
        xs: Array,
        reset: Array | None,
        mask: Array | None,
        key: Array | None,
        *,
        in_turns: bool = True,
        **options: Array,
    ) -> tuple[Any, Array]:
        """Returns the results of `loop(self, carry, xs, reset, mask, key, **options)`.

        Where the time axis is cut over devices, the loop gets whole sequences of some examples, or
        with `in_turns` the parts of a sequence one after the other.
        """
        if time_axis(xs, reset, mask) is None:
            return loop(self, carry, xs, reset, mask, key, **options)
        graphdef, state = nnx.split(self)

        def run(parameters, carry, xs, reset, mask, options):
            state, key = parameters
            module = nnx.merge(graphdef, state, copy=True)
            return loop(module, carry, xs, reset, mask, key, **options)

        return run_whole_rows(
            run, (state, key), carry, (xs, reset, mask, options), in_turns=in_turns
        )

    def run_loop(
        self, carry: Any, xs: Array, reset: Array | None, mask: Array | None, key: Array | None
    ) -> tuple[Any, Array]:
        """Returns the last carry and all outputs, by `jax.lax.scan` over `run_step`."""

        def body(carry, inputs):
            x, reset, mask, key = inputs
            return self.run_step(carry, x, reset, mask, key)

        keys = None if key is None else jax.random.split(key, xs.shape[-2])
        time_first = time_axis_first(xs, -2), time_axis_first(reset, -1), time_axis_first(mask, -1)
        # The state after a step varies over the axes of the parameters too.
        _, carry, time_first = match_varying((nnx.state(self), carry, time_first))
        carry, ys = lax.scan(body, carry, (*time_first, keys))
        return carry, jnp.moveaxis(ys, 0, -2)


def module_dtype(module: Any) -> jnp.dtype:
    """Returns the dtype in which a module of the contract computes; float32 if it names none.

    >>> print(module_dtype(object()))
    float32
    """
    return jnp.dtype(getattr(module, "dtype", jnp.float32))


def tree_where(flag: Array | None, x: Any, y: Any) -> Any:
    """Selects between two carries by a flag over their batch axes; None selects `y`.

    >>> print(tree_where(jnp.array([True, False]), jnp.ones((2, 1)), jnp.zeros((2, 1)))[:, 0])
    [1. 0.]
    """
    if flag is None:
        return y

    def select(x, y):
        where = flag.reshape(*flag.shape, *(1,) * (jnp.ndim(y) - flag.ndim))
        return jnp.where(where, x, y)

    return jax.tree.map(select, x, y)


def dense(x: Array, kernel: Array, bias: Array | None, dtype: DTypeLike) -> Array:
    """Returns `x @ kernel + bias` in `dtype`, over any leading axes.

    The leading axes are merged into one: contracting several, XLA transposes the whole cotangent
    of the result.

    >>> print(dense(jnp.ones((2, 3)), jnp.ones((3, 1)), jnp.ones(1), jnp.float32)[:, 0])
    [4. 4.]
    """
    leading = x.shape[:-1]
    y = x.astype(dtype).reshape(math.prod(leading), x.shape[-1]) @ kernel.astype(dtype)
    if bias is not None:
        y = y + bias.astype(dtype)[None]
    return y.reshape(*leading, kernel.shape[-1])


def time_axis_first(x: Array | None, axis: int) -> Array | None:
    """Returns x with its time axis moved to the front; None stays None."""
    return None if x is None else jnp.moveaxis(x, axis, 0)
