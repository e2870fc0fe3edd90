"""Versions of a model: load, warm up, share out by session, swap and roll back.

A state belongs to the weights that made it. A stream finishes on the version it began with; a swap
affects the streams that begin later.
"""

import bisect
import hashlib
import itertools
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnnlab.serve.drift import DriftMonitor
from rnnlab.serve.interface import Interface
from rnnlab.serve.jobs import RequestError
from rnnlab.serve.slots import Slots

LOG = logging.getLogger("rnnlab.serve")
KEPT = 4
"""Versions that stay loaded; one more unloads the oldest that gets no requests."""


@dataclass(eq=False)
class Version:
    """One set of weights of a model, with the states of its streams.

    Attributes:
      number: "1" for the first that was loaded.
      digest: of its bundle.
      interface: what it reads and predicts.
      slots: the states of its streams.
      description: further facts for the metadata.
      prepare: turns values in the data's own units into those that the model reads; None reads
        them as they are.
      monitor: compares what streams read with the data of the training; None does not.
      num_rows: streams that have a slot. The scheduler's thread changes it.
      failures: device calls that failed.
    """

    number: str
    digest: str
    interface: Interface
    slots: Slots = field(repr=False)
    description: Mapping[str, Any] = field(default_factory=dict, repr=False)
    prepare: Callable[[np.ndarray], np.ndarray] | None = field(default=None, repr=False)
    monitor: DriftMonitor | None = field(default=None, repr=False)
    num_rows: int = 0
    failures: int = 0

    def recover(self, error: Exception) -> None:
        """Starts over with new states after a device call failed."""
        LOG.error("a device call of version %s failed", self.number, exc_info=error)
        self.failures += 1
        self.slots.clear()


class Versions:
    """The loaded versions of one model and the share of new sessions that each gets.

    Args:
      name: of the model in addresses.
    """

    def __init__(self, name: str):
        self.name = name
        self._lock = threading.Lock()
        self._loaded: dict[str, Version] = {}
        self._shares: dict[str, float] = {}
        self._previous: list[dict[str, float]] = []
        self._count = 0

    @property
    def shares(self) -> dict[str, float]:
        """The share of new sessions of each version that gets some."""
        with self._lock:
            return dict(self._shares)

    @property
    def loaded(self) -> list[Version]:
        """All loaded versions, oldest first."""
        with self._lock:
            return list(self._loaded.values())

    def add(
        self,
        digest: str,
        interface: Interface,
        slots: Slots,
        **options: Any,
    ) -> Version:
        """Returns a new version, which gets no sessions yet. Its programs are compiled here.

        Args:
          digest: of its bundle.
          interface: what it reads and predicts.
          slots: for the states of its streams.
          **options: further attributes of `Version`.

        Raises:
          ValueError: it reads or predicts something else than the loaded versions.
        """
        for other in self.loaded:
            if other.interface != interface:
                raise ValueError(
                    f"versions of {self.name} must have the same inputs, outputs, vocabulary and "
                    f"classes, got {_difference(interface, other.interface)}; serve it under "
                    "another name"
                )
        slots.warm_up()
        with self._lock:
            self._count += 1
            version = Version(str(self._count), digest, interface, slots, **options)
            self._loaded[version.number] = version
            self._unload()
        return version

    def set_shares(self, shares: Mapping[str, float]) -> None:
        """Shares new sessions out among versions.

        Raises:
          ValueError: a version is not loaded, a share is not positive, or they do not add up to 1.
        """
        with self._lock:
            self._check(shares)
            if self._shares and dict(shares) != self._shares:
                self._previous.append(self._shares)
            self._shares = {n: float(s) for n, s in shares.items()}
            self._unload()

    def roll_back(self) -> dict[str, float]:
        """Restores and returns the shares before the last change.

        Raises:
          ValueError: there is no change, or a version of that time is not loaded any more.
        """
        with self._lock:
            if not self._previous:
                raise ValueError("shares must have been changed to roll back, but were not")
            self._check(self._previous[-1])
            self._shares = self._previous.pop()
            return dict(self._shares)

    def choose(self, session: str) -> Version:
        """Returns the version of a session: the same one as long as the shares are the same.

        Raises:
          RequestError: no version is ready.
        """
        with self._lock:
            if not self._shares:
                raise RequestError(
                    503,
                    f"a version of {self.name} must be ready, got none; retry later",
                    reason="not_ready",
                    retry_after=5,
                )
            numbers = list(self._shares)
            bounds = list(itertools.accumulate(self._shares.values()))
            # Shares may add up to a little less than 1.
            index = min(bisect.bisect_right(bounds, _point(session)), len(numbers) - 1)
            return self._loaded[numbers[index]]

    def get(self, number: str) -> Version:
        """Returns a loaded version.

        Raises:
          RequestError: it is not loaded.
        """
        with self._lock:
            if number not in self._loaded:
                raise RequestError(
                    404,
                    f"version must be one of {', '.join(self._loaded) or 'none'}, got "
                    f"{number[:40]!r}; omit it for the current one",
                    field="version",
                    reason="not_found",
                )
            return self._loaded[number]

    def _check(self, shares: Mapping[str, float]) -> None:
        for number, share in shares.items():
            if number not in self._loaded:
                raise ValueError(
                    f"shares must name loaded versions, {', '.join(self._loaded)}, got {number!r}"
                )
            if not 0 < share <= 1:
                raise ValueError(f"shares must be in (0, 1], got {share} for version {number}")
        if abs(sum(shares.values()) - 1) > 1e-6:
            raise ValueError(f"shares must add up to 1, got {sum(shares.values()):g}; change them")

    def _unload(self) -> None:
        """Unloads the oldest versions that get no sessions, are not the previous, and are many.

        Streams that run keep theirs until they end.
        """
        kept = set(self._shares) | set(self._previous[-1] if self._previous else ())
        newest = next(reversed(self._loaded), None)
        for number in list(self._loaded):
            if len(self._loaded) <= KEPT:
                return
            if number not in kept and number != newest:
                del self._loaded[number]


def _point(session: str) -> float:
    """Returns a number in [0, 1) that depends on the session only."""
    digest = hashlib.sha256(session.encode("utf-8", "surrogatepass")).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def _difference(one: Interface, other: Interface) -> str:
    for name in Interface.__dataclass_fields__:
        if getattr(one, name) != getattr(other, name):
            return f"another {name}"
    return "no difference"
