"""Calls of orbax that may fail, without what its threads and tasks then say on their own."""

import gc
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, TypeVar

from rnnlab.runs.resources import FULL

T = TypeVar("T")
PATIENCE = 5.0
"""Seconds that a thread is waited for."""


class Failure(NamedTuple):
    """Why a call failed.

    Attributes:
      reason: in one line.
      short: whether the system had not enough: of the disk, the memory, open files.
    """

    reason: str
    short: bool


def attempt(
    call: Callable[[], T], undo: Callable[[], None] = lambda: None
) -> tuple[T | None, Failure | None]:
    """What a call returns, and how it failed if it did; `undo` is called then.

    The error itself is let go: it would keep tasks alive that complain when they are taken away.

    >>> attempt(lambda: 1)
    (1, None)
    >>> attempt(lambda: int("x"))
    (None, Failure(reason="invalid literal for int() with base 10: 'x'", short=False))
    """
    before = set(threading.enumerate())
    with _quiet():
        try:
            return call(), None
        except Exception as error:  # orbax raises many kinds
            failure = _failure(error)
        _leave_late_ones_unheard()
        for thread in set(threading.enumerate()) - before:
            thread.join(PATIENCE)
        gc.collect()
        undo()
    return None, failure


def _leave_late_ones_unheard() -> None:
    """Has nothing said of writes that end when nobody waits for them any more.

    They are not Python's threads, so that they cannot be waited for either.
    """
    logging.getLogger("asyncio").addFilter(_is_no_late_one)  # once: the same is not added again
    hook = sys.excepthook
    if getattr(hook, "late_ones_unheard", False):
        return

    def heard(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        if "Event loop is closed" not in str(error):
            hook(kind, error, trace)

    heard.late_ones_unheard = True
    sys.excepthook = heard


def _is_no_late_one(record: logging.LogRecord) -> bool:
    return "exception was never retrieved" not in record.getMessage()


@contextmanager
def _quiet() -> Iterator[None]:
    hooks = sys.unraisablehook, threading.excepthook
    loggers = [logging.getLogger(name) for name in ("asyncio", "absl")]
    disabled = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    sys.unraisablehook = threading.excepthook = lambda unheard: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # of coroutines that never ran
            yield
    finally:
        for logger, was in zip(loggers, disabled, strict=True):
            logger.disabled = was
        sys.unraisablehook, threading.excepthook = hooks


def _failure(error: BaseException) -> Failure:
    """What began it."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()) or type(error).__name__
    full = FULL.search(text)
    short = full or isinstance(error, OSError | MemoryError) or "os_error_code" in text
    return Failure(full[0] if full else text[:300], bool(short))
