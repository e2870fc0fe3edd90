"""Quantiles of values at several horizons."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float

from rnnlab.heads.base import known_targets, mean_over
from rnnlab.validation import require_positive_int


@dataclass(frozen=True)
class Quantiles:
    """Quantiles of each of `horizon` values, which never cross.

    The first level of a value is an output; each further one adds softplus of an output.

    Attributes:
      horizon: number of values per time step, such as the next hours.
      levels: increasing, each in (0, 1).

    Raises:
      ValueError: horizon is less than 1, or the levels are not increasing within (0, 1).

    Source: Koenker and Bassett, "Regression quantiles", Econometrica 46 (1978), for the loss.

    >>> import jax.numpy as jnp
    >>> head = Quantiles(horizon=1, levels=(0.1, 0.5, 0.9))
    >>> print(head.named(jnp.zeros(3))["quantiles"].round(2))
    [[0.   0.69 1.39]]
    """

    horizon: int
    levels: tuple[float, ...]

    def __post_init__(self):
        require_positive_int(horizon=self.horizon)
        edges = (0.0, *self.levels, 1.0)
        if not self.levels or any(a >= b for a, b in itertools.pairwise(edges)):
            raise ValueError(
                f"levels must increase within (0, 1), got {self.levels}; pass such as (0.1, 0.9)"
            )

    @property
    def out_features(self) -> int:
        """Number of outputs per time step."""
        return self.horizon * len(self.levels)

    def named(self, outputs: Float[Array, "*batch out_features"]) -> dict[str, Array]:
        """Returns `quantiles`, of shape (*batch, horizon, levels)."""
        by_level = outputs.reshape(*outputs.shape[:-1], self.horizon, len(self.levels))
        steps = jax.nn.softplus(by_level[..., 1:])
        return {"quantiles": jnp.cumsum(jnp.concatenate([by_level[..., :1], steps], -1), -1)}

    def loss(
        self,
        outputs: Float[Array, "*batch out_features"],
        targets: Float[Array, "*batch horizon"],
        mask: Bool[Array, "*batch"] | None = None,
    ) -> Float[Array, ""]:
        """Returns twice the quantile loss, a mean over targets and levels.

        At level 0.5 it is the absolute error.
        """
        known, targets = known_targets(targets, mask)
        error = targets[..., None] - self.named(outputs)["quantiles"]
        levels = jnp.broadcast_to(jnp.asarray(self.levels, error.dtype), error.shape)
        pinball = 2 * jnp.maximum(levels * error, (levels - 1) * error)
        return mean_over(jnp.where(known, pinball.mean(-1), 0), known)

    def quantiles(self, outputs: np.ndarray, levels: Sequence[float]) -> np.ndarray:
        """Returns the quantiles of `levels`, (*batch, horizon, levels), on the host.

        Raises:
          ValueError: a level is not one of the head's.
        """
        unknown = [level for level in levels if level not in self.levels]
        if unknown:
            raise ValueError(
                f"levels must be among those that were trained, {self.levels}, got {unknown[0]}; "
                "choose one of them"
            )
        found = np.asarray(self.named(outputs)["quantiles"], np.float64)
        return found[..., [self.levels.index(level) for level in levels]]
