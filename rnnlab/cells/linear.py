"""The base of cells whose state follows a linear recurrence, `h[t] = a[t] h[t-1] + b[t]`.

minGRU, minLSTM and Mamba are such cells, as are RG-LRU, LRU and S5. They differ in the layers
before the coefficients, in the coefficients, and in what is read out of the states.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, Protocol, TypedDict, runtime_checkable

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from rnnlab.call_arguments import BatchShape
from rnnlab.call_validation import validate_call, validate_gaps
from rnnlab.cells.gap_decay import gap_exponent
from rnnlab.cells.recurrence import GatedRecurrence
from rnnlab.dtypes import accumulation_dtype, compute_dtype
from rnnlab.errors import MissingMethodError
from rnnlab.recurrent import Recurrent
from rnnlab.scan import BACKENDS, CoefficientFn
from rnnlab.validation import require_one_of, require_positive_int

UNIT_NORMAL = nnx.initializers.normal(1.0)
Layer = Callable[[Recurrent, Any, Array], tuple[Any, Array]]
"""Runs a layer over a sequence or one time step: `apply(layer, carry, xs) -> (carry, ys)`."""


class LinearCarry(NamedTuple):
    """The carry of the layers before the gates, and the state."""

    before: Any
    state: Any


@runtime_checkable
class Recurrence(Protocol):
    """A recurrence over one call's inputs, as in `rnnlab.cells.recurrence`.

    `scan` and `step` return the last state and the states of all time steps, or a readout of them.
    """

    def scan(self, state: Any, reset_state: Any, reset: Any, mask: Any, backend: str) -> Any: ...
    def step(self, state: Any, reset_state: Any, reset: Any, mask: Any) -> Any: ...
    def decay(self) -> Array | None: ...


class LinearCellOptions(TypedDict, total=False):
    """Keyword arguments of `LinearCell`, for the constructors of its subclasses."""

    learn_initial_state: bool
    initial_state_init: nnx.Initializer
    dtype: DTypeLike | None
    param_dtype: DTypeLike
    backend: str


class LinearCell(Recurrent):
    """A cell whose state is a linear recurrence over the input.

        u = before_gates(x)                                      layers with a carry of their own
        a, b = coefficients(*preactivations(u), *operands())     pointwise
        h[t] = a[t] h[t-1] + b[t],   y = readout(h, u)

    A subclass defines `coefficients` and `preactivations`, and where needed:

    - `operands`: learned arrays (features,) that the coefficients read at every time step.
    - `before_gates` and `carry_type`: layers with a carry, such as a causal convolution.
    - `readout`: outputs other than the state.
    - `state_shape`, `state_dtype`, `decay_range`: real or complex states of any shape.
    - `recurrence`: coefficients that are not pointwise functions of pre-activations: constant in
      time (`LinearRecurrence`), or several recurrences (`JointRecurrence`, a tuple of states).

    Args:
      in_features, features: width of the input and of the output.
      rngs: source of the parameters' keys.
      learn_initial_state: whether the initial state is a parameter; otherwise it is zeros.
      initial_state_init: initializer of that parameter.
      dtype: dtype of the layers and of `ys`; None is `param_dtype`. Coefficients and states are
        float32 (float64 where dtype is), so that cutting a sequence never changes them.
      param_dtype: dtype of the parameters.
      backend: backend of the scan; see `rnnlab.linear_scan`.

    Raises:
      ValueError: an option is unknown, or a call's shapes or dtypes do not fit.

    >>> class Leaky(LinearCell):
    ...     def __init__(self, in_features, features, *, rngs, **options):
    ...         super().__init__(in_features, features, rngs=rngs, **options)
    ...         self.project = nnx.Linear(in_features, features, rngs=rngs)
    ...         self.rate = nnx.Param(jnp.zeros(features))
    ...
    ...     def preactivations(self, xs):
    ...         return (self.project(xs),)
    ...
    ...     def operands(self):
    ...         return (self.rate[...],)
    ...
    ...     @staticmethod
    ...     def coefficients(x, rate):
    ...         a = jax.nn.sigmoid(rate)
    ...         return a, (1 - a) * x
    >>> import jax
    >>> cell = Leaky(3, 8, rngs=nnx.Rngs(0))
    >>> carry, ys = cell(jnp.ones((2, 5, 3)))
    >>> carry.shape, ys.shape
    ((2, 8), (2, 5, 8))
    """

    backends = BACKENDS
    decay_range: tuple[int, int] = (0, 1)
    """Range of `a`, or of its modulus where it is complex."""
    carry: nnx.Param | None = None
    """The learned initial state, or None for zeros."""
    carry_type: Callable[[Any, Any], Any] | None = None
    """Pairs the carry of `before_gates` with the state, as `LinearCarry`; None: they have none."""
    gap_rate: nnx.Param | None = None
    """Rates at which units decay with the time between inputs, or None; see `cells.gap_decay`."""

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        rngs: nnx.Rngs,
        learn_initial_state: bool = False,
        initial_state_init: nnx.Initializer = UNIT_NORMAL,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        backend: str = "auto",
    ):
        require_positive_int(in_features=in_features, features=features)
        require_one_of("backend", backend, self.backends)
        require_one_of("learn_initial_state", learn_initial_state, (False, True))
        self.in_features = in_features
        self.features = features
        self.dtype = compute_dtype(dtype, param_dtype)
        self.param_dtype = jnp.dtype(param_dtype)
        self.backend = backend
        if learn_initial_state:
            self._draw_initial_state(initial_state_init, rngs)

    def _draw_initial_state(self, init: nnx.Initializer, rngs: nnx.Rngs) -> None:
        """Makes the initial state a parameter that is drawn from `init`."""
        shape = (1, *self.state_shape)
        initial_state = init(rngs.params(), shape, self.param_dtype)[0]
        self.carry = nnx.Param(initial_state, weight_decay=False)

    @property
    def learn_initial_state(self) -> bool:
        """Whether the initial state is a parameter."""
        return self.carry is not None

    @property
    def gap_decay(self) -> bool:
        """Whether the state decays with the time between inputs."""
        return self.gap_rate is not None

    @property
    def uses_gaps(self) -> bool:
        """Whether calls need `gaps`, the time since the previous input."""
        return self.gap_decay

    @property
    def state_shape(self) -> tuple[int, ...]:
        """Shape of the state of one sequence."""
        return (self.features,)

    @property
    def state_dtype(self) -> jnp.dtype:
        """Dtype of the state: at least 32 bits per real number."""
        return accumulation_dtype(self.dtype)

    @property
    def coefficients(self) -> CoefficientFn:
        """The pointwise function `(*preactivations, *operands) -> (a, b)`, hashable by value."""
        raise MissingMethodError(self, "coefficients")

    def before_gates(self, carry: Any, xs: Array, apply: Layer) -> tuple[Any, Any]:
        """Runs the layers before the coefficients.

        Args:
          carry: the carry of these layers, the first part of `carry_type`; () without one.
          xs: inputs, over time or of one time step.
          apply: runs a layer with the call's flags, `apply(layer, carry, xs) -> (carry, ys)`.

        Returns:
          The next carry, and what `preactivations` and `readout` read.
        """
        return carry, xs

    def initial_carry_before_gates(self, batch_shape: Sequence[Any]) -> Any:
        """Returns the initial carry of `before_gates`."""
        return ()

    def preactivations(self, inputs: Any) -> Sequence[Float[Array, "*batch features"]]:
        """Returns the arrays that `coefficients` reads, each of shape (..., features)."""
        raise MissingMethodError(self, "preactivations")

    def operands(self) -> Sequence[Float[Array, " features"]]:
        """Returns the learned operands of `coefficients`, constant in time, (features,) each."""
        return ()

    def recurrence(self, inputs: Any) -> Recurrence:
        """Returns the recurrence of a call, from the results of `before_gates`."""
        return GatedRecurrence(self.coefficients, self.preactivations(inputs), self.operands())

    def readout(self, h: Any, inputs: Any) -> Array:
        """Returns the outputs, from the states and the results of `before_gates`."""
        return h.astype(self.dtype)

    def initial_state(self, batch_shape: Sequence[Any]) -> Any:
        """Returns zeros, or the learned state, of shape (*batch_shape, *state_shape)."""
        shape = (*batch_shape, *self.state_shape)
        if self.carry is None:
            return jnp.zeros(shape, self.state_dtype)
        return jnp.broadcast_to(self.carry[...].astype(self.state_dtype), shape)

    def initial_carry(self, batch_shape: BatchShape = ()) -> Any:
        """Returns the initial state, paired by `carry_type` with the carry of `before_gates`."""
        state = self.initial_state(batch_shape)
        if self.carry_type is None:
            return state
        return self.carry_type(self.initial_carry_before_gates(batch_shape), state)

    def run_sequence(self, carry, xs, reset, mask, key, gaps=None):
        def apply(layer, carry, xs):
            return layer(carry, xs, reset=reset, mask=mask)

        before, state, recurrence, inputs = self._start(carry, xs, apply, gaps)
        reset_state = self.initial_state(())
        state, h = recurrence.scan(state, reset_state, reset, mask, self.backend)
        return self._carry(before, state), self.readout(h, inputs)

    @property
    def can_run_reversed(self) -> bool:
        """Whether the cell has a recurrence against time: coefficients that read single steps."""
        own = type(self)
        return self.carry_type is None and all(
            getattr(own, name) is getattr(LinearCell, name)
            for name in ("run_sequence", "recurrence", "before_gates")
        )

    def run_reversed(
        self, carry: Any, xs: Array, reset: Array | None, mask: Array | None, gaps: Any = None
    ) -> tuple[Any, Array]:
        """Returns the state after the first time step and all outputs, from the last step to it.

        Flags and gaps are those of the reversed sequence: `reset[t]` comes before input t, where
        the state is that after input t + 1. A mask may be padding at either end.
        """
        recurrence = self._recurrence(xs, gaps)
        options = reset, mask, self.backend, True
        state, h = recurrence.scan(carry, self.initial_state(()), *options)
        return state, self.readout(h, xs)

    def run_step(self, carry, x, reset, mask, key, gaps=None):
        def apply(layer, carry, x):
            return layer.step(carry, x, reset=reset, mask=mask)

        before, state, recurrence, inputs = self._start(carry, x, apply, gaps)
        state, h = recurrence.step(state, self.initial_state(()), reset, mask)
        return self._carry(before, state), self.readout(h, inputs)

    def gate_values(
        self,
        carry: Any,
        xs: Float[Array, "*batch time in_features"],
        *,
        reset: Bool[Array, "*batch time"] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
        gaps: Float[Array, "*batch time"] | None = None,
    ) -> dict[str, Float[Array, "*batch time features"]]:
        """Returns the decay at every time step, scaled from `decay_range` to (0, 1).

        It is empty where the recurrence has no decay per feature.
        """
        carry, xs, reset, mask = validate_call(self, carry, xs, reset, mask, time=True)
        options = validate_gaps(self, gaps, xs.shape[:-1], mask)

        def apply(layer, carry, xs):
            return layer(carry, xs, reset=reset, mask=mask)

        _, _, recurrence, _ = self._start(carry, xs, apply, **options)
        a = recurrence.decay()
        if a is None:
            return {}
        low, high = self.decay_range
        a = jnp.abs(a) if jnp.iscomplexobj(a) else a
        return {"decay": jnp.broadcast_to((a - low) / (high - low), (*xs.shape[:-1], a.shape[-1]))}

    def _start(self, carry, xs, apply, gaps=None):
        before, state = ((), carry) if self.carry_type is None else carry
        before, inputs = self.before_gates(before, xs, apply)
        return before, state, self._recurrence(inputs, gaps), inputs

    def _recurrence(self, inputs, gaps):
        recurrence = self.recurrence(inputs)
        if gaps is None:
            return recurrence
        return recurrence.with_gap_decay(gap_exponent(self.gap_rate[...], gaps, self.state_dtype))

    def _carry(self, before, state):
        return state if self.carry_type is None else self.carry_type(before, state)
