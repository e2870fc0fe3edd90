"""Flags of a run of several processes: start them on this machine, or join them."""

import sys
from collections.abc import Sequence

from rnnlab.cli.commands import Resume, Run
from rnnlab.parallel.cluster import find_cluster
from rnnlab.parallel.launch import launch_processes, launcher_id
from rnnlab.parallel.processes import is_first_process, start_processes


def join_processes(command: object, arguments: Sequence[str]) -> int | None:
    """Joins the processes of `run` or `resume`; returns None, or the exit code of those started.

    With `--processes N` and neither a place for this process nor a cluster that has one, N
    processes are started on this machine with the same arguments.

    Args:
      command: the parsed command; any other is not changed.
      arguments: the words after `rnnlab`.

    Raises:
      ValueError: a flag is missing or out of range.
      PeerLostError: not all processes came.
    """
    if not isinstance(command, Run | Resume):
        return None
    if not command.stall_seconds > 0:
        raise ValueError(
            f"--stall-seconds must be > 0, got {command.stall_seconds:g}; change --stall-seconds"
        )
    place = command.coordinator, command.processes, command.process
    has_place = command.coordinator is not None or command.process is not None
    if (command.processes or 1) > 1 and not has_place and find_cluster() is None:
        return launch_processes(arguments, command.processes)
    cluster = start_processes(*place, stall_seconds=command.stall_seconds, launcher=launcher_id())
    if cluster is not None and is_first_process():
        print(f"rnnlab: {cluster.description}", file=sys.stderr)
    return None
