"""The processes of a run: how they start, and the place of this one among them.

JAX's multi-controller runtime is the engine: every process executes the same program, and the
coordination service of process 0 holds small values for all. This module imports JAX only when
processes start. `rnnlab.parallel.agreement` is how they meet.
"""

from dataclasses import dataclass
from typing import Any

from rnnlab.errors import PeerLostError
from rnnlab.parallel.cluster import Cluster, find_cluster

START_S, SHUTDOWN_S = 300, 600
"""Seconds to wait for all processes at the start and at the end."""

HEARTBEAT_S, RUNTIME_HEARTBEAT_S = 20, 60
"""Seconds after which a process that does not answer is lost: to the watch, which ends the others
with a line, and to JAX's runtime, which aborts them."""

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
class Place:
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


own_place = Place()
"""The place of this process, which `start_processes` sets once."""


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
    own_place.index, own_place.count = global_state.process_id, global_state.num_processes
    own_place.client = global_state.client
    watch.start(stall_seconds, launcher)
    return cluster


def process_index() -> int:
    """Returns the number of this process, 0 in a run of one process.

    >>> process_index()
    0
    """
    return own_place.index


def process_count() -> int:
    """Returns the number of processes of the run.

    >>> process_count()
    1
    """
    return own_place.count


def is_first_process() -> bool:
    """Returns whether this process logs, prints and writes results.

    >>> is_first_process()
    True
    """
    return own_place.index == 0


def is_loss_of_a_process(error: BaseException) -> bool:
    """Returns whether an error of a collective means that another process has ended.

    >>> is_loss_of_a_process(ValueError("Gloo all-reduce failed: Connection reset by peer"))
    False
    """
    return own_place.count > 1 and any(pattern in str(error) for pattern in LOST_PATTERNS)
