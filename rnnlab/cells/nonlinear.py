"""The base of cells whose gates read the state.

Time is a loop, `jax.lax.scan`, or for `backend="newton"` the root of one equation over all steps,
see `rnnlab.cells.backends.newton`.
"""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from rnnlab.call_arguments import BatchShape
from rnnlab.call_validation import validate_call, validate_gaps
from rnnlab.cells.backends import lax_scan
from rnnlab.cells.backends.newton import NewtonInfo, solve
from rnnlab.cells.gap_decay import gap_exponent
from rnnlab.cells.step_functions import GateInputs, StepFunctions, hidden, recurrent_dot
from rnnlab.dtypes import accumulation_dtype, compute_dtype
from rnnlab.errors import MissingMethodError
from rnnlab.recurrent import Recurrent, dense, time_axis_first, tree_where
from rnnlab.scan.varying import match_varying
from rnnlab.validation import require_one_of, require_positive_int


class NonlinearCell(Recurrent):
    """A cell with `num_gates` gates over input and state. Subclasses define `step_functions`.

    Parameters: `kernel` (in_features, gates * features), `recurrent_kernel` (features,
    gates * features), each gate initialized on its own, and `bias` (gates * features,).
    The carry is one state of (*batch, features), or a tuple of them whose last is the output.
    """

    num_gates: int
    backends = ("auto", "scan", "newton")
    gap_rate: nnx.Param | None = None
    """Rates at which units decay with the time between inputs, or None; see `cells.gap_decay`."""

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        kernel_init: nnx.Initializer,
        recurrent_init: nnx.Initializer,
        bias_init: nnx.Initializer,
        dtype: DTypeLike | None,
        param_dtype: DTypeLike,
        backend: str,
        rngs: nnx.Rngs,
    ):
        require_positive_int(in_features=in_features, features=features)
        require_one_of("backend", backend, self.backends)
        self.in_features = in_features
        self.features = features
        self.dtype = compute_dtype(dtype, param_dtype)
        self.param_dtype = jnp.dtype(param_dtype)
        self.backend = backend

        def by_gate(init, shape):
            # Orthogonal initializers factorize, which 16-bit dtypes cannot: draw, then cast.
            draw_dtype = accumulation_dtype(param_dtype)
            parts = [init(rngs.params(), shape, draw_dtype) for _ in range(self.num_gates)]
            return nnx.Param(jnp.concatenate(parts, -1).astype(param_dtype))

        self.kernel = by_gate(kernel_init, (in_features, features))
        self.recurrent_kernel = by_gate(recurrent_init, (features, features))
        self.bias = by_gate(bias_init, (features,))

    @property
    def step_functions(self) -> StepFunctions:
        """The step of the cell, hashed by value, as it keys compiled programs."""
        raise MissingMethodError(self, "step_functions")

    def initial_carry(self, batch_shape: BatchShape = ()) -> Any:
        """Returns zeros of shape (*batch_shape, features), float32 or wider."""
        return jnp.zeros((*batch_shape, self.features), accumulation_dtype(self.dtype))

    @property
    def gap_decay(self) -> bool:
        """Whether the state decays with the time between inputs."""
        return self.gap_rate is not None

    @property
    def uses_gaps(self) -> bool:
        """Whether calls need `gaps`, the time since the previous input."""
        return self.gap_decay

    def run_loop(self, carry, xs, reset, mask, key, gaps=None):
        flags = time_axis_first(reset, -1), time_axis_first(mask, -1)
        decay = time_axis_first(self._decay(gaps), -2)
        inputs = lax_scan.StepInputs(self._project_gates(xs, decay), *flags, decay)
        init = self.initial_carry(xs.shape[:-2])
        operands = match_varying((self._weights(), carry, init, inputs))
        run = _newton_scan if self.backend == "newton" and xs.size else lax_scan.scan
        carry, ys = run(self.step_functions, self.dtype, *operands)
        return carry, jnp.moveaxis(ys, 0, -2)

    def newton_info(
        self,
        carry: Any,
        xs: Float[Array, "*batch time in_features"],
        *,
        reset: Bool[Array, "*batch time"] | None = None,
    ) -> NewtonInfo:
        """Returns the iterations, residual and convergence of `backend="newton"` on a sequence."""
        carry, xs, reset, _ = validate_call(self, carry, xs, reset, None, time=True)
        pre, reset = self._project_gates(xs), time_axis_first(reset, -1)
        init = self.initial_carry(xs.shape[:-2])
        operands = match_varying((self._weights(), carry, init, pre, reset))
        return solve(self.step_functions, *operands)[1]

    def run_step(self, carry, x, reset, mask, key, gaps=None):
        init = self.initial_carry(x.shape[:-1])
        pre = tuple(jnp.split(self._project(x), self.num_gates, axis=-1))
        inputs = lax_scan.StepInputs(pre, reset, mask, self._decay(gaps))
        carry = lax_scan.masked_step(self.step_functions, self._weights(), carry, init, inputs)
        return carry, hidden(carry).astype(self.dtype)

    def gate_values(
        self,
        carry: Any,
        xs: Float[Array, "*batch time in_features"],
        *,
        reset: Bool[Array, "*batch time"] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
        gaps: Float[Array, "*batch time"] | None = None,
    ) -> dict[str, Float[Array, "*batch time features"]]:
        """Returns the gates at every time step by their letters, each in (0, 1)."""
        _, ys = self(carry, xs, reset=reset, mask=mask, gaps=gaps)
        carry, xs, reset, mask = validate_call(self, carry, xs, reset, mask, time=True)
        h = self._read(hidden(carry), ys, reset, mask)
        decay = self._decay(**validate_gaps(self, gaps, xs.shape[:-1], mask))
        h = h if decay is None else decay * h
        recurrent = recurrent_dot(h, self._weights()[0], self.dtype)
        return self._gate_dict(jax.nn.sigmoid(self._project(xs).astype(h.dtype) + recurrent))

    def _read(self, h: Array, ys: Array, reset: Array | None, mask: Array | None) -> Array:
        """Returns the hidden state that each step reads: after the last real step or reset."""
        t = jnp.broadcast_to(jnp.arange(ys.shape[-2], dtype=jnp.int32), ys.shape[:-1])
        axis = t.ndim - 1
        before = t - 1
        if mask is not None:
            real = lax.cummax(jnp.where(mask, t, -1), axis)
            before = jnp.concatenate([jnp.full_like(t[..., :1], -1), real[..., :-1]], -1)
            before = before[..., : ys.shape[-2]]
        states = jnp.concatenate([h[..., None, :], ys.astype(h.dtype)], -2)
        read = jnp.take_along_axis(states, before[..., None] + 1, -2)
        if reset is None:
            return read
        cut = lax.cummax(jnp.where(reset, t, -1), axis) > before
        return tree_where(cut, hidden(self.initial_carry(ys.shape[:-1])), read)

    def _gate_dict(self, sigmoids: Float[Array, "*batch time gates"]) -> dict[str, Array]:
        """Returns the gates that are sigmoids by name; the Elman RNN has none."""
        return {}

    def _decay(self, gaps: Array | None = None) -> Array | None:
        """Returns what the state is multiplied by before each input."""
        if gaps is None:
            return None
        return jnp.exp(-gap_exponent(self.gap_rate[...], gaps, accumulation_dtype(self.dtype)))

    def _weights(self) -> tuple[Array, ...]:
        """Returns the recurrent kernel and further weights, in the dtype of the states."""
        return (self.recurrent_kernel[...].astype(accumulation_dtype(self.dtype)),)

    def _project(self, x: Array) -> Array:
        return dense(x, self.kernel[...], self.bias[...], self.dtype)

    def _project_gates(self, xs: Array, decay: Array | None = None) -> GateInputs:
        """Returns the projected inputs of all steps, time first, one array per gate.

        A loop reads its steps from several arrays much faster than it splits one wide array.
        """
        weights = match_varying((xs, self.kernel[...], self.bias[...]))[1:]
        kernels, biases = (jnp.split(x, self.num_gates, axis=-1) for x in weights)
        pairs = list(zip(kernels, biases, strict=True))
        if not lax_scan.is_reverse_mode_only(self.step_functions, decay):
            return tuple(time_axis_first(dense(xs, *pair, self.dtype), -2) for pair in pairs)
        xs = time_axis_first(xs.astype(self.dtype), -2)  # while the arrays are narrow

        def project(kernel, bias):
            y = lax_scan.project(xs, kernel.astype(self.dtype))
            return y + bias.astype(self.dtype).reshape((1,) * (y.ndim - 1) + (-1,))

        return tuple(project(*pair) for pair in pairs)


@partial(jax.jit, static_argnums=(0, 1))
def _newton_scan(functions, dtype, weights, carry, init, inputs):
    """Computes `lax_scan.scan` by `newton.solve`, or by the loop if the mask has gaps."""
    pre, reset, mask, _ = inputs

    def in_parallel():
        carries, _ = solve(functions, weights, carry, init, pre, reset)
        if mask is None:
            return jax.tree.map(lambda x: x[-1], carries), hidden(carries).astype(dtype)
        # Steps in padding are computed too; none of their results is kept.
        after = jax.tree.map(lambda c, x: jnp.concatenate([c[None], x]), carry, carries)
        count = mask.sum(0)[None, ..., None]
        last = jax.tree.map(lambda x: jnp.take_along_axis(x, count, 0)[0], after)
        if reset is not None:  # a reset in padding counts, as in the loop
            last = tree_where(jnp.any(reset & ~mask, 0), init, last)
        return last, hidden(carries).astype(dtype)

    if mask is None:
        return in_parallel()
    gaps = jnp.any(mask[1:] & ~mask[:-1])
    return lax.cond(
        gaps, lambda: lax_scan.scan(functions, dtype, weights, carry, init, inputs), in_parallel
    )
