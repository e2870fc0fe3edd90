"""minGRU: a GRU whose gate and candidate read the input alone."""

from functools import lru_cache, partial

from flax import nnx
from jax import Array
from jax import numpy as jnp
from jax.typing import DTypeLike

from rnnlab.cells.linear import CANDIDATES, LinearCell, complements, into_range
from rnnlab.scan.affine import CoefficientFn


def mingru_gates(
    update: Array,
    candidate: Array,
    *,
    activation: str = "positive",
    gate_range: tuple[int, int] = (0, 1),
) -> tuple[Array, Array]:
    """Coefficients of `h = a h + b` from the pre-activations of the update gate and the candidate.

    z = sigmoid(update),  a = 1 - z,  b = z * g(candidate)
    """
    z, a = complements(update)
    return into_range(a, gate_range), z * CANDIDATES[activation](candidate)


class MinGRU(LinearCell):
    """minGRU. Trains in parallel over time; holds one state of `features` numbers when it streams.

        z[t] = sigmoid(x[t] Wz + bz)
        c[t] = g(x[t] Wc + bc)
        h[t] = (1 - z[t]) h[t-1] + z[t] c[t],   y[t] = h[t]

    Args:
      in_features, features: width of the input and of the state.
      rngs: source of the parameters' keys.
      candidate: g, one of `"positive"` (the paper's, default), `"identity"`, `"tanh"`.
      gate_range: (0, 1), or (-1, 1) for a decay of `2 (1 - z) - 1`.
      carry_init: None starts from zeros. An initialiser makes the initial state a parameter.
      kernel_init, bias_init: initialisers of each projection.
      dtype: dtype of the projections and of `ys`; None is `param_dtype`. Gates and carry are
        float32 (float64 where dtype is), so that cutting a sequence never changes it.
      param_dtype: dtype of the parameters.
      backend: the scan's; see `rnnlab.linear_scan`.

    Raises:
      ValueError: an option is unknown, or a call's shapes or dtypes do not fit.

    Source: arXiv 2410.01201, section 3.1; in real space, where the paper trains in log space.
    With the default candidate and bias 0 it is the paper's model.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> cell = MinGRU(3, 8, rngs=nnx.Rngs(0))
    >>> carry, ys = cell(cell.initial_carry((2,)), jnp.ones((2, 5, 3)))
    >>> carry.shape, ys.shape
    ((2, 8), (2, 5, 8))
    """

    projections = ("update", "candidate")

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        rngs: nnx.Rngs,
        candidate: str = "positive",
        gate_range: tuple[int, int] = (0, 1),
        carry_init: nnx.Initializer | None = None,
        kernel_init: nnx.Initializer = nnx.initializers.lecun_normal(),
        bias_init: nnx.Initializer = nnx.initializers.zeros_init(),
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
        backend: str = "auto",
    ):
        super().__init__(
            in_features,
            features,
            candidate=candidate,
            gate_range=gate_range,
            carry_init=carry_init,
            kernel_init=kernel_init,
            bias_init=bias_init,
            dtype=dtype,
            param_dtype=param_dtype,
            backend=backend,
            rngs=rngs,
        )

    @property
    def gates(self) -> CoefficientFn:
        return _gates(self.candidate, self.gate_range)


@lru_cache  # one object an option, so that equal cells share one compiled scan
def _gates(activation: str, gate_range: tuple[int, int]) -> CoefficientFn:
    return partial(mingru_gates, activation=activation, gate_range=gate_range)
