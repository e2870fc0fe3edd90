"""The bound on the jobs that wait for a slot, and an estimate of how long they wait."""

import math
import threading
from collections.abc import Callable

from rnnlab.serve import refusals

SMOOTHING = 0.1
"""Weight of the newest interval between two admissions in the rate of admissions."""
MAX_RETRY_SECONDS = 60


class Admission:
    """Counts the jobs of streams without a slot. Any thread may call it.

    Args:
      limit: jobs that may wait while no slot is free.
      clock: monotonic seconds.

    >>> admission = Admission(0)
    >>> admission.enter(num_free=1)
    >>> admission.num_waiting
    1
    """

    def __init__(self, limit: int, clock: Callable[[], float] = lambda: 0.0):
        self._limit = limit
        self._lock = threading.Lock()
        self._rate = 0.0  # admissions per second, smoothed
        self._last = clock()
        self.num_waiting = 0

    def enter(self, num_free: int) -> None:
        """Counts a job that needs a slot.

        Args:
          num_free: slots that are free.

        Raises:
          RequestError: as many jobs wait as may.
        """
        with self._lock:
            if self.num_waiting >= self._limit + num_free:
                raise refusals.overload(self._limit, self._seconds_to_slot())
            self.num_waiting += 1

    def leave(self) -> None:
        """Counts a job that ended before it got a slot."""
        with self._lock:
            self.num_waiting -= 1

    def admit(self, now: float) -> None:
        """Counts a job that gets a slot, at a time of the clock."""
        with self._lock:
            self.num_waiting -= 1
            self._rate += SMOOTHING * (1 / max(now - self._last, 1e-3) - self._rate)
            self._last = now

    def _seconds_to_slot(self) -> int:
        """Returns an estimate of the seconds until the queue has moved on, 1 to 60."""
        if self._rate <= 0:
            return 1
        return min(MAX_RETRY_SECONDS, max(1, math.ceil(self.num_waiting / self._rate)))
