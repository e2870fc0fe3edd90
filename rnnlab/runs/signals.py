"""SIGINT and SIGTERM: at once where nothing is lost by it, else when the state is on disk."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequested(KeyboardInterrupt):
    """A signal asked to stop, and whatever had to be kept is on disk."""

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class StopSignal:
    """Within it, SIGINT and SIGTERM raise `StopRequested`, or wait where they are `deferred`.

    It may be entered again within itself. Outside of the main thread, where Python delivers no
    signals, it changes nothing.

    Args:
      hard: whether a second signal ends the process on the spot, also inside compiled code;
        otherwise it has the effect that it has outside.
    """

    def __init__(self, *, hard: bool = False) -> None:
        self.number: int | None = None
        self._hard = hard
        self._waiting = False
        self._entered = 0
        self._before: dict[int, object] = {}

    def __enter__(self) -> "Interruption":
        self._entered += 1
        if self._entered == 1 and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *_: object) -> None:
        self._entered -= 1
        if not self._entered:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Within it a signal is noted alone, for `poll` to act on."""
        self._waiting = True
        try:
            yield
        finally:
            self._waiting = False
        self.poll()

    def poll(self) -> None:
        """Raises Interrupted if a signal has come."""
        if self.number is not None:
            raise StopRequested(self.number)

    def _note(self, number: int, _: FrameType | None) -> None:
        self.number = number
        for each, handler in self._before.items():
            signal.signal(each, signal.SIG_DFL if self._hard else handler)
        if not self._waiting:
            self.poll()
