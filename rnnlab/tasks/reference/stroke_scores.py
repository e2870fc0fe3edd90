"""Scores of drawings, point by point, and densities of points without a network.

A point has a movement and the state of the pen after it. Its negative log likelihood is that of a
density of the movement plus that of the state, in nats. Movements on a grid get uniform noise of
the width of the grid, without which a density on their exact values has no bound; the negative log
likelihood is then an upper bound of that of the grid points.

Source: Theis, van den Oord and Bethge, arXiv 1511.01844, section 3.1, for the bound.
"""

from collections.abc import Callable, Sequence
from importlib.util import find_spec

import numpy as np

from rnnlab.optional import require_module

COMPONENTS = 10
"""Components of the mixtures without memory."""

MAX_FITTED = 60_000
"""Greatest number of points that a mixture is fitted to."""

METRICS: dict[str, Callable[[Sequence[float], Sequence[float]], float]] = {
    "point_nats": lambda movement, pen: float(np.mean(movement) + np.mean(pen)),
    "pen_nats": lambda movement, pen: float(np.mean(pen)),
}
"""Metrics of (nats of the movement, nats of the pen) of all points, by name."""


def scores(
    train: Sequence[np.ndarray], test: Sequence[np.ndarray], pen_states: int
) -> dict[str, dict[str, float]]:
    """Returns the metrics of densities on the points of test drawings, by their name.

    They are one normal distribution and, if scikit-learn is installed, a mixture of 10, and a
    mixture of 10 for each state of the pen before the point. The pen is predicted by its
    frequencies, in the last one by those after each state.

    Args:
      train, test: drawings (points, 3): the movement, with noise, and the state of the pen.
      pen_states: number of states of the pen.
    """
    fitted, last = _points(train, pen_states)
    tested, last_tested = _points(test, pen_states)
    everywhere = np.zeros(len(fitted), int), np.zeros(len(tested), int)
    found = {"one normal distribution": _nats(_normal, fitted, tested, *everywhere, pen_states)}
    if find_spec("sklearn"):
        found["mixture of 10"] = _nats(_mixture, fitted, tested, *everywhere, pen_states)
        found["mixture of 10 by the pen"] = _nats(
            _mixture, fitted, tested, last, last_tested, pen_states
        )
    return {
        name: {metric: score(*nats) for metric, score in METRICS.items()}
        for name, nats in found.items()
    }


Density = Callable[[np.ndarray], np.ndarray]


def _nats(
    fit: Callable[[np.ndarray], Density],
    fitted: np.ndarray,
    tested: np.ndarray,
    context: np.ndarray,
    context_tested: np.ndarray,
    pen_states: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The nats of the movement and of the pen of each test point, with a density per context."""
    movement, pen = np.zeros(len(tested)), np.zeros(len(tested))
    for c in np.unique(context_tested):
        chosen, at = fitted[context == c], context_tested == c
        density = fit(chosen[:MAX_FITTED, :2])
        movement[at] = -density(tested[at, :2])
        # One more of each state: none has a probability of 0.
        counts = 1 + np.bincount(chosen[:, 2].astype(int), minlength=pen_states)
        pen[at] = -np.log(counts / counts.sum())[tested[at, 2].astype(int)]
    return movement, pen


def _normal(points: np.ndarray) -> Density:
    """The logarithm of the density of a normal distribution with the moments of points."""
    mean, covariance = points.mean(0), np.cov(points.T)
    inverse, (_, log_determinant) = np.linalg.inv(covariance), np.linalg.slogdet(covariance)

    def log_density(x: np.ndarray) -> np.ndarray:
        z = x - mean
        return -0.5 * (np.einsum("ni,ij,nj->n", z, inverse, z) + log_determinant) - np.log(
            2 * np.pi
        )

    return log_density


def _mixture(points: np.ndarray) -> Density:
    mixture = require_module("sklearn.mixture").GaussianMixture(
        min(COMPONENTS, len(points)), random_state=0
    )
    return mixture.fit(points).score_samples


def _points(drawings: Sequence[np.ndarray], pen_states: int) -> tuple[np.ndarray, np.ndarray]:
    """All points (points, 3), and the state of the pen before each; `pen_states` at the first."""
    last = [np.append(pen_states, x[:-1, 2]) for x in drawings]
    return np.concatenate(drawings).astype(np.float64), np.concatenate(last).astype(int)
