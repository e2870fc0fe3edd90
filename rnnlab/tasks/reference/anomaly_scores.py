"""Scores of anomalous beats: their metrics, and detectors of single beats without recurrence."""

from collections.abc import Callable, Sequence
from functools import partial
from importlib.util import find_spec
from typing import NamedTuple

import numpy as np

from rnnlab.optional import require_module
from rnnlab.tasks.operating_points import threshold_for_recall
from rnnlab.tasks.readers.ecg import CLASSES

NORMAL = CLASSES.index("N")
RECALL = 0.9
"""Share of the anomalous beats that an alarm has to find."""


class ScoredBeats(NamedTuple):
    """The beats of one record.

    Attributes:
      scores: by class, (beats,) each: higher means that a beat is more likely of the class.
      classes: (beats,) indices in `CLASSES`.
      hours: length of the record.
      nats: (beats,) negative log likelihood of each beat under its forecast, a mean over features;
        None where a detector does not forecast.
    """

    scores: dict[str, np.ndarray]
    classes: np.ndarray
    hours: float
    nats: np.ndarray | None = None


def among_normal(records: Sequence[ScoredBeats], name: str) -> tuple[np.ndarray, np.ndarray, float]:
    """Returns the scores of normal beats and of a class, whether each has it, and the hours."""
    scores = np.concatenate([record.scores[name] for record in records])
    classes = np.concatenate([record.classes for record in records])
    kept = (classes == NORMAL) | (classes == CLASSES.index(name))
    hours = sum(record.hours for record in records)
    return scores[kept], classes[kept] != NORMAL, hours


def average_precision(
    records: Sequence[ScoredBeats], _: Sequence[ScoredBeats], *, name: str
) -> float:
    """Returns the average precision of a class among normal beats; NaN without any."""
    scores, actual, _ = among_normal(records, name)
    score = require_module("sklearn.metrics").average_precision_score
    return float(score(actual, scores)) if actual.any() else float("nan")


def roc_auc(records: Sequence[ScoredBeats], _: Sequence[ScoredBeats], *, name: str) -> float:
    """Returns the area under the ROC curve of a class among normal beats; NaN without both."""
    scores, actual, _ = among_normal(records, name)
    score = require_module("sklearn.metrics").roc_auc_score
    return float(score(actual, scores)) if actual.any() and not actual.all() else float("nan")


def false_alarms_per_hour(
    records: Sequence[ScoredBeats], _: Sequence[ScoredBeats], *, name: str
) -> float:
    """Returns the normal beats per hour that are found where 90% of a class are; NaN without any.

    The threshold is that of these records.

    >>> scores, classes = {"V": np.array([3.0, 2.0, 1.0])}, np.array([2, 0, 2])
    >>> false_alarms_per_hour([ScoredBeats(scores, classes, 0.5)], [], name="V")
    2.0
    """
    scores, actual, hours = among_normal(records, name)
    if not actual.any():
        return float("nan")
    found = scores >= threshold_for_recall(scores, actual, RECALL)
    return float((found & ~actual).sum() / hours)


def forecast_nll(records: Sequence[ScoredBeats], _: Sequence[ScoredBeats]) -> float:
    """Returns the mean negative log likelihood of normal beats under their forecasts."""
    return float(np.concatenate([x.nats[x.classes == NORMAL] for x in records]).mean())


KINDS: dict[str, tuple[Callable[..., float], bool]] = {
    "anomaly_precision": (average_precision, True),
    "anomaly_roc_auc": (roc_auc, True),
    "false_alarms_per_hour": (false_alarms_per_hour, False),
}
RANKING_METRICS = {
    f"{kind}/{name}": (partial(score, name=name), higher_is_better)
    for name in ("S", "V")
    for kind, (score, higher_is_better) in KINDS.items()
}
"""Metrics of scores by name, as METRIC/CLASS, and whether a higher value is better."""

METRICS = {**RANKING_METRICS, "forecast_nll": (forecast_nll, False)}
"""These, and the metric of forecasts."""


def detectors(
    train: np.ndarray, records: Sequence[np.ndarray]
) -> dict[str, list[dict[str, np.ndarray]]]:
    """Returns the scores of detectors of single beats, for each record, by name.

    Args:
      train: (beats, features) of normal training beats.
      records: the beats of each record to score, of which feature 0 is low where a beat is early,
        and the others are its difference from the patient's usual beat.

    The isolation forest and the principal components, of which 16 are kept, are fitted to `train`
    with scikit-learn; without it they are omitted.
    """

    def both(scores: np.ndarray) -> dict[str, np.ndarray]:
        return {"V": scores, "S": scores}

    found = {
        "distance from the usual beat": [both(np.square(x[:, 1:]).mean(1)) for x in records],
        "how early a beat comes": [both(-x[:, 0]) for x in records],
    }
    if find_spec("sklearn"):
        ensemble = require_module("sklearn.ensemble")
        decomposition = require_module("sklearn.decomposition")
        forest = ensemble.IsolationForest(random_state=0).fit(train)
        components = decomposition.PCA(16, random_state=0).fit(train)

        def residual(x: np.ndarray) -> np.ndarray:
            return np.square(x - components.inverse_transform(components.transform(x))).mean(1)

        found["isolation forest"] = [both(-forest.score_samples(x)) for x in records]
        found["principal components"] = [both(residual(x)) for x in records]
    return found
