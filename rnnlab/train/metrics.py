"""Evaluation metrics, computed on the host over all time steps that have a target.

`outputs` are (time_steps, out_features). `targets` are (time_steps,) for classes, otherwise
(time_steps, out_features) with NaN in entries that do not count. A metric of whole sequences reads
what the task decodes instead.
"""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.special import expit, log_expit, log_softmax

from rnnlab.tasks.reference import (
    anomaly_scores,
    entity_scores,
    forecast_scores,
    ranking_scores,
    remaining_life,
    stroke_scores,
    text_scores,
)
from rnnlab.train import rare_classes


class MeanMetric(NamedTuple):
    """A metric that is `transform` of a mean, accumulated batch by batch.

    Attributes:
      per_example: `per_example(outputs, targets)`: one value per time step or per target entry.
      higher_is_better: whether a higher value is better.
      transform: maps the mean to the metric.
    """

    per_example: Callable[[np.ndarray, np.ndarray], np.ndarray]
    higher_is_better: bool = False
    transform: Callable[[float], float] = float

    def value(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        """Returns the metric of these time steps."""
        return self.transform(float(np.mean(self.per_example(outputs, targets))))


class GlobalMetric(NamedTuple):
    """A metric that needs the outputs of all batches together."""

    value: Callable[[np.ndarray, np.ndarray], float]
    higher_is_better: bool = False


class DecodedMetric(NamedTuple):
    """A metric of whole sequences, from what the task decodes of each example."""

    value: Callable[[Sequence[Any], Sequence[Any]], float]
    higher_is_better: bool = False


Metric = MeanMetric | GlobalMetric | DecodedMetric


def nll(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns the negative log likelihood in nats per time step; multi-label: summed over labels.

    >>> import numpy as np
    >>> nll(np.zeros((2, 4)), np.array([0, 1])).round(4).tolist()  # log(4)
    [1.3863, 1.3863]
    """
    outputs = outputs.astype(np.float64)
    if targets.ndim == 1:
        return -np.take_along_axis(log_softmax(outputs, -1), targets[:, None], -1)[:, 0]
    terms = targets * log_expit(outputs) + (1 - targets) * log_expit(-outputs)
    return -np.nansum(terms, -1)


def correct(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns whether each time step, or each label of a multi-label target, is predicted right."""
    if targets.ndim == 1:
        return outputs.argmax(-1) == targets
    scored = ~np.isnan(targets)
    return (outputs > 0)[scored] == (targets > 0.5)[scored]


def f1(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Returns the F1 score: macro over classes that occur or are predicted; micro over labels."""
    from sklearn.metrics import f1_score

    if targets.ndim == 1:
        return float(f1_score(targets, outputs.argmax(-1), average="macro", zero_division=0.0))
    scored = ~np.isnan(targets)
    return float(f1_score(targets[scored] > 0.5, outputs[scored] > 0, zero_division=0.0))


def roc_auc(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Returns the area under the ROC curve; one class against the rest where there are several.

    NaN where only one class occurs: it is undefined there.
    """
    from sklearn.metrics import roc_auc_score

    if targets.ndim == 1:
        present = np.unique(targets)
        if len(present) < 2:
            return float("nan")
        log_p = log_softmax(outputs.astype(np.float64), -1)
        areas = [roc_auc_score(targets == c, log_p[:, c]) for c in present]
        return float(np.mean(areas[1:] if len(present) == outputs.shape[-1] == 2 else areas))
    scored = ~np.isnan(targets)
    if len(np.unique(targets[scored])) < 2:
        return float("nan")
    return float(roc_auc_score(targets[scored] > 0.5, expit(outputs[scored].astype(np.float64))))


def residuals(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns output minus target of each value whose target is not NaN."""
    scored = ~np.isnan(targets)
    return outputs[scored].astype(np.float64) - targets[scored]


def squared_errors(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns the squares of `residuals`."""
    return np.square(residuals(outputs, targets))


def absolute_errors(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Returns the absolute values of `residuals`."""
    return np.abs(residuals(outputs, targets))


METRICS: dict[str, Metric] = {
    "nll": MeanMetric(nll),
    "bits": MeanMetric(nll, transform=lambda mean: mean / float(np.log(2))),
    "accuracy": MeanMetric(correct, higher_is_better=True),
    "f1": GlobalMetric(f1, higher_is_better=True),
    "roc_auc": GlobalMetric(roc_auc, higher_is_better=True),
    "average_precision": GlobalMetric(rare_classes.average_precision, higher_is_better=True),
    "sensitivity_precision": GlobalMetric(
        rare_classes.sensitivity_precision, higher_is_better=True
    ),
    "brier": MeanMetric(rare_classes.squared_probability_errors),
    "mse": MeanMetric(squared_errors),
    "rmse": MeanMetric(squared_errors, transform=lambda mean: float(np.sqrt(mean))),
    "mae": MeanMetric(absolute_errors),
    "rmse_uncapped": DecodedMetric(remaining_life.rmse_uncapped),
    "phm_score": DecodedMetric(remaining_life.phm_score),
    **{name: DecodedMetric(score) for name, score in forecast_scores.SCORES.items()},
    **{name: DecodedMetric(*entry) for name, entry in anomaly_scores.METRICS.items()},
    **{name: DecodedMetric(score, True) for name, score in entity_scores.SCORES.items()},
    **{name: DecodedMetric(*entry) for name, entry in text_scores.SCORES.items()},
    **{name: DecodedMetric(*entry) for name, entry in ranking_scores.METRICS.items()},
    **{name: DecodedMetric(score) for name, score in stroke_scores.METRICS.items()},
}
"""Metrics by name. `bits` is per character where time steps are characters."""

CLASS_METRICS = {
    "average_precision": rare_classes.average_precision,
    "recall": rare_classes.recall,
    "precision": rare_classes.precision,
}
"""Metrics of one class, named `METRIC/CLASS`, with a keyword argument `of_class`."""

SCALED_METRICS = ("rmse", "mae")
"""Metrics that scale with the targets and are reported in the data's own unit."""


def find_metric(name: str, classes: Sequence[str] = ()) -> Metric:
    """Returns the metric of a name.

    Args:
      name: of `METRICS`; or METRIC/CLASS for a metric of `CLASS_METRICS` of one class.
      classes: names of the classes; empty: their numbers.

    Raises:
      ValueError: the metric or the class is unknown.

    >>> find_metric("average_precision/late", ("early", "late")).higher_is_better
    True
    """
    if name in METRICS:
        return METRICS[name]
    base, _, of_class = name.partition("/")
    if base not in CLASS_METRICS or not of_class:
        known = ", ".join([*METRICS, *(f"{x}/CLASS" for x in CLASS_METRICS)])
        raise ValueError(f"metric must be one of {known}, got {name!r}; choose one")
    if classes and of_class not in classes:
        raise ValueError(f"metric {name!r} must name one of the classes {', '.join(classes)}")
    number = classes.index(of_class) if classes else of_class
    value = CLASS_METRICS[base]
    return GlobalMetric(lambda *of: value(*of, of_class=int(number)), higher_is_better=True)


def higher_is_better(name: str) -> bool:
    """Returns whether a higher value of a metric is better.

    Raises:
      ValueError: the metric is unknown.
    """
    return True if name.partition("/")[0] in CLASS_METRICS else find_metric(name).higher_is_better


def is_metric(name: str) -> bool:
    """Returns whether a result may have a metric of this name."""
    return name in METRICS or name.partition("/")[0] in CLASS_METRICS
