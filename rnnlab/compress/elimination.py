"""Choose the regressors of a linear regression that predict best, and fit their weights again."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, Self

import numpy as np
from jaxtyping import Float

RIDGE = 1e-8
"""Ridge of the covariance, relative to its mean variance: copies of a unit make it singular."""


class Moments(NamedTuple):
    """First and second moments of regressors x and targets t, in float64.

    Attributes:
      x_mean: (features,).
      t_mean: (targets,).
      covariance: of x with x, (features, features).
      cross: covariance of x with t, (features, targets).
    """

    x_mean: Float[np.ndarray, " features"]
    t_mean: Float[np.ndarray, " targets"]
    covariance: Float[np.ndarray, "features features"]
    cross: Float[np.ndarray, "features targets"]

    @classmethod
    def of(cls, samples: Iterable[tuple[np.ndarray, np.ndarray]]) -> Self:
        """Returns the moments over pairs of arrays x (count, features) and t (count, targets).

        Raises:
          ValueError: there is no sample.

        >>> x = np.array([[0.0], [2.0]])
        >>> Moments.of([(x, 3 * x + 1)]).cross.item()
        3.0
        """
        count, sums = 0, None
        for x, t in samples:
            joint = np.concatenate([x, t], -1, dtype=np.float64)
            first, second = joint.sum(0), joint.T @ joint
            sums = (first, second) if sums is None else (sums[0] + first, sums[1] + second)
            count += len(joint)
        if not count:
            raise ValueError("batches must have a time step that is not padding, got none; add one")
        features, mean = x.shape[-1], sums[0] / count
        covariance = sums[1] / count - np.outer(mean, mean)
        return cls(
            mean[:features],
            mean[features:],
            covariance[:features, :features],
            covariance[:features, features:],
        )

    def regularized(self) -> Float[np.ndarray, "features features"]:
        """Returns the covariance of x with a ridge."""
        variance = np.trace(self.covariance) / len(self.covariance)
        return self.covariance + RIDGE * (variance or 1.0) * np.eye(len(self.covariance))


def refit(
    moments: Moments, kept: Sequence[int]
) -> tuple[Float[np.ndarray, "kept targets"], Float[np.ndarray, " targets"]]:
    """Returns the weights and the bias by which some regressors predict the targets best.

    They minimize the mean of `|t - x[kept] @ weights - bias| ** 2`.

    >>> x = np.array([[0.0, 1.0], [2.0, 1.0]])
    >>> weights, bias = refit(Moments.of([(x, 3 * x[:, :1] + 1)]), [0])
    >>> print(weights.round(6), bias.round(6))
    [[3.]] [1.]
    """
    kept = np.asarray(kept, int)
    weights = np.linalg.solve(moments.regularized()[np.ix_(kept, kept)], moments.cross[kept])
    return weights, moments.t_mean - moments.x_mean[kept] @ weights


def backward_elimination(
    moments: Moments, groups: Sequence[Sequence[int]], count: int
) -> tuple[list[int], list[float]]:
    """Removes regressors one after the other, each time the one that is missed least.

    After each removal the weights of all others are those of the regression on them, so a removal
    costs the increase of the squared error that remains: `|w[j]| ** 2 / P[j, j]` with the inverse
    P of the covariance, which is updated in closed form.

    Args:
      moments: of regressors and targets.
      groups: a partition of the regressors.
      count: how many to remove from each group; fewer than it has.

    Returns:
      The removed regressors in their order, and the cost of each removal: the increase of the mean
      squared error, summed over the targets.

    Source: Hassibi and Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon"
    (1992), for the closed form.

    >>> x = np.array([[0.0, 0.0, 1.0], [1.0, 1.0, 0.0], [2.0, 2.0, 5.0]])  # the first two are equal
    >>> order, costs = backward_elimination(Moments.of([(x, x.sum(1)[:, None])]), [[0, 1, 2]], 1)
    >>> order[0] in (0, 1), costs[0] < 1e-6
    (True, True)
    """
    inverse = np.linalg.inv(moments.regularized())
    weights = inverse @ moments.cross
    group_of = np.empty(len(inverse), int)
    for g, members in enumerate(groups):
        group_of[list(members)] = g
    left = np.full(len(groups), count)
    removed, costs = [], []
    candidates = np.ones(len(inverse), bool)
    for _ in range(count * len(groups)):
        allowed = candidates & (left[group_of] > 0)
        diagonal = np.where(allowed, inverse.diagonal(), 1.0)
        cost = np.where(allowed, np.square(weights).sum(-1) / diagonal, np.inf)
        j = int(np.argmin(cost))
        scaled = inverse[:, j] / inverse[j, j]
        weights = weights - np.outer(scaled, weights[j])
        inverse = inverse - np.outer(scaled, inverse[j])
        candidates[j] = False
        left[group_of[j]] -= 1
        removed.append(j)
        costs.append(float(cost[j]))
    return removed, costs
