"""Calls of orbax that may fail, without what its threads and tasks then say on their own."""

import gc
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
PATIENCE = 5.0
"""Seconds that a thread is waited for."""


def attempt(call: Callable[[], T]) -> tuple[T | None, str]:
    """What a call returns, and the reason if it failed, in one line.

    The error itself is let go: it would keep tasks alive that complain when they are taken away.

    >>> attempt(lambda: 1)
    (1, '')
    >>> attempt(lambda: int("x"))
    (None, "invalid literal for int() with base 10: 'x'")
    """
    before = set(threading.enumerate())
    with _quiet():
        try:
            return call(), ""
        except Exception as error:  # orbax raises many kinds
            reason = _root(error)
        for thread in set(threading.enumerate()) - before:
            thread.join(PATIENCE)
        gc.collect()
    return None, reason


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


def _root(error: BaseException) -> str:
    """What began it, in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return " ".join(str(error).split()) or type(error).__name__
