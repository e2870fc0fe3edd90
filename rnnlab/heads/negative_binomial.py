"""Negative binomial distributions of counts at several horizons."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.scipy.special import gammaln
from jaxtyping import Bool, Float
from scipy import stats as host_stats

from rnnlab.heads.base import known_targets, mean_over
from rnnlab.validation import require_positive_int

MIN_OUTPUT = 1e-6
"""Lower bound of the mean and of the dispersion, whose logarithms the likelihood has."""


@dataclass(frozen=True)
class NegativeBinomial:
    """A negative binomial distribution of each of `horizon` counts: mean and dispersion.

    The variance is mean + dispersion mean^2, so that it may exceed that of a Poisson distribution.

    Attributes:
      horizon: number of counts per time step, such as the next hours.

    Raises:
      ValueError: horizon is less than 1.

    Source: Salinas et al., arXiv 1704.04110 (DeepAR), section 3.2.

    >>> import jax.numpy as jnp
    >>> head = NegativeBinomial(1)
    >>> {name: round(float(x[0]), 2) for name, x in head.named(jnp.zeros(2)).items()}
    {'mean': 0.69, 'dispersion': 0.69}
    """

    horizon: int

    def __post_init__(self):
        require_positive_int(horizon=self.horizon)

    @property
    def out_features(self) -> int:
        """Number of outputs per time step."""
        return 2 * self.horizon

    def named(self, outputs: Float[Array, "*batch out_features"]) -> dict[str, Array]:
        """Returns `mean` and `dispersion`, each of shape (*batch, horizon)."""
        mean, dispersion = jnp.split(jax.nn.softplus(outputs) + MIN_OUTPUT, 2, axis=-1)
        return {"mean": mean, "dispersion": dispersion}

    def loss(
        self,
        outputs: Float[Array, "*batch out_features"],
        targets: Float[Array, "*batch horizon"],
        mask: Bool[Array, "*batch"] | None = None,
    ) -> Float[Array, ""]:
        """Returns the negative log likelihood in nats, a mean over targets, which are counts."""
        known, counts = known_targets(targets, mask)
        p = self.named(outputs)
        failures = 1 / p["dispersion"]
        product = p["mean"] * p["dispersion"]
        nats = (
            gammaln(failures)
            + gammaln(counts + 1)
            - gammaln(counts + failures)
            + failures * jnp.log1p(product)
            + counts * (jnp.log1p(product) - jnp.log(product))
        )
        return mean_over(jnp.where(known, nats, 0), known)

    def quantiles(self, outputs: np.ndarray, levels: Sequence[float]) -> np.ndarray:
        """Returns the quantiles of `levels`, (*batch, horizon, levels), on the host."""
        p = {name: np.asarray(x, np.float64)[..., None] for name, x in self.named(outputs).items()}
        failures = 1 / p["dispersion"]
        return host_stats.nbinom.ppf(np.array(levels), failures, failures / (failures + p["mean"]))
