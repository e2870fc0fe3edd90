"""LRU: a linear recurrence with complex decays that are constant in time; and its form S5."""

from typing import Any, Literal, NamedTuple, Unpack

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax
from jaxtyping import Complex, Float

from rnnlab.cells.linear import LinearCell, LinearCellOptions
from rnnlab.cells.recurrence import LinearRecurrence
from rnnlab.dtypes import accumulation_dtype
from rnnlab.recurrent import dense
from rnnlab.validation import require_one_of, require_positive_int

DELTA_RANGE = (1e-3, 1e-1)
"""Range of the learned step sizes at initialization, log-uniform."""


class RealStates(NamedTuple):
    """A complex recurrence whose carried state is real, of shape (*batch, 2, state_size).

    Carries are real so that they are stored, cast and checked as those of all cells.
    """

    recurrence: LinearRecurrence

    def scan(self, state: Array, reset_state: Array, *flags_and_backend: Any) -> tuple[Any, Any]:
        """Returns the last state, real, and all states, complex."""
        last, h = self.recurrence.scan(
            as_complex(state), as_complex(reset_state), *flags_and_backend
        )
        return as_real(last), h

    def step(self, state: Array, reset_state: Array, *flags: Any) -> tuple[Any, Any]:
        """Returns the state after one time step, real, and complex."""
        last, h = self.recurrence.step(as_complex(state), as_complex(reset_state), *flags)
        return as_real(last), h

    def decay(self) -> Array:
        """Returns the complex decays."""
        return self.recurrence.a


def as_complex(state: Float[Array, "*batch 2 size"]) -> Complex[Array, "*batch size"]:
    """Returns the complex numbers of real and imaginary parts.

    >>> print(as_complex(jnp.array([[1.0], [2.0]])))
    [1.+2.j]
    """
    return lax.complex(state[..., 0, :], state[..., 1, :])


def as_real(state: Complex[Array, "*batch size"]) -> Float[Array, "*batch 2 size"]:
    """Returns the real and imaginary parts.

    >>> print(as_real(jnp.array([1 + 2j]))[:, 0])
    [1. 2.]
    """
    return jnp.stack([jnp.real(state), jnp.imag(state)], -2)


class LRU(LinearCell):
    """Linear recurrent unit. Trains in parallel over time; its state is `state_size` pairs.

        a = exp(-exp(log_rate) + i exp(log_phase))
        h[t] = a h[t-1] + exp(log_scale) (x[t] B)
        y[t] = Re(h[t] C) + x[t] D

    B and C are complex. With `delta` it is S5, which has a step size per state and a zero-order
    hold of the inputs: `a = exp(A delta)` with `A = -exp(log_rate) + i exp(log_phase)`, and the
    scale of the inputs is `(a - 1) / A`. The layer is linear: the nonlinearity is the block's MLP.

    Args:
      in_features, features: width of the input and of the output.
      rngs: source of the parameters' keys.
      state_size: number of complex states; None is `features`.
      init: `"ring"` draws |a| from `radius` and its angle from 0 to `phase`, as the LRU does;
        `"hippo"` starts at eigenvalues of the HiPPO matrix, as S5 does, and needs `delta`.
      delta: whether each state has a learned step size.
      radius: smallest and largest |a| at initialization, within [0, 1).
      phase: largest angle of a at initialization, in radians.
      learn_initial_state, initial_state_init: as in `LinearCell`.
      dtype: dtype of the projections and of `ys`; None is `param_dtype`. States are complex64, or
        complex128 where dtype is float64.
      param_dtype: dtype of the parameters.
      backend: backend of the scan; see `rnnlab.linear_scan`.

    Raises:
      ValueError: an option is unknown, or a call's shapes or dtypes do not fit.

    Source: arXiv 2303.06349, section 3 and appendix A; S5: arXiv 2208.04933, section 3.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> cell = LRU(3, 8, state_size=16, rngs=nnx.Rngs(0))
    >>> carry, ys = cell(cell.initial_carry((2,)), jnp.ones((2, 5, 3)))
    >>> carry.shape, ys.shape
    ((2, 2, 16), (2, 5, 8))
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        rngs: nnx.Rngs,
        state_size: int | None = None,
        init: Literal["ring", "hippo"] = "ring",
        delta: bool = False,
        radius: tuple[float, float] = (0.9, 0.999),
        phase: float = 2 * np.pi,
        **options: Unpack[LinearCellOptions],
    ):
        self.state_size = features if state_size is None else state_size
        require_positive_int(state_size=self.state_size)
        require_one_of("init", init, ("ring", "hippo"))
        radius = tuple(radius)
        if not 0 <= radius[0] <= radius[1] < 1 or not phase > 0:
            raise ValueError(
                f"radius must be within [0, 1) and phase > 0, got {radius} and {phase}; change them"
            )
        if init == "hippo" and not delta:
            raise ValueError("init must be 'ring' without delta, got 'hippo'; set delta=True")
        super().__init__(in_features, features, rngs=rngs, **options)
        size, dtype = self.state_size, self.param_dtype
        rate, angle = _hippo(size) if init == "hippo" else _ring(rngs, size, radius, phase)
        self.log_rate = nnx.Param(jnp.log(rate).astype(dtype), weight_decay=False)
        self.log_phase = nnx.Param(jnp.log(angle).astype(dtype), weight_decay=False)
        self.input_kernel = _pair(rngs, (in_features, size), (2 * in_features) ** -0.5, dtype)
        self.output_kernel = _pair(rngs, (size, features), size**-0.5, dtype)
        skip = nnx.initializers.lecun_normal()(rngs.params(), (in_features, features), dtype)
        self.skip_kernel = nnx.Param(skip)
        if delta:
            low, high = np.log(DELTA_RANGE)
            log_delta = jax.random.uniform(rngs.params(), (size,), minval=low, maxval=high)
            self.log_delta = nnx.Param(log_delta.astype(dtype), weight_decay=False)
        else:
            scale = 0.5 * jnp.log(-jnp.expm1(-2 * rate))
            self.log_scale = nnx.Param(scale.astype(dtype), weight_decay=False)
        self.delta = delta

    @property
    def state_shape(self) -> tuple[int, int]:
        """Shape of the state of one sequence: real and imaginary parts, (2, state_size)."""
        return 2, self.state_size

    def decays_and_scales(self) -> tuple[Array, Array]:
        """Returns a, complex, and the scale of the inputs, both (state_size,)."""

        def exponential(parameter: nnx.Param) -> Array:
            return jnp.exp(parameter[...].astype(self.state_dtype))

        rate, phase = exponential(self.log_rate), exponential(self.log_phase)
        if not self.delta:
            return jnp.exp(lax.complex(-rate, phase)), exponential(self.log_scale)
        delta = exponential(self.log_delta)
        a = jnp.exp(lax.complex(-rate * delta, phase * delta))
        return a, (a - 1) / lax.complex(-rate, phase)

    def recurrence(self, inputs: Float[Array, "*batch in_features"]) -> RealStates:
        """Returns the recurrence of complex states."""
        a, scale = self.decays_and_scales()
        real, imaginary = (
            dense(inputs, kernel, None, self.dtype).astype(self.state_dtype)
            for kernel in self.input_kernel[...]
        )
        b = lax.complex(real, imaginary)
        scale = jnp.broadcast_to(scale.astype(a.dtype), b.shape)
        return RealStates(LinearRecurrence(a, scale * b))

    def readout(self, h: Complex[Array, "*batch state_size"], inputs: Array) -> Array:
        """Returns the real part of the projected states, and the skip connection."""
        real, imaginary = self.output_kernel[...]
        y = dense(jnp.real(h), real, None, self.dtype) - dense(
            jnp.imag(h), imaginary, None, self.dtype
        )
        return y + dense(inputs, self.skip_kernel[...], None, self.dtype)


def _pair(rngs: nnx.Rngs, shape: tuple[int, int], scale: float, dtype: Any) -> nnx.Param:
    """Returns a parameter of real and imaginary parts, (2, *shape), of normal numbers."""
    draw = jax.random.normal(rngs.params(), (2, *shape), accumulation_dtype(dtype))
    return nnx.Param((scale * draw).astype(dtype))


def _ring(
    rngs: nnx.Rngs, size: int, radius: tuple[float, float], phase: float
) -> tuple[Array, Array]:
    """Returns rates and angles of decays that are uniform on a ring, and not on the real axis."""
    low, high = (max(r, 1e-6) ** 2 for r in radius)
    square = jax.random.uniform(rngs.params(), (size,), minval=low, maxval=high)
    angle = jax.random.uniform(rngs.params(), (size,), minval=1e-6, maxval=phase)
    return -0.5 * jnp.log(square), angle


def _hippo(size: int) -> tuple[Array, Array]:
    """Returns rates and angles of the eigenvalues of the HiPPO matrix's normal part.

    Of each conjugate pair it keeps the one above the real axis. Their rates are all 1/2.
    """
    root = np.sqrt(1 + 2 * np.arange(2 * size))
    skew = -0.5 * np.tril(np.outer(root, root), -1)
    angles = np.linalg.eigvalsh(-1j * (skew - skew.T))
    return jnp.full(size, 0.5), jnp.asarray(np.sort(angles[angles > 0]), jnp.float32)
