"""SIGINT and SIGTERM: stop immediately, or after the state is saved where a signal is deferred."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class StopRequested(KeyboardInterrupt):
    """A signal asked to stop, and everything worth keeping is on disk.

    Attributes:
      exit_code: of the process, 128 and the signal's number.
      kept: what is kept, and how to continue, for the line on stderr; None: what the command keeps.
    """

    kept: str | None = None

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.exit_code = 128 + number


class StopSignal:
    """A context in which SIGINT and SIGTERM raise `StopRequested`, or wait while `deferred`.

    It is reentrant. Outside of the main thread, where Python delivers no signals, it does nothing.

    Args:
      exit_on_second: whether a second signal ends the process immediately, also inside compiled
        code; otherwise a second signal has the effect that it has outside of the context.
    """

    def __init__(self, *, exit_on_second: bool = False) -> None:
        self.number: int | None = None
        self._exit_on_second = exit_on_second
        self._deferred = False
        self._depth = 0
        self._previous_handlers: dict[int, object] = {}

    def __enter__(self) -> "StopSignal":
        self._depth += 1
        if self._depth == 1 and threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                self._previous_handlers[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: object) -> None:
        self._depth -= 1
        if not self._depth:
            for number, handler in self._previous_handlers.items():
                signal.signal(number, handler)

    @contextmanager
    def deferred(self) -> Iterator[None]:
        """Returns a context that only records signals and calls `raise_if_set` at its end."""
        self._deferred = True
        try:
            yield
        finally:
            self._deferred = False
        self.raise_if_set()

    def is_set(self) -> bool:
        """Returns whether a signal has been received."""
        return self.number is not None

    def adopt(self, number: int) -> None:
        """Records a signal that another process of the run has received."""
        self.number = number

    def raise_if_set(self) -> None:
        """Raises StopRequested if a signal has been received."""
        if self.number is not None:
            raise StopRequested(self.number)

    def _on_signal(self, number: int, _: FrameType | None) -> None:
        self.number = number
        for each, handler in self._previous_handlers.items():
            signal.signal(each, signal.SIG_DFL if self._exit_on_second else handler)
        if not self._deferred:
            self.raise_if_set()
