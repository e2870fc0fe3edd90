"""Drift: whether streams read inputs like those of the training, by windows of their statistics.

Thresholds are quantiles of the same statistics on held-out data, from the bundle's
`reference.json`. A single window beyond a rare quantile means little: neighboring time steps are
not independent. So an alarm needs several windows within a short time, counted by a cumulative sum.
"""

import logging
import math
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rnnlab.bundle.reference import Distribution, Reference, WindowReference, population_stability

LOG = logging.getLogger("rnnlab.serve")

TAIL = 0.02
"""Share of windows of held-out data that count as unusual."""
DRIFTED = 0.2
"""Share of unusual windows that an alarm should find."""
ALARM = 8.0
"""Log likelihood ratio of an alarm: four unusual windows one after another, more among usual ones,
and one more where few held-out windows set the threshold."""
MIN_CONTEXT = 16
"""Time steps of a stream before its surprise counts: with less before it, any input surprises."""


@dataclass
class CumulativeSum:
    """Counts unusual windows. An alarm lasts until the windows have been usual for a while.

    Attributes:
      low, high: values outside are unusual; None where there is no limit.
      tail: share of windows like the held-out data that are unusual, at most.
      total: the cumulative sum, 0 to twice `ALARM`.
      latest: the value of the last window.
      windows: number of windows.
      is_alarm: whether there is an alarm.
    """

    low: float | None
    high: float | None
    tail: float = TAIL
    total: float = 0.0
    latest: float = math.nan
    windows: int = 0
    is_alarm: bool = False

    def add(self, value: float) -> bool:
        """Adds a window. Returns whether an alarm begins or ends."""
        is_unusual = not (
            (self.low is None or value >= self.low) and (self.high is None or value <= self.high)
        )
        ratio = DRIFTED / self.tail if is_unusual else (1 - DRIFTED) / (1 - self.tail)
        total = self.total + math.log(ratio)
        self.total = min(max(total, 0.0), 2 * ALARM)
        self.latest, self.windows = value, self.windows + 1
        was_alarm = self.is_alarm
        self.is_alarm = self.total > 0 if was_alarm else self.total >= ALARM
        return self.is_alarm != was_alarm


@dataclass
class _Buffer:
    """Values that wait until they fill a window."""

    steps: int
    parts: list[np.ndarray] = field(default_factory=list)
    count: int = 0

    def add(self, values: np.ndarray) -> list[np.ndarray]:
        """Returns the windows that are full, (steps, ...)."""
        self.parts.append(values)
        self.count += len(values)
        if self.count < self.steps:
            return []
        values = np.concatenate(self.parts)
        ends = range(self.steps, len(values) + 1, self.steps)
        windows = [values[end - self.steps : end] for end in ends]
        rest = values[len(windows) * self.steps :]
        self.parts, self.count = [rest] if len(rest) else [], len(rest)
        return windows


class DriftMonitor:
    """Compares the inputs of all streams of one version with held-out data.

    Args:
      reference: of the bundle.
      name: of the version, for the log.

    Raises:
      ValueError: the reference has no windows.
    """

    def __init__(self, reference: Reference, name: str = ""):
        if not reference.windows:
            raise ValueError("reference must have windows of held-out data, got none")
        self.name = name
        self._reference = reference
        self._window: WindowReference = reference.windows[0]
        self._lock = threading.Lock()
        self._inputs = _Buffer(self._window.steps)
        self._surprise = _Buffer(self._window.steps)
        self._low = np.array([feature.minimum for feature in reference.features])
        self._high = np.array([feature.maximum for feature in reference.features])
        self.out_of_range = 0
        self.statistics: dict[str, CumulativeSum] = {}
        if self._window.surprise is not None:
            self.statistics["surprise"] = self._bounds(self._window.surprise, two_sided=False)
        if self._window.stability is not None:
            self.statistics["stability"] = self._bounds(self._window.stability, two_sided=False)
        for k, means in enumerate(self._window.feature_means):
            self.statistics[f"mean_{k}"] = self._bounds(means, two_sided=True)

    @property
    def alarms(self) -> list[str]:
        """Names of the statistics with an alarm."""
        return [name for name, statistic in self.statistics.items() if statistic.is_alarm]

    def observe(self, inputs: np.ndarray, surprise: np.ndarray | None, first_step: int) -> None:
        """Adds what a stream has read.

        Args:
          inputs: (time,) tokens or (time, in_features) values, as the model reads them.
          surprise: (time,) negative log likelihoods of the inputs; None if they are not known.
          first_step: number of time steps that the stream had read before.
        """
        with self._lock:
            if inputs.ndim == 2 and len(self._low):
                outside = (inputs < self._low) | (inputs > self._high)
                self.out_of_range += int(outside.any(axis=1).sum())
            for window in self._inputs.add(inputs):
                self._add_inputs(window)
            if surprise is not None and "surprise" in self.statistics:
                scored = surprise[max(0, MIN_CONTEXT - first_step) :]
                for window in self._surprise.add(scored[np.isfinite(scored)]):
                    self._add("surprise", float(window.mean()))

    def _add_inputs(self, window: np.ndarray) -> None:
        if "stability" in self.statistics:
            shares = self._reference.token_shares
            counts = np.bincount(window, minlength=len(shares))
            self._add("stability", float(population_stability(counts, shares)))
        for k, mean in enumerate(window.mean(axis=0, dtype=np.float64) if window.ndim == 2 else ()):
            self._add(f"mean_{k}", float(mean))

    def _add(self, name: str, value: float) -> None:
        statistic = self.statistics[name]
        if statistic.add(value):
            state = "differ from" if statistic.is_alarm else "are like"
            LOG.warning(
                "inputs of version %s %s the held-out data: %s of %d time steps is %.4g, "
                "expected %s to %s in most windows",
                *(self.name, state, name, self._window.steps, value),
                *("any" if x is None else f"{x:.4g}" for x in (statistic.low, statistic.high)),
            )

    def _bounds(self, of: Distribution, *, two_sided: bool) -> CumulativeSum:
        levels = self._reference.levels
        # A quantile of few windows is uncertain: two deviations more may lie beyond it.
        tail = min(TAIL + 2 * math.sqrt(TAIL * (1 - TAIL) / self._window.count), DRIFTED / 2)
        if not two_sided:
            return CumulativeSum(None, _quantile(of, levels, 1 - TAIL), tail)
        low, high = (_quantile(of, levels, level) for level in (TAIL / 2, 1 - TAIL / 2))
        return CumulativeSum(low, high, tail)


def _quantile(of: Distribution, levels: Sequence[float], level: float) -> float:
    return float(np.interp(level, levels, of.quantiles))
