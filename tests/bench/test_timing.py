"""The clock sees what there is to see: slowness, all of the work, and the end of it."""

import time

import jax
import jax.numpy as jnp
import numpy as np

from rnnlab.bench.timing import Prepared, compare_to_bound, prepare, quartiles, time_interleaved


def test_a_planted_slow_function_is_seen_as_slow():
    fast, slow = time_interleaved([lambda: time.sleep(0.002), lambda: time.sleep(0.02)], 3)
    assert (fast >= 0.002).all()
    assert (slow >= 0.02).all()
    assert quartiles(slow)[1] > 3 * quartiles(fast)[1]


def test_slowness_inside_a_program_is_waited_for():
    """JAX returns before its work is done; a clock that does not wait would see nothing of it."""

    def slow(x):
        def wait(x):
            time.sleep(0.05)
            return x

        return jax.pure_callback(wait, jax.ShapeDtypeStruct(x.shape, x.dtype), x)

    seconds = time_interleaved([prepare(slow, jnp.ones(3)).call], 2)
    assert (seconds >= 0.05).all()


def test_work_is_not_optimised_away():
    """Forty times the work takes far longer: nothing of it is folded, left out or cached."""

    def work(count):
        def run(x):
            return jax.lax.fori_loop(0, count, lambda _, x: x @ x / 200, x)

        return prepare(run, jnp.full((200, 200), 1.0)).call

    # The quickest of each, which other programs on the machine disturb least.
    little, much = time_interleaved([work(1), work(40)], 10)
    assert much.min() > 5 * little.min()


def test_every_result_is_an_output():
    """A gradient that were not asked for could be dropped by the compiler: here each one is."""
    ready = prepare(lambda x: jax.value_and_grad(lambda x: jnp.sum(x**2))(x), jnp.ones(1000))
    small = prepare(lambda x: jnp.sum(x**2), jnp.ones(1000))
    ready.call()
    assert ready.compile_seconds > 0
    assert small.temp_bytes is not None


def test_rounds_alternate():
    order = []
    time_interleaved([lambda: order.append("a"), lambda: order.append("b")], 2)
    assert order == ["a", "b", "a", "b", "a", "b"]  # one unmeasured round, then two


def test_ratios_are_those_of_neighbours():
    # Both double halfway; the ratio within each round stays 2.
    seconds, floor = np.array([2.0, 2.0, 4.0, 4.0]), np.array([1.0, 1.0, 2.0, 2.0])
    columns = compare_to_bound(Prepared(lambda: None), seconds, floor)
    assert [columns[k] for k in ("ratio_q1", "ratio", "ratio_q3")] == [2.0, 2.0, 2.0]
    assert columns["seconds"] == 3.0
