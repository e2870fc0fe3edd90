"""The clock: it waits for results, no work is optimized away, and rounds are interleaved."""

import time
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from rnnlab.bench.timing import (
    TimedProgram,
    compare_to_reference,
    compile_program,
    quartiles,
    time_interleaved,
)


def test_time_interleaved_slow_function_takes_longer():
    programs = [TimedProgram(partial(time.sleep, t)) for t in (0.002, 0.02)]
    fast, slow = time_interleaved(programs, 3)
    assert (fast >= 0.002).all()
    assert (slow >= 0.02).all()
    assert quartiles(slow)[1] > 3 * quartiles(fast)[1]


def test_compile_program_call_waits_for_the_result():
    """JAX returns before its work is done; a clock that does not wait would measure nothing."""

    def slow(x):
        def wait(x):
            time.sleep(0.05)
            return x

        return jax.pure_callback(wait, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    seconds = time_interleaved([compile_program(slow, jnp.ones(3))], 2)
    assert (seconds >= 0.05).all()


def test_compile_program_more_work_takes_longer():
    """Forty times the work takes far longer: nothing of it is folded, dropped or cached."""

    def work(count):
        def run(x):
            return jax.lax.fori_loop(0, count, lambda _, x: x @ x / 200, x)

        return compile_program(run, jnp.full((200, 200), 1.0))

    # The fastest of each, which other programs on the machine disturb least.
    little, much = time_interleaved([work(1), work(40)], 10)
    assert much.min() > 5 * little.min()


def test_compile_program_reports_compile_time_and_memory():
    program = compile_program(lambda x: jax.value_and_grad(lambda x: jnp.sum(x**2))(x), jnp.ones(9))
    program.run()
    assert program.compile_seconds > 0
    assert program.temp_bytes is not None


def test_time_interleaved_programs_alternate_after_one_unmeasured_round():
    order = []
    time_interleaved([TimedProgram(partial(order.append, name)) for name in "ab"], 2)
    assert order == ["a", "b", "a", "b", "a", "b"]


def test_time_interleaved_several_launches_wait_once_and_divide_the_time(monkeypatch):
    now, order = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def program(seconds):
        def launch():
            order.append("launch")
            now[0] += seconds

        return TimedProgram(launch, wait=lambda results: order.append("wait"), launches=3)

    (seconds,) = time_interleaved([program(0.0078125)], 1)  # a power of two, so sums are exact
    assert order == ["launch", "wait", *["launch"] * 3, "wait"]
    assert seconds[0] == 0.0078125
    order.clear()
    time_interleaved([program(0.0625)], 1)  # longer than a measurement takes
    assert order == ["launch", "wait"] * 2


def test_compare_to_reference_uses_the_ratio_within_each_round():
    # Both double halfway; the ratio within each round stays 2.
    seconds, reference = np.array([2.0, 2.0, 4.0, 4.0]), np.array([1.0, 1.0, 2.0, 2.0])
    keys = compare_to_reference(TimedProgram(lambda: None), seconds, reference)
    assert [keys[k] for k in ("ratio_q1", "ratio", "ratio_q3")] == [2.0, 2.0, 2.0]
    assert keys["seconds"] == 3.0
    assert keys["reference_seconds"] == 1.5
