"""The decay of a state with the time since the previous input.

Where inputs are not equally spaced, a state loses a part of itself before each input:

    decay[t] = exp(-softplus(rate) gap[t])

with one rate per unit. In a linear recurrence this is one more factor of `a`, so that it remains a
linear scan. A gap of n units of time equals n gaps of one unit without an input.

Source: Che et al., arXiv 1606.01865, equation 10 (GRU-D), whose exponent also has a bias.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float

from rnnlab.scan import CoefficientFn
from rnnlab.scan.varying import broadcast_like

DEFAULT_RATES = (1e-3, 1.0)
"""Smallest and largest initial rate per unit of the gaps: half-lives of 693 and of 0.7 units."""


@dataclass(frozen=True)
class GapDecayed:
    """Coefficients whose `a` is multiplied by the decay of a gap, the first pre-activation.

    Attributes:
      coefficients: of the recurrence without gaps.
    """

    coefficients: CoefficientFn

    def __call__(self, exponent: Array, *operands: Array) -> tuple[Array, Array]:
        a, b = self.coefficients(*operands)
        return jnp.exp(-exponent) * a, b


def initial_gap_rates(
    features: int, rates: tuple[float, float], dtype: DTypeLike
) -> nnx.Param[Float[Array, " features"]]:
    """Returns the parameter of the rates, before softplus: equally spaced logarithms.

    Args:
      features: number of units.
      rates: the smallest and the largest initial rate.
      dtype: of the parameter.

    Raises:
      ValueError: the rates are not positive and increasing.
    """
    low, high = rates
    if not 0 < low <= high:
        raise ValueError(
            f"gap_rates must be 0 < smallest <= largest, got {rates}; swap or raise them"
        )
    initial = jnp.geomspace(low, high, features, dtype=jnp.float32)
    inverse_softplus = initial + jnp.log(-jnp.expm1(-initial))
    return nnx.Param(inverse_softplus.astype(dtype), weight_decay=False)


def gap_exponent(
    rate: Float[Array, " features"], gaps: Float[Array, "*batch"], dtype: DTypeLike
) -> Float[Array, "*batch features"]:
    """Returns `softplus(rate) gap`, the negative logarithm of the decay, in `dtype`.

    >>> import jax.numpy as jnp
    >>> print(gap_exponent(jnp.zeros(1), jnp.array([0.0, 2.0]), jnp.float32)[:, 0].round(3))
    [0.    1.386]
    """
    gaps = jnp.expand_dims(gaps.astype(dtype), -1)
    gaps = jnp.broadcast_to(gaps, (*gaps.shape[:-1], *rate.shape))
    return gaps * broadcast_like(jax.nn.softplus(rate.astype(dtype)), gaps)
