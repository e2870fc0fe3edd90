"""Student t distributions of values at several horizons."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy import stats
from jaxtyping import Bool, Float
from scipy import stats as host_stats

from rnnlab.heads.base import known_targets, mean_over
from rnnlab.validation import require_positive_int

MIN_SCALE = 1e-4
"""Lower bound of the scale: a density must not grow without bound on a value that repeats."""
MIN_FREEDOM = 2.0
"""Lower bound of the degrees of freedom, above which the variance is finite."""


@dataclass(frozen=True)
class StudentT:
    """A Student t distribution of each of `horizon` values: location, scale, degrees of freedom.

    Its tails are heavier than those of a normal distribution, so that an outlier moves it less.

    Attributes:
      horizon: number of values per time step, such as the next hours.

    Raises:
      ValueError: horizon is less than 1.

    Source: Salinas et al., arXiv 1704.04110 (DeepAR), for a network that outputs a distribution.

    >>> import jax.numpy as jnp
    >>> {name: round(float(x[0]), 2) for name, x in StudentT(1).named(jnp.zeros(3)).items()}
    {'location': 0.0, 'scale': 0.69, 'freedom': 2.69}
    """

    horizon: int

    def __post_init__(self):
        require_positive_int(horizon=self.horizon)

    @property
    def out_features(self) -> int:
        """Number of outputs per time step."""
        return 3 * self.horizon

    def named(self, outputs: Float[Array, "*batch out_features"]) -> dict[str, Array]:
        """Returns `location`, `scale` and `freedom`, each of shape (*batch, horizon)."""
        location, scale, freedom = jnp.split(outputs, 3, axis=-1)
        return {
            "location": location,
            "scale": jax.nn.softplus(scale) + MIN_SCALE,
            "freedom": jax.nn.softplus(freedom) + MIN_FREEDOM,
        }

    def loss(
        self,
        outputs: Float[Array, "*batch out_features"],
        targets: Float[Array, "*batch horizon"],
        mask: Bool[Array, "*batch"] | None = None,
    ) -> Float[Array, ""]:
        """Returns the negative log likelihood in nats, a mean over targets."""
        known, targets = known_targets(targets, mask)
        p = self.named(outputs)
        nats = -stats.t.logpdf(targets, p["freedom"], p["location"], p["scale"])
        return mean_over(jnp.where(known, nats, 0), known)

    def quantiles(self, outputs: np.ndarray, levels: Sequence[float]) -> np.ndarray:
        """Returns the quantiles of `levels`, (*batch, horizon, levels), on the host."""
        p = {name: np.asarray(x, np.float64)[..., None] for name, x in self.named(outputs).items()}
        return host_stats.t.ppf(np.array(levels), p["freedom"], p["location"], p["scale"])
