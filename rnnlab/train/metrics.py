"""Evaluation metrics, computed on the host over all time steps that have a target.

In all metrics `outputs` are (time_steps, out_features). `targets` are (time_steps,) for classes,
otherwise (time_steps, out_features) with NaN in entries that do not count.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit, log_expit, log_softmax


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
    higher_is_better: bool


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


METRICS: dict[str, MeanMetric | GlobalMetric] = {
    "nll": MeanMetric(nll),
    "bits": MeanMetric(nll, transform=lambda mean: mean / float(np.log(2))),
    "accuracy": MeanMetric(correct, higher_is_better=True),
    "f1": GlobalMetric(f1, higher_is_better=True),
    "roc_auc": GlobalMetric(roc_auc, higher_is_better=True),
    "mse": MeanMetric(squared_errors),
    "rmse": MeanMetric(squared_errors, transform=lambda mean: float(np.sqrt(mean))),
    "mae": MeanMetric(absolute_errors),
}
"""Metrics by name. `bits` is per character where time steps are characters."""

SCALED_METRICS = ("rmse", "mae")
"""Metrics that scale with the targets and are reported in the data's own unit."""


class MetricAccumulator:
    """Accumulates the metrics of a data set batch by batch.

    Outputs are kept only where a `GlobalMetric` needs them.

    >>> import numpy as np
    >>> accumulator = MetricAccumulator(("mse", "rmse"), target_scale=10.0)
    >>> accumulator.add(np.array([[1.0]]), np.array([[0.0]]))
    >>> accumulator.add(np.array([[3.0], [5.0]]), np.array([[2.0], [np.nan]]))
    >>> accumulator.result()
    {'mse': 1.0, 'rmse': 10.0}
    """

    def __init__(self, names: tuple[str, ...], target_scale: float):
        """Accumulates the metrics `names` of `METRICS`.

        `target_scale` is the size, in the data's own unit, of a difference of 1 between targets.
        """
        self.names, self.target_scale = names, target_scale
        self._count, self._finite = 0, True
        self._sums = {name: 0.0 for name in names if isinstance(METRICS[name], MeanMetric)}
        self._counts = dict.fromkeys(self._sums, 0)
        self._keeps_outputs = len(self._sums) < len(names)
        self._kept: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, outputs: np.ndarray, targets: np.ndarray) -> None:
        """Adds a batch's time steps that have a target."""
        self._count += len(targets)
        self._finite = self._finite and bool(np.isfinite(outputs).all())
        if not self._finite:
            return
        for name in self._sums:
            terms = METRICS[name].per_example(outputs, targets)
            self._sums[name] += float(np.sum(terms))
            self._counts[name] += len(terms)
        if self._keeps_outputs:
            self._kept.append((outputs, targets))

    def result(self) -> dict[str, float]:
        """Returns the metrics by name; all are NaN where an output was NaN or Inf.

        Raises:
          ValueError: there was no target, or a metric needs scikit-learn, which is not installed.
        """
        if not self._count:
            raise ValueError(
                "an evaluation set must have at least one target, got none; give it more data"
            )
        if not self._finite:  # argmax would return the first class for NaN
            return dict.fromkeys(self.names, float("nan"))
        try:
            return {name: self._value(name) for name in self.names}
        except ModuleNotFoundError as error:
            raise ValueError(
                f"the metrics {', '.join(self.names)} need {error.name}; pip install 'rnnlab[data]'"
            ) from None

    def _value(self, name: str) -> float:
        if name not in self._sums:
            return METRICS[name].value(*map(np.concatenate, zip(*self._kept, strict=True)))
        value = METRICS[name].transform(self._sums[name] / self._counts[name])
        return value * self.target_scale if name in SCALED_METRICS else value
