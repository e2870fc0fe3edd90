"""Meetings of the processes of a run, in which they agree on values, wait, and fail together.

All processes must make the same calls in the same order. Values go through JAX's coordination
service, except those of `largest`, which is a collective of the devices. In a run of one process
each function returns immediately, and JAX is not imported.
"""

import builtins
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any, TypeVar

from rnnlab import errors
from rnnlab.errors import PeerLostError
from rnnlab.parallel.processes import PREFIX, own_place

T = TypeVar("T")
MEETING_S = 600.0
"""Longest wait in seconds for all processes at a meeting."""

POLL_S = 1.0
"""Longest time in seconds that a wait delays the handler of a signal."""


def agreed(flag: bool) -> bool:
    """Returns whether the flag is set in any process; all processes must call it alike.

    It is one all-reduce of one integer over the processes' first devices.

    >>> agreed(True), agreed(False)
    (True, False)
    """
    return bool(largest(int(flag)))


def largest(number: int) -> int:
    """Returns the largest int32 of all processes, by one all-reduce; all must call it alike.

    >>> largest(15)
    15
    """
    return number if own_place.count == 1 else _maximum()(number)


@cache
def _maximum() -> Callable[[int], int]:
    """Returns the compiled maximum over one number per process."""
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    first = {d.process_index: d for d in sorted(jax.devices(), key=lambda d: -d.id)}
    mesh = Mesh(np.array([first[k] for k in range(own_place.count)]), ("process",))
    cut, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (["process"], []))
    numbers = jax.ShapeDtypeStruct((own_place.count,), np.int32, sharding=cut)
    maximum = jax.jit(lambda x: x.max(), out_shardings=whole).lower(numbers).compile()
    # Gloo connects the processes in their first collective, and waits only 30 s for the others.
    barrier("the first all-reduce")

    def over_processes(number: int) -> int:
        own = np.full(1, number, np.int32)
        return maximum(jax.make_array_from_callback((own_place.count,), cut, lambda _: own)).item()

    return over_processes


def barrier(name: str, seconds: float = MEETING_S) -> None:
    """Waits until all processes have called it.

    Args:
      name: what they meet for, for the message.
      seconds: the longest wait.

    Raises:
      PeerLostError: a process did not come in time; names the meeting and, where it is known, the
        processes that are missing.
    """
    if own_place.count > 1:
        _exchange("{}", name, seconds)


def from_first_process(
    call: Callable[[], T], name: str = "a result of process 0", seconds: float = MEETING_S
) -> T:
    """Returns what process 0 gets from `call`, in all processes; or raises its error in all.

    Args:
      call: returns a JSON value. Only process 0 calls it; what it calls meets no other process.
      name: what the others wait for, for the message.
      seconds: the longest wait for process 0.

    Raises:
      PeerLostError: process 0 did not answer in time.

    >>> from_first_process(lambda: [1, 2])
    [1, 2]
    """
    if own_place.count == 1 or own_place.is_alone:
        return call()
    key = f"{PREFIX}/first/{_next_meeting()}"
    if own_place.index:
        return _result(_wait_for(key, 0, name, time.monotonic() + seconds))
    try:
        with _alone():
            result = call()
    except Exception as error:
        own_place.client.key_value_set(key, _failure(error))
        raise
    own_place.client.key_value_set(key, json.dumps({"result": result}))
    return result


def succeed_together(
    call: Callable[[], T], name: str = "a step of the run", seconds: float = MEETING_S
) -> T:
    """Returns what `call` returns in this process; raises in all processes if it fails in any.

    Args:
      call: returns anything; what it returns stays in its process. What it calls meets no other
        process, except in the collectives of compiled programs.
      name: what the processes wait for, for the message.
      seconds: the longest wait.

    Raises:
      PeerLostError: a process did not answer in time.

    >>> succeed_together(lambda: 3)
    3
    """
    if own_place.count == 1 or own_place.is_alone:
        return call()
    try:
        with _alone():
            result = call()
    except Exception as error:
        _exchange(_failure(error), name, seconds)
        raise
    for text in _exchange("{}", name, seconds):
        _result(text)
    return result


def gather(value: Any, name: str = "a value", seconds: float = MEETING_S) -> list[Any]:
    """Returns one JSON value per process, in the order of their numbers, in all processes.

    Raises:
      PeerLostError: a process did not answer in time.

    >>> gather(1)
    [1]
    """
    if own_place.count == 1:
        return [value]
    texts = _exchange(json.dumps({"result": value}), name, seconds)
    return [_result(text) for text in texts]


def require_same(name: str, value: Any) -> None:
    """Checks that all processes have the same JSON value, such as settings or versions.

    Raises:
      ValueError: a process has another one; names it.
    """
    values = gather(value, name)
    for index, other in enumerate(values):
        if other != values[0]:
            raise ValueError(
                f"{name} must be the same in all processes, got {str(values[0])[:100]!r} in "
                f"process 0 and {str(other)[:100]!r} in process {index}; start all processes alike"
            )


@contextmanager
def _alone() -> Iterator[None]:
    """A context in which this process does not meet the others."""
    own_place.is_alone = True
    try:
        yield
    finally:
        own_place.is_alone = False


def _next_meeting() -> int:
    """Returns the number of a meeting, which all processes count alike."""
    own_place.meetings += 1
    return own_place.meetings


def _exchange(text: str, name: str, seconds: float) -> list[str]:
    """Returns one text per process."""
    folder = f"{PREFIX}/meeting/{_next_meeting()}"
    own_place.client.key_value_set(f"{folder}/{own_place.index}", text)
    until = time.monotonic() + seconds
    return [_wait_for(f"{folder}/{k}", k, name, until) for k in range(own_place.count)]


def _wait_for(key: str, process: int, name: str, until: float) -> str:
    """Returns the value of a key that a process sets; signals are handled while it waits."""
    import jax

    while True:
        try:
            return own_place.client.blocking_key_value_get(key, int(1000 * POLL_S))
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise PeerLostError(
                    f"process {process} must answer for {name}, got "
                    f"{' '.join(str(error).split())[:200]}; start the processes again"
                ) from None
        if time.monotonic() > until:
            raise PeerLostError(
                f"process {process} of {own_place.count} must come to {name} in time, and did not; "
                "look for its last line, then start the processes again"
            )


def _failure(error: Exception) -> str:
    """Returns an error as JSON, from which `_result` raises one of the same kind."""
    return json.dumps(
        {"kind": type(error).__name__, "error": str(error), "process": own_place.index}
    )


def _result(text: str) -> Any:
    """Returns the result of another process, or raises its error."""
    record = json.loads(text)
    if "error" not in record:
        return record.get("result")
    kind = getattr(errors, record["kind"], getattr(builtins, record["kind"], RuntimeError))
    raise kind(record["error"])
