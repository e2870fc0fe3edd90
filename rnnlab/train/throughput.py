"""Training speed in real tokens per second."""

import time
from statistics import median


class ThroughputMeter:
    """Measures tokens per second between logged updates.

    The first interval is not measured, since it compiles the update, and evaluations are not
    counted.
    """

    def __init__(self) -> None:
        self._values: list[float] = []
        self._since: float | None = None
        self._tokens = 0

    @property
    def last(self) -> float | None:
        """Speed of the last measured interval; None before the first."""
        return self._values[-1] if self._values else None

    @property
    def median(self) -> float | None:
        """Median speed of the measured intervals; None without any."""
        return median(self._values) if self._values else None

    def add(self, tokens: int) -> None:
        """Counts the tokens of an update."""
        self._tokens += tokens

    def stop(self) -> None:
        """Ends an interval."""
        if self._since is not None:
            self._values.append(self._tokens / (time.perf_counter() - self._since))

    def start(self) -> None:
        """Starts the next interval."""
        self._since, self._tokens = time.perf_counter(), 0
