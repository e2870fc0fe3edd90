"""The clock: programs are compiled ahead, warmed up, and timed in turns to the end."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

Call = Callable[[], None]
"""Runs a prepared program once and returns when its results exist."""


@dataclass(frozen=True)
class Prepared:
    """A program that is ready to be timed.

    Attributes:
      call: runs it once, to the end.
      compile_seconds: time that tracing and compiling took; None where nothing is compiled ahead.
      temp_bytes: size of XLA's temporary buffers; None where it does not say.
    """

    call: Call
    compile_seconds: float | None = None
    temp_bytes: int | None = None


def prepare(f: Callable[..., Any], *arguments: Any) -> Prepared:
    """Compiles `f` for the arguments, with every result an output so that no work can be left out.

    >>> import jax.numpy as jnp
    >>> ready = prepare(lambda x: x + 1, jnp.ones(3))
    >>> seconds = time_interleaved([ready.call], repeats=2)
    >>> seconds.shape
    (1, 2)
    """
    jax.block_until_ready(arguments)  # what makes them would run beside the compiler
    start = time.perf_counter()
    compiled = jax.jit(f).lower(*arguments).compile()
    compile_seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()

    def call() -> None:
        jax.block_until_ready(compiled(*arguments))

    temp_bytes = None if memory is None else int(memory.temp_size_in_bytes)
    return Prepared(call, compile_seconds, temp_bytes)


def time_interleaved(calls: Sequence[Call], repeats: int) -> np.ndarray:
    """Seconds of each call in each of `repeats` rounds, shape (calls, repeats).

    Every call runs once unmeasured. A round then runs each of them once, so that whatever else the
    machine does falls on all alike.
    """
    for call in calls:
        call()
    seconds = np.empty((len(calls), repeats))
    for k in range(repeats):
        for row, call in zip(seconds, calls, strict=True):
            start = time.perf_counter()
            call()
            row[k] = time.perf_counter() - start
    return seconds


def quartiles(seconds: np.ndarray) -> tuple[float, float, float]:
    """First quartile, median and third quartile."""
    q1, median, q3 = np.percentile(seconds, [25, 50, 75])
    return float(q1), float(median), float(q3)


def compare_to_bound(prepared: Prepared, seconds: np.ndarray, floor: np.ndarray) -> dict[str, Any]:
    """The columns of a row that compares a program with a floor timed in the same rounds.

    `ratio` is the median of the ratios of neighbours: each round's call to that round's floor.
    """
    q1, median, q3 = quartiles(seconds)
    low, middle, high = quartiles(seconds / floor)
    return {
        "compile_seconds": prepared.compile_seconds,
        "temp_bytes": prepared.temp_bytes,
        "seconds": median,
        "seconds_q1": q1,
        "seconds_q3": q3,
        "floor_seconds": quartiles(floor)[1],
        "ratio": middle,
        "ratio_q1": low,
        "ratio_q3": high,
    }
