"""The clock: programs are compiled ahead of time, warmed up, and timed in interleaved rounds.

On an accelerator a program is launched several times per measurement and waited for once. The
host's part of a launch then overlaps with the device's work, as it does in a training loop.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import numpy as np

LAUNCHES, MEASUREMENT_SECONDS = 20, 0.05
"""An accelerator's launches per measurement: this number, or as many as fit in this time."""
PAUSE_SECONDS = 0.02
"""Pause before a measurement."""


@dataclass(frozen=True)
class TimedProgram:
    """A program that is ready to be timed.

    Attributes:
      launch: starts it once and returns its results, which may not exist yet.
      wait: returns when these results, and those of earlier launches, exist.
      launches: number of launches per measurement, if they fit in `MEASUREMENT_SECONDS`.
      compile_seconds: time of tracing and compiling; None if nothing is compiled ahead of time.
      temp_bytes: size of XLA's temporary buffers; None if XLA does not report it.
    """

    launch: Callable[[], Any]
    wait: Callable[[Any], Any] = jax.block_until_ready
    launches: int = 1
    compile_seconds: float | None = None
    temp_bytes: int | None = None

    def run(self, launches: int = 1) -> float:
        """Launches it, waits for the results, and returns the seconds per launch."""
        start = time.perf_counter()
        for _ in range(launches):
            results = self.launch()
        self.wait(results)
        return (time.perf_counter() - start) / launches


def compile_program(f: Callable[..., Any], *arguments: Any) -> TimedProgram:
    """Compiles `f` for the arguments. Every result is an output, so XLA cannot drop any work.

    >>> import jax.numpy as jnp
    >>> program = compile_program(lambda x: x + 1, jnp.ones(3))
    >>> seconds = time_interleaved([program], repeats=2)
    >>> seconds.shape
    (1, 2)
    """
    # Otherwise the arguments would still be computed while the compiler runs.
    jax.block_until_ready(arguments)
    start = time.perf_counter()
    compiled = jax.jit(f).lower(*arguments).compile()
    compile_seconds = time.perf_counter() - start
    memory = compiled.memory_analysis()
    (device, *_) = jax.tree.leaves(arguments)[0].devices()
    return TimedProgram(
        launch=partial(compiled, *arguments),
        launches=1 if device.platform == "cpu" else LAUNCHES,
        compile_seconds=compile_seconds,
        temp_bytes=None if memory is None else int(memory.temp_size_in_bytes),
    )


def time_interleaved(programs: Sequence[TimedProgram], repeats: int) -> np.ndarray:
    """Seconds per launch of each program in each of `repeats` rounds, shape (programs, repeats).

    Every program runs once before. A round then measures each of them once, so that other load on
    the machine affects all of them alike. Before each measurement the worker threads of the last
    program, which may be another library's, get `PAUSE_SECONDS` to stop waiting actively for work.
    """
    launches = []
    for program in programs:
        most = int(MEASUREMENT_SECONDS / max(program.run(), 1e-9))
        launches.append(max(1, min(program.launches, most)))
    seconds = np.empty((len(programs), repeats))
    for k in range(repeats):
        for times, program, count in zip(seconds, programs, launches, strict=True):
            time.sleep(PAUSE_SECONDS)
            times[k] = program.run(count)
    return seconds


def quartiles(values: np.ndarray) -> tuple[float, float, float]:
    """First quartile, median and third quartile."""
    q1, median, q3 = np.percentile(values, [25, 50, 75])
    return float(q1), float(median), float(q3)


def time_keys(seconds: np.ndarray | None, key: str = "seconds") -> dict[str, float | None]:
    """The keys of a record for a time: its median and quartiles, or None if it was not timed."""
    q1, median, q3 = (None, None, None) if seconds is None else quartiles(seconds)
    return {key: median, f"{key}_q1": q1, f"{key}_q3": q3}


def compile_keys(program: TimedProgram | None) -> dict[str, Any]:
    """The keys of a record for a program's compilation, or None if it was not compiled."""
    return {
        "compile_seconds": None if program is None else program.compile_seconds,
        "temp_bytes": None if program is None else program.temp_bytes,
    }


def compare_to_reference(
    program: TimedProgram, seconds: np.ndarray, reference: np.ndarray
) -> dict[str, Any]:
    """The keys of a record that compares a program with a reference timed in the same rounds.

    `ratio` is the median over rounds of the program's time over the reference's in that round.
    """
    return {
        **compile_keys(program),
        **time_keys(seconds),
        "reference_seconds": quartiles(reference)[1],
        **time_keys(seconds / reference, "ratio"),
    }
