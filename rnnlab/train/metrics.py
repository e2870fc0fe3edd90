"""What a model is judged by, on the host, over all scored steps of a held-out set.

In all metrics `outputs` are (steps, out_features), and `targets` (steps,) for classes, else
(steps, out_features) with NaN in entries that are not scored.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from scipy.special import expit, log_expit, log_softmax


class Mean(NamedTuple):
    """A metric that is `finish` of a mean over terms, so that it needs no outputs but a batch's.

    Attributes:
      terms: `terms(outputs, targets)`, one a step or one a scored entry.
      higher_is_better: whether it is.
      finish: what is done to the mean.
    """

    terms: Callable[[np.ndarray, np.ndarray], np.ndarray]
    higher_is_better: bool = False
    finish: Callable[[float], float] = float

    def value(self, outputs: np.ndarray, targets: np.ndarray) -> float:
        """The metric of these steps."""
        return self.finish(float(np.mean(self.terms(outputs, targets))))


class Whole(NamedTuple):
    """A metric that needs all outputs at once."""

    value: Callable[[np.ndarray, np.ndarray], float]
    higher_is_better: bool


def nll(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Negative log likelihood of each step in nats, of its class, or summed over its labels.

    >>> import numpy as np
    >>> nll(np.zeros((2, 4)), np.array([0, 1])).round(4).tolist()  # the logarithm of 4
    [1.3863, 1.3863]
    """
    outputs = outputs.astype(np.float64)
    if targets.ndim == 1:
        return -np.take_along_axis(log_softmax(outputs, -1), targets[:, None], -1)[:, 0]
    terms = targets * log_expit(outputs) + (1 - targets) * log_expit(-outputs)
    return -np.nansum(terms, -1)


def correct(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Whether each step (each label, where there are several a step) is predicted right."""
    if targets.ndim == 1:
        return outputs.argmax(-1) == targets
    scored = ~np.isnan(targets)
    return (outputs > 0)[scored] == (targets > 0.5)[scored]


def f1(outputs: np.ndarray, targets: np.ndarray) -> float:
    """F1 score: the mean over classes that occur or are predicted; of labels, over all together."""
    from sklearn.metrics import f1_score

    if targets.ndim == 1:
        return float(f1_score(targets, outputs.argmax(-1), average="macro", zero_division=0.0))
    scored = ~np.isnan(targets)
    return float(f1_score(targets[scored] > 0.5, outputs[scored] > 0, zero_division=0.0))


def roc_auc(outputs: np.ndarray, targets: np.ndarray) -> float:
    """Area under the receiver operating characteristic; one class against the rest, if several.

    NaN where only one class occurs, since it is not defined there.
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


def errors(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Output less target of each scored value."""
    scored = ~np.isnan(targets)
    return outputs[scored].astype(np.float64) - targets[scored]


def squared(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Squares of `errors`."""
    return np.square(errors(outputs, targets))


def absolute(outputs: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Sizes of `errors`."""
    return np.abs(errors(outputs, targets))


METRICS: dict[str, Mean | Whole] = {
    "nll": Mean(nll),
    "bits": Mean(nll, finish=lambda mean: mean / float(np.log(2))),
    "accuracy": Mean(correct, higher_is_better=True),
    "f1": Whole(f1, higher_is_better=True),
    "roc_auc": Whole(roc_auc, higher_is_better=True),
    "mse": Mean(squared),
    "rmse": Mean(squared, finish=lambda mean: float(np.sqrt(mean))),
    "mae": Mean(absolute),
}
"""Metrics by name. `bits` is per character where steps are characters."""

IN_UNITS = ("rmse", "mae")
"""Metrics that scale with the targets, and are given in the data's own units."""


class Measurement:
    """Metrics of a held-out set, added up batch by batch.

    Only what a `Whole` metric needs is kept: the rest of the memory is one batch's.

    >>> import numpy as np
    >>> measurement = Measurement(("mse", "rmse"), unit=10.0)
    >>> measurement.add(np.array([[1.0]]), np.array([[0.0]]))
    >>> measurement.add(np.array([[3.0], [5.0]]), np.array([[2.0], [np.nan]]))
    >>> measurement.result()
    {'mse': 1.0, 'rmse': 10.0}
    """

    def __init__(self, names: tuple[str, ...], unit: float):
        """Metrics by `names` of `METRICS`; `unit` is the size of 1 of the targets."""
        self.names, self.unit = names, unit
        self._steps, self._finite = 0, True
        self._sums = {name: 0.0 for name in names if isinstance(METRICS[name], Mean)}
        self._counts = dict.fromkeys(self._sums, 0)
        self._keeps = len(self._sums) < len(names)
        self._kept: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, outputs: np.ndarray, targets: np.ndarray) -> None:
        """Takes the scored steps of a batch."""
        self._steps += len(targets)
        self._finite = self._finite and bool(np.isfinite(outputs).all())
        if not self._finite:
            return
        for name in self._sums:
            terms = METRICS[name].terms(outputs, targets)
            self._sums[name] += float(np.sum(terms))
            self._counts[name] += len(terms)
        if self._keeps:
            self._kept.append((outputs, targets))

    def result(self) -> dict[str, float]:
        """The metrics by name, all NaN where an output was not finite.

        Raises:
          ValueError: no step was scored, or a metric needs scikit-learn, which is not installed.
        """
        if not self._steps:
            raise ValueError("no step of the held-out set is scored; give it more data")
        if not self._finite:  # else the likeliest class would be the first
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
        value = METRICS[name].finish(self._sums[name] / self._counts[name])
        return value * self.unit if name in IN_UNITS else value
