"""Start the processes of a run on this machine, and end as they end. JAX is not imported."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence

from rnnlab.errors import PEER_LOST

LAUNCHER = "RNNLAB_LAUNCHER"
"""Environment variable with the id of the process that started this one."""

POLL_S, GRACE_S = 0.1, 60.0
"""Seconds between two looks at the processes; seconds until those that remain are killed."""

MAIN = "import sys; from rnnlab.cli.main import entry; sys.argv[0] = 'rnnlab'; entry()"


def launch_processes(arguments: Sequence[str], count: int) -> int:
    """Runs `rnnlab` in several processes of this machine. Returns the exit code of the run.

    The first SIGINT or SIGTERM is passed to all processes, which stop at the same step; so is a
    second one, which ends them immediately.

    Args:
      arguments: the words after `rnnlab`, without the place of a process.
      count: number of processes.
    """
    place = ["--coordinator", f"127.0.0.1:{free_port()}"]
    command = [sys.executable, "-c", MAIN, *arguments, *place]
    variables = os.environ | {LAUNCHER: str(os.getpid())}
    previous: dict[int, object] = {}
    children: list[subprocess.Popen] = []

    def forward(number: int, _: object) -> None:
        for child in children:
            if child.poll() is None:
                child.send_signal(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        previous[number] = signal.signal(number, forward)
    try:
        # In sessions of their own, since a terminal sends Ctrl-C to all processes of its session.
        children += [
            subprocess.Popen(
                [*command, "--process", str(index)],
                env=variables,
                start_new_session=True,
                stdout=None if index == 0 else subprocess.DEVNULL,
            )
            for index in range(count)
        ]
        return _wait(children)
    finally:
        for child in children:
            if child.poll() is None:
                child.kill()
        for number, handler in previous.items():
            signal.signal(number, handler)


def free_port() -> int:
    """Returns a port of this machine on which nothing listens.

    >>> 0 < free_port() < 65536
    True
    """
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def launcher_id() -> int | None:
    """Returns the id of the process of `launch_processes` that started this one, or None."""
    text = os.environ.get(LAUNCHER, "")
    return int(text) if text.isdecimal() and int(text) == os.getppid() else None


def _wait(children: Sequence[subprocess.Popen]) -> int:
    """Returns the exit code of the run when all processes have ended."""
    failed_at = None
    while any(child.poll() is None for child in children):
        if failed_at is None and any(child.returncode for child in children):
            failed_at = time.monotonic()
        if failed_at is not None and time.monotonic() - failed_at > GRACE_S:
            for child in children:
                if child.poll() is None:
                    child.kill()
        time.sleep(POLL_S)
    codes = [child.returncode for child in children]
    for index, code in enumerate(codes):
        if code < 0:
            name = signal.Signals(-code).name
            print(f"rnnlab: process {index} was ended by {name}", file=sys.stderr)
    # What one process reports as lost has ended in another for a reason of its own.
    reasons = [code for code in codes if code > 0 and code != PEER_LOST]
    return next(iter(reasons), 0 if not any(codes) else PEER_LOST)
