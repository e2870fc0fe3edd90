"""Remaining life: its metrics, and regression on the last cycles without recurrence."""

from collections.abc import Sequence
from importlib.util import find_spec

import numpy as np

from rnnlab.optional import require_module
from rnnlab.tasks.readers.turbofan import Engines

WINDOWS = (5, 20)
"""Lengths of the windows whose means are features, in cycles."""


def rmse_uncapped(predictions: Sequence[float], references: Sequence[float]) -> float:
    """Returns the root mean square error against the true remaining life, without its cap.

    >>> round(rmse_uncapped([120.0, 10.0], [140.0, 10.0]), 2)
    14.14
    """
    return float(np.sqrt(np.mean(np.square(np.subtract(predictions, references)))))


def phm_score(predictions: Sequence[float], references: Sequence[float]) -> float:
    """Returns the score of the PHM 2008 challenge, a sum in which late predictions cost more.

        exp(-d / 13) - 1 for d < 0, else exp(d / 10) - 1,   d = predicted - true

    Source: Saxena, Goebel, Simon and Eklund, PHM 2008.

    >>> round(phm_score([10.0, 30.0], [20.0, 20.0]), 3)
    2.876
    """
    late = np.subtract(predictions, references)
    return float(np.sum(np.where(late < 0, np.expm1(-late / 13), np.expm1(late / 10))))


def window_features(values: np.ndarray) -> np.ndarray:
    """Returns the features of an engine at each cycle: its values and their means so far.

    Args:
      values: (cycles, columns).

    Returns:
      (cycles, 4 columns): the values, their means over the last 5 and 20 cycles, or fewer at the
      start, and the difference of the latter from the mean of the first 20 cycles.

    >>> window_features(np.array([[1.0], [3.0]])).tolist()
    [[1.0, 1.0, 1.0, 0.0], [3.0, 2.0, 2.0, 0.0]]
    """
    sums = np.concatenate([np.zeros((1, values.shape[1])), np.cumsum(values, axis=0)])
    count = np.arange(1, len(values) + 1)
    means = []
    for window in WINDOWS:
        start = np.maximum(count - window, 0)
        means.append((sums[count] - sums[start]) / (count - start)[:, None])
    first = np.minimum(count, WINDOWS[-1])
    means.append(means[-1] - sums[first] / first[:, None])
    return np.concatenate([values, *means], axis=1)


def scores(
    train_values: Sequence[np.ndarray],
    train: Engines,
    test_values: Sequence[np.ndarray],
    test: Engines,
    cap: int,
) -> dict[str, dict[str, float]]:
    """Returns the scores of the mean, of ridge regression and of gradient boosting.

    Both regressions are those of scikit-learn with default settings; without it there is only the
    mean. They get `window_features` and the cycle, and are fitted to the capped life at every
    training cycle.

    Args:
      train_values, test_values: standardized columns of each engine, (cycles, columns).
      train, test: the engines. Of the test engines the last cycle is scored.
      cap: of the life, in cycles.
    """
    lives = [train.remaining_life(k) for k in range(len(train.values))]
    target = np.minimum(np.concatenate(lives), cap)
    found = {"training mean": np.full(len(test.values), target.mean())}
    if find_spec("sklearn"):
        linear_model = require_module("sklearn.linear_model")
        ensemble = require_module("sklearn.ensemble")
        features = np.concatenate([_with_cycle(x) for x in train_values])
        last = np.stack([_with_cycle(x)[-1] for x in test_values])
        for name, model in {
            "ridge regression": linear_model.Ridge(),
            "gradient boosting": ensemble.HistGradientBoostingRegressor(random_state=0),
        }.items():
            found[name] = np.clip(model.fit(features, target).predict(last), 0, cap)
    return {name: _errors(predicted, test.remaining, cap) for name, predicted in found.items()}


def _with_cycle(values: np.ndarray) -> np.ndarray:
    return np.column_stack([window_features(values), np.arange(1, len(values) + 1)])


def _errors(predicted: np.ndarray, life: np.ndarray, cap: int) -> dict[str, float]:
    return {
        "rmse": rmse_uncapped(predicted, np.minimum(life, cap)),
        "rmse_uncapped": rmse_uncapped(predicted, life),
        "phm_score": phm_score(predicted, life),
    }
