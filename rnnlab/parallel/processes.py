"""The processes of a run: how they start, meet and agree.

JAX's multi-controller runtime is the engine: every process executes the same program, and the
coordination service of process 0 holds small values for all. In a run of one process each function
here returns immediately. This module imports JAX only when processes start.
"""

import builtins
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any, TypeVar

from rnnlab import errors
from rnnlab.errors import PeerLostError
from rnnlab.parallel.cluster import Cluster, find_cluster

T = TypeVar("T")
START_S, SHUTDOWN_S, MEETING_S = 300, 600, 600.0
"""Seconds to wait for all processes at the start, at the end, and at a meeting in between."""

HEARTBEAT_S, RUNTIME_HEARTBEAT_S = 20, 60
"""Seconds after which a process that does not answer is lost: to the watch, which ends the others
with a line, and to JAX's runtime, which aborts them."""

POLL_S = 1.0
"""Longest time in seconds that a wait delays the handler of a signal."""

PREFIX = "rnnlab"
"""Prefix of all keys in the coordination service."""

LOST_PATTERNS = (
    "Connection reset by peer",
    "Connection closed by peer",
    "Broken pipe",
    "Connection refused",
    "coordination service",
    "CoordinationService",
    "tasks have crashed",
)
"""Parts of the errors of collectives and of the coordination service after a process has ended."""


@dataclass
class _Processes:
    """This process's place among those of the run.

    Attributes:
      index, count: its number, and how many there are.
      client: JAX's client of the coordination service; None in a run of one process.
      meetings: number of meetings so far, which all processes count alike.
      is_alone: whether this process executes what the others do not, and must not meet them.
    """

    index: int = 0
    count: int = 1
    client: Any = None
    meetings: int = 0
    is_alone: bool = False


_own = _Processes()


def start_processes(
    coordinator: str | None = None,
    processes: int | None = None,
    process: int | None = None,
    *,
    stall_seconds: float = 600.0,
    launcher: int | None = None,
) -> Cluster | None:
    """Joins the processes of a run; call it before the first use of a device.

    The place of this process comes from the arguments, from the variables JAX_COORDINATOR_ADDRESS,
    JAX_NUM_PROCESSES and JAX_PROCESS_ID, from SLURM, from Open MPI, or from a TPU pod. JAX's own
    handler of SIGTERM is turned off, since it would replace rnnlab's. A thread then watches the
    other processes: `rnnlab.parallel.watch`.

    Args:
      coordinator: `HOST:PORT`, at which process 0 listens.
      processes: number of processes.
      process: number of this process, from 0.
      stall_seconds: seconds without an update after which a process ends.
      launcher: the process that started this one, with which it ends.

    Returns:
      Where the place was found; None in a run of one process.

    Raises:
      ValueError: a part of the place is missing or out of range.
      PeerLostError: not all processes came within 300 s.
    """
    cluster = find_cluster(coordinator, processes, process)
    if cluster is None or cluster.processes == 1:
        return None
    import jax

    from rnnlab.parallel import watch

    jax.config.update("jax_enable_preemption_service", False)
    jax.config.update("jax_cpu_collectives_implementation", "gloo")
    options = {
        "initialization_timeout": START_S,
        "heartbeat_timeout_seconds": RUNTIME_HEARTBEAT_S,
        "shutdown_timeout_seconds": SHUTDOWN_S,
    }
    try:
        place = cluster.coordinator, cluster.processes, cluster.process
        jax.distributed.initialize(*place, **options)
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise PeerLostError(
            f"all {cluster.num_processes} processes must reach the coordinator within {START_S} s: "
            f"{reason[:200]}; start all of them, or give a --coordinator that they can reach"
        ) from None
    from jax._src.distributed import global_state  # the client has no public name

    # Not jax.process_index(), which starts the devices before they are configured.
    _own.index, _own.count = global_state.process_id, global_state.num_processes
    _own.client = global_state.client
    watch.start(stall_seconds, launcher)
    return cluster


def process_index() -> int:
    """Returns the number of this process, 0 in a run of one process.

    >>> process_index()
    0
    """
    return _own.index


def process_count() -> int:
    """Returns the number of processes of the run.

    >>> process_count()
    1
    """
    return _own.count


def is_first_process() -> bool:
    """Returns whether this process logs, prints and writes results.

    >>> is_first_process()
    True
    """
    return _own.index == 0


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
    return number if _own.count == 1 else _maximum()(number)


@cache
def _maximum() -> Callable[[int], int]:
    """Returns the compiled maximum over one number per process."""
    import jax
    import numpy as np
    from jax.sharding import Mesh, NamedSharding, PartitionSpec

    first = {d.process_index: d for d in sorted(jax.devices(), key=lambda d: -d.id)}
    mesh = Mesh(np.array([first[k] for k in range(_own.count)]), ("process",))
    cut, whole = (NamedSharding(mesh, PartitionSpec(*axes)) for axes in (["process"], []))
    maximum = jax.jit(lambda x: x.max(), out_shardings=whole)

    def over_processes(number: int) -> int:
        own = np.full(1, number, np.int32)
        return maximum(jax.make_array_from_callback((_own.count,), cut, lambda _: own)).item()

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
    if _own.count > 1:
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
    if _own.count == 1 or _own.is_alone:
        return call()
    key = f"{PREFIX}/first/{_next_meeting()}"
    if _own.index:
        return _result(_wait_for(key, 0, name, time.monotonic() + seconds))
    try:
        with _alone():
            result = call()
    except Exception as error:
        _own.client.key_value_set(key, _failure(error))
        raise
    _own.client.key_value_set(key, json.dumps({"result": result}))
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
    if _own.count == 1 or _own.is_alone:
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
    if _own.count == 1:
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


def is_loss_of_a_process(error: BaseException) -> bool:
    """Returns whether an error of a collective means that another process has ended.

    >>> is_loss_of_a_process(ValueError("Gloo all-reduce failed: Connection reset by peer"))
    False
    """
    return _own.count > 1 and any(pattern in str(error) for pattern in LOST_PATTERNS)


@contextmanager
def _alone() -> Iterator[None]:
    """A context in which this process does not meet the others."""
    _own.is_alone = True
    try:
        yield
    finally:
        _own.is_alone = False


def _next_meeting() -> int:
    """Returns the number of a meeting, which all processes count alike."""
    _own.meetings += 1
    return _own.meetings


def _exchange(text: str, name: str, seconds: float) -> list[str]:
    """Returns one text per process."""
    folder = f"{PREFIX}/meeting/{_next_meeting()}"
    _own.client.key_value_set(f"{folder}/{_own.index}", text)
    until = time.monotonic() + seconds
    return [_wait_for(f"{folder}/{k}", k, name, until) for k in range(_own.count)]


def _wait_for(key: str, process: int, name: str, until: float) -> str:
    """Returns the value of a key that a process sets; signals are handled while it waits."""
    import jax

    while True:
        try:
            return _own.client.blocking_key_value_get(key, int(1000 * POLL_S))
        except jax.errors.JaxRuntimeError as error:
            if "DEADLINE_EXCEEDED" not in str(error):
                raise PeerLostError(
                    f"process {process} must answer for {name}, got "
                    f"{' '.join(str(error).split())[:200]}; start the processes again"
                ) from None
        if time.monotonic() > until:
            raise PeerLostError(
                f"process {process} of {_own.count} must come to {name} in time, and did not; "
                "look for its last line, then start the processes again"
            )


def _failure(error: Exception) -> str:
    """Returns an error as JSON, from which `_result` raises one of the same kind."""
    return json.dumps({"kind": type(error).__name__, "error": str(error), "process": _own.index})


def _result(text: str) -> Any:
    """Returns the result of another process, or raises its error."""
    record = json.loads(text)
    if "error" not in record:
        return record.get("result")
    kind = getattr(errors, record["kind"], getattr(builtins, record["kind"], RuntimeError))
    raise kind(record["error"])
