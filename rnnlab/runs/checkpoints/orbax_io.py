"""Call Orbax and suppress what its background threads log after a failure."""

import gc
import logging
import shutil
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, TypeVar

from rnnlab.runs.resources import DISK_FULL_PATTERN

T = TypeVar("T")
JOIN_TIMEOUT_S = 5.0
"""Seconds to wait for each thread that a failed call started."""


class Failure(NamedTuple):
    """Why a call failed.

    Attributes:
      reason: the reason in one line.
      out_of_resources: whether the disk, the memory or the open files were exhausted.
    """

    reason: str
    out_of_resources: bool


def call_quietly(
    call: Callable[[], T], cleanup: Callable[[], None] = lambda: None
) -> tuple[T | None, Failure | None]:
    """Returns the result of a call, or why it failed; `cleanup` is called after a failure.

    The exception is discarded: its traceback would keep asyncio tasks alive, which log errors when
    collected.

    >>> call_quietly(lambda: 1)
    (1, None)
    >>> call_quietly(lambda: int("x"))[1].reason
    "invalid literal for int() with base 10: 'x'"
    """
    threads_before = set(threading.enumerate())
    with _quiet():
        try:
            return call(), None
        except Exception as error:  # orbax raises many kinds
            failure = _failure(error)
        _suppress_late_errors()
        for thread in set(threading.enumerate()) - threads_before:
            thread.join(JOIN_TIMEOUT_S)
        gc.collect()
        cleanup()
    return None, failure


def remove_persistently(directory: Path) -> None:
    """Removes what a failed save left; Orbax's threads may recreate it for a while.

    Returns when it has been gone for 0.3 s, or after 2 s.
    """
    times_gone = 0
    for _ in range(40):
        times_gone = 0 if directory.exists() else times_gone + 1
        if times_gone == 6:
            return
        shutil.rmtree(directory, ignore_errors=True)
        time.sleep(0.05)


def _suppress_late_errors() -> None:
    """Suppresses errors of asynchronous writes that finish after the save was abandoned.

    They run in C++ threads and cannot be joined.
    """
    logging.getLogger("asyncio").addFilter(_not_late_error)  # the logger ignores duplicates
    hook = sys.excepthook
    if getattr(hook, "suppresses_late_errors", False):
        return

    def filtered(kind: type[BaseException], error: BaseException, trace: TracebackType | None):
        if "Event loop is closed" not in str(error):
            hook(kind, error, trace)

    filtered.suppresses_late_errors = True
    sys.excepthook = filtered


def _not_late_error(record: logging.LogRecord) -> bool:
    return "exception was never retrieved" not in record.getMessage()


@contextmanager
def _quiet() -> Iterator[None]:
    hooks = sys.unraisablehook, threading.excepthook
    loggers = [logging.getLogger(name) for name in ("asyncio", "absl")]
    disabled = [logger.disabled for logger in loggers]
    for logger in loggers:
        logger.disabled = True
    sys.unraisablehook = threading.excepthook = lambda arguments: None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # coroutines that were never awaited
            yield
    finally:
        for logger, was_disabled in zip(loggers, disabled, strict=True):
            logger.disabled = was_disabled
        sys.unraisablehook, threading.excepthook = hooks


def _failure(error: BaseException) -> Failure:
    """Returns the failure described by an exception's first cause."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = " ".join(str(error).split()) or type(error).__name__
    disk_full = DISK_FULL_PATTERN.search(text)
    resources = disk_full or isinstance(error, OSError | MemoryError) or "os_error_code" in text
    return Failure(disk_full[0] if disk_full else text[:300], bool(resources))
