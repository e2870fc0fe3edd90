"""What minGRU and minLSTM share: gates that read the input alone, a recurrence that is linear."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float

from rnnlab.dtypes import accumulation_dtype, compute_dtype
from rnnlab.recurrent import Recurrent, dense, validate_call
from rnnlab.scan import BACKENDS, CoefficientFn, gated_scan, gated_step
from rnnlab.validation import require_one_of, require_positive_int

GATE_RANGES = ((0, 1), (-1, 1))


def positive(x: Array) -> Array:
    """The paper's candidate activation g: `x + 0.5` for x >= 0, else `sigmoid(x)`; always > 0.

    Source: arXiv 2410.01201, appendix B.
    """
    return jnp.where(x >= 0, x + 0.5, jax.nn.sigmoid(x))


@jax.custom_jvp
def complements(x: Array) -> tuple[Array, Array]:
    """`sigmoid(x)` and `1 - sigmoid(x)`, each with all its digits, for one exponential."""
    e = jnp.exp(-jnp.abs(x))
    large = 1 / (1 + e)
    small = e * large
    return jnp.where(x >= 0, large, small), jnp.where(x >= 0, small, large)


@complements.defjvp
def _complements_jvp(primals, tangents):
    s, c = complements(*primals)
    ds = s * c * tangents[0]
    return (s, c), (ds, -ds)


CANDIDATES = {"positive": positive, "identity": lambda x: x, "tanh": jnp.tanh}


def into_range(a: Array, gate_range: tuple[int, int]) -> Array:
    """A decay in (0, 1) moved into `gate_range`. (-1, 1) lets a state flip its sign, as parity
    needs.

    Source: arXiv 2411.12537.
    """
    return a if gate_range == (0, 1) else 2 * a - 1


class LinearCell(Recurrent):
    """A cell whose pre-activations are projections of the input; subclasses name them and gates.

    For each name in `projections` it has a `<name>_kernel` (in_features, features) and a
    `<name>_bias` (features,). `gates` maps the pre-activations to the recurrence's (a, b).
    """

    projections: tuple[str, ...]

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        candidate: str,
        gate_range: tuple[int, int],
        carry_init: nnx.Initializer | None,
        kernel_init: nnx.Initializer,
        bias_init: nnx.Initializer,
        dtype: DTypeLike | None,
        param_dtype: DTypeLike,
        backend: str,
        rngs: nnx.Rngs,
    ):
        require_positive_int(in_features=in_features, features=features)
        require_one_of("candidate", candidate, CANDIDATES)
        gate_range = tuple(gate_range) if isinstance(gate_range, list) else gate_range
        require_one_of("gate_range", gate_range, GATE_RANGES)
        require_one_of("backend", backend, BACKENDS)
        self.in_features = in_features
        self.features = features
        self.candidate = candidate
        self.gate_range = gate_range
        self.dtype = compute_dtype(dtype, param_dtype)
        self.backend = backend
        for name in self.projections:
            kernel = kernel_init(rngs.params(), (in_features, features), param_dtype)
            setattr(self, f"{name}_kernel", nnx.Param(kernel))
            bias = bias_init(rngs.params(), (features,), param_dtype)
            setattr(self, f"{name}_bias", nnx.Param(bias))
        self.carry = (
            None
            if carry_init is None
            else nnx.Param(carry_init(rngs.params(), (1, features), param_dtype)[0])
        )

    @property
    def gates(self) -> CoefficientFn:
        raise TypeError(f"{type(self).__name__} defines no gates")

    def initial_carry(self, batch_shape: Sequence[int]) -> Float[Array, "*batch features"]:
        """Zeros, or the learned state, of shape (*batch_shape, features), float32 or wider."""
        shape = (*batch_shape, self.features)
        if self.carry is None:
            return jnp.zeros(shape, accumulation_dtype(self.dtype))
        return jnp.broadcast_to(self.carry[...].astype(accumulation_dtype(self.dtype)), shape)

    def run_sequence(self, carry, xs, reset, mask, key):
        ys, carry = gated_scan(
            self.gates,
            self.project(xs),
            carry,
            reset_state=self.initial_carry(()),
            reset=reset,
            mask=mask,
            backend=self.backend,
        )
        return carry, ys

    def run_step(self, carry, x, reset, mask, key):
        carry = gated_step(
            self.gates,
            self.project(x),
            carry,
            reset_state=self.initial_carry(()),
            reset=reset,
            mask=mask,
        )
        return carry, carry.astype(self.dtype)

    def gate_values(
        self,
        carry: Float[Array, "*batch features"],
        xs: Float[Array, "*batch time in_features"],
        *,
        reset: Bool[Array, "*batch time"] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
    ) -> dict[str, Float[Array, "*batch time features"]]:
        """The decay of every step on a scale from 0 to 1, whatever its range. Reads no state."""
        carry, xs, _, _ = validate_call(self, carry, xs, reset, mask, time=True)
        a, _ = self.gates(*(pre.astype(carry.dtype) for pre in self.project(xs)))
        low, high = self.gate_range
        return {"decay": (a - low) / (high - low)}

    def project(
        self, x: Float[Array, "*batch in_features"]
    ) -> list[Float[Array, "*batch features"]]:
        """The pre-activations, one array for each name in `projections`."""
        return [
            dense(
                x,
                getattr(self, f"{name}_kernel")[...],
                getattr(self, f"{name}_bias")[...],
                self.dtype,
            )
            for name in self.projections
        ]
