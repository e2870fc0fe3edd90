"""The metrics of a data set, accumulated batch by batch."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from rnnlab.train.metrics import (
    SCALED_METRICS,
    DecodedMetric,
    GlobalMetric,
    MeanMetric,
    find_metric,
)


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

    def __init__(
        self, names: tuple[str, ...], target_scale: float = 1.0, classes: Sequence[str] = ()
    ):
        """Accumulates metrics.

        Args:
          names: of the metrics, as in `find_metric`.
          target_scale: the size, in the data's own unit, of a difference of 1 between targets.
          classes: names of the classes.
        """
        self.metrics = {name: find_metric(name, classes) for name in names}
        self.target_scale = target_scale
        self._count, self._finite = 0, True
        means = [name for name, metric in self.metrics.items() if isinstance(metric, MeanMetric)]
        self._sums = dict.fromkeys(means, 0.0)
        self._counts = dict.fromkeys(means, 0)
        kinds = {type(metric) for metric in self.metrics.values()}
        self._keeps_outputs = GlobalMetric in kinds
        self._kept: list[tuple[np.ndarray, np.ndarray]] = []
        self._decoded: list[tuple[Any, Any]] = []

    @property
    def reads_outputs(self) -> bool:
        """Whether a metric is of outputs, not only of what the task decodes."""
        return not all(isinstance(metric, DecodedMetric) for metric in self.metrics.values())

    def add(self, outputs: np.ndarray, targets: np.ndarray) -> None:
        """Adds a batch's time steps that have a target."""
        self._count += len(targets)
        self._finite = self._finite and bool(np.isfinite(outputs).all())
        if not self._finite:
            return
        for name in self._sums:
            terms = self.metrics[name].per_example(outputs, targets)
            self._sums[name] += float(np.sum(terms))
            self._counts[name] += len(terms)
        if self._keeps_outputs:
            self._kept.append((outputs, targets))

    def add_decoded(self, pairs: Iterable[tuple[Any, Any]]) -> None:
        """Adds the decoded prediction and the reference of each example of a batch."""
        pairs = list(pairs)
        self._count += len(pairs)
        self._decoded += pairs

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
            return dict.fromkeys(self.metrics, float("nan"))
        try:
            return {name: self._value(name) for name in self.metrics}
        except ModuleNotFoundError as error:
            raise ValueError(
                f"the metrics {', '.join(self.metrics)} need {error.name}; "
                "pip install 'rnnlab[data]'"
            ) from None

    def _value(self, name: str) -> float:
        metric = self.metrics[name]
        if isinstance(metric, DecodedMetric):
            return metric.value(*zip(*self._decoded, strict=True))
        if isinstance(metric, GlobalMetric):
            return metric.value(*map(np.concatenate, zip(*self._kept, strict=True)))
        value = metric.transform(self._sums[name] / self._counts[name])
        return value * self.target_scale if name in SCALED_METRICS else value
