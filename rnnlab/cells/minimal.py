"""The base of minGRU and minLSTM: gates that are projections of the input."""

from typing import Literal, Unpack

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jaxtyping import Float

from rnnlab.cells.gap_decay import DEFAULT_RATES, initial_gap_rates
from rnnlab.cells.linear import UNIT_NORMAL, LinearCell, LinearCellOptions
from rnnlab.recurrent import dense
from rnnlab.validation import require_one_of

DECAY_RANGES = ((0, 1), (-1, 1))


def paper_g(x: Array) -> Array:
    """Returns the paper's candidate activation g: `x + 0.5` for x >= 0, else `sigmoid(x)`.

    It is positive everywhere. Source: arXiv 2410.01201, appendix B.
    """
    return jnp.where(x >= 0, x + 0.5, jax.nn.sigmoid(x))


CANDIDATES = {"positive": paper_g, "identity": lambda x: x, "tanh": jnp.tanh}
"""Candidate activations by the value of the option `candidate`."""


@jax.custom_jvp
def sigmoid_pair(x: Array) -> tuple[Array, Array]:
    """Returns `sigmoid(x)` and `1 - sigmoid(x)`, each to full precision, with one exponential."""
    e = jnp.exp(-jnp.abs(x))
    large = 1 / (1 + e)
    small = e * large
    return jnp.where(x >= 0, large, small), jnp.where(x >= 0, small, large)


@sigmoid_pair.defjvp
def _sigmoid_pair_jvp(primals, tangents):
    s, c = sigmoid_pair(*primals)
    ds = s * c * tangents[0]
    return (s, c), (ds, -ds)


def rescale_decay(a: Array, decay_range: tuple[int, int]) -> Array:
    """Returns a decay in (0, 1) rescaled to `decay_range`: `a` itself, or `2 a - 1` for (-1, 1).

    Negative decays let a state change its sign, as parity needs. Source: arXiv 2411.12537.
    """
    return a if decay_range == (0, 1) else 2 * a - 1


class MinimalCellOptions(LinearCellOptions, total=False):
    """Keyword arguments of `MinimalCell`, for the constructors of its subclasses."""

    candidate: Literal["positive", "identity", "tanh"]
    decay_range: tuple[int, int]
    gap_decay: bool
    gap_rates: tuple[float, float]
    kernel_init: nnx.Initializer
    bias_init: nnx.Initializer


class MinimalCell(LinearCell):
    """A linear cell whose pre-activations are dense projections of the input.

    For each name in `projections` it has a `<name>_kernel` (in_features, features) and a
    `<name>_bias` (features,).

    Args:
      candidate: activation of the candidate: `"positive"` (the paper's g), `"identity"`, `"tanh"`.
      decay_range: range of the decay, (0, 1) or (-1, 1), which lets a state change its sign.
      gap_decay: whether the state also decays with the time between inputs, `gaps` of a call; see
        `rnnlab.cells.gap_decay`.
      gap_rates: smallest and largest initial rate of that decay, per unit of the gaps.
      kernel_init, bias_init: initializers of each projection.
      others: as in `LinearCell`.
    """

    projections: tuple[str, ...]

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        rngs: nnx.Rngs,
        candidate: Literal["positive", "identity", "tanh"] = "positive",
        decay_range: tuple[int, int] = (0, 1),
        gap_decay: bool = False,
        gap_rates: tuple[float, float] = DEFAULT_RATES,
        learn_initial_state: bool = False,
        initial_state_init: nnx.Initializer = UNIT_NORMAL,
        kernel_init: nnx.Initializer = nnx.initializers.lecun_normal(),
        bias_init: nnx.Initializer = nnx.initializers.zeros_init(),
        **options: Unpack[LinearCellOptions],
    ):
        super().__init__(in_features, features, rngs=rngs, **options)
        require_one_of("candidate", candidate, CANDIDATES)
        decay_range = tuple(decay_range) if isinstance(decay_range, list) else decay_range
        require_one_of("decay_range", decay_range, DECAY_RANGES)
        self.candidate = candidate
        self.decay_range = decay_range
        for name in self.projections:
            kernel = kernel_init(rngs.params(), (in_features, features), self.param_dtype)
            # These kernels are recurrent weights: an option of training decides on their decay.
            setattr(self, f"{name}_kernel", nnx.Param(kernel, weight_decay="gates"))
            bias = bias_init(rngs.params(), (features,), self.param_dtype)
            setattr(self, f"{name}_bias", nnx.Param(bias))
        if gap_decay:
            self.gap_rate = initial_gap_rates(features, tuple(gap_rates), self.param_dtype)
        # Drawn last, so that it changes no other parameter.
        if learn_initial_state:
            self._draw_initial_state(initial_state_init, rngs)

    def preactivations(
        self, inputs: Float[Array, "*batch in_features"]
    ) -> list[Float[Array, "*batch features"]]:
        """Returns one array for each name in `projections`."""
        return [
            dense(
                inputs,
                getattr(self, f"{name}_kernel")[...],
                getattr(self, f"{name}_bias")[...],
                self.dtype,
            )
            for name in self.projections
        ]
