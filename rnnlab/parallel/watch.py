"""The watch over the processes of a run: one that ends or stalls ends all, with one line each.

Two threads run in each process of several. One reports in the coordination service, every two
seconds, that this process lives. The other reads the report of the next process, so that each is
watched by one, and what any process wrote when it ended; and it counts the seconds since the last
update. Both count their own ticks instead of the clock: a machine that was suspended is not a
failure.
"""

import ctypes
import hashlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import NoReturn

from rnnlab.errors import PEER_LOST, STALLED
from rnnlab.parallel import processes
from rnnlab.parallel.processes import HEARTBEAT_S, PREFIX

TICK_S = 2.0
"""Seconds between two reports, and between two looks at those of others."""

END_S = 5.0
"""Longest wait in seconds until all processes have written how they end."""

SIGNAL_EXITS = {128 + number: number for number in (signal.SIGINT, signal.SIGTERM)}


@dataclass
class _Watch:
    """The values that the threads of this process share.

    Attributes:
      stall_seconds: seconds without progress after which this process ends; None: no limit.
      launcher: the process that started this one.
      hint: how to continue after an end, for the line on stderr.
      is_training: whether progress is expected now.
      idle: seconds since the last progress, as the ticks count them.
      step: the last step that was reported.
      is_ending: whether this process ends already.
    """

    stall_seconds: float | None = None
    launcher: int | None = None
    hint: str = "start the processes again"
    is_training: bool = False
    idle: float = 0.0
    step: int | None = None
    is_ending: threading.Event = field(default_factory=threading.Event)


_watch = _Watch()


def start(stall_seconds: float, launcher: int | None = None) -> None:
    """Starts the threads, once; the processes are connected."""
    _watch.stall_seconds, _watch.launcher = stall_seconds, launcher
    _end_on_abort()
    for target in (_report, _look):
        threading.Thread(target=target, daemon=True, name=f"rnnlab{target.__name__}").start()


def set_hint(hint: str) -> None:
    """Sets how to continue after the end of a process, for the line on stderr."""
    _watch.hint = hint


def hint() -> str:
    """Returns how to continue after the end of a process."""
    return _watch.hint


def expect_progress(is_expected: bool) -> None:
    """Begins or ends the time in which `progress` must be called every `stall_seconds`."""
    _watch.idle, _watch.is_training = 0.0, is_expected


def progress(step: int | None = None) -> None:
    """Reports an update, a batch of an evaluation or a save; any call resets the count."""
    _watch.idle = 0.0
    _watch.step = _watch.step if step is None else step


def end_together(code: int, line: str = "") -> None:
    """Publishes how this process ends, waits a moment for the others, and ends it.

    Nothing is published at success: JAX then waits until all processes have finished. Otherwise
    that wait would last ten minutes, so the process ends without Python's exit handlers. Process 0
    leaves last, since it runs the coordination service.

    Args:
      code: the exit code.
      line: what was written on stderr.
    """
    if processes.process_count() == 1:
        return
    if code == 0:
        import jax

        _watch.is_ending.set()
        jax.distributed.shutdown()
        return
    _watch.is_ending.set()
    _publish(code, line)
    for _ in range(int(END_S / 0.1)):
        if processes.process_index() or len(_ended()) == processes.process_count():
            break
        time.sleep(0.1)
    _exit(code)


def is_first_to_say(line: str) -> bool:
    """Returns whether no other process has written this line; process 0 goes first."""
    if processes.process_count() == 1:
        return True
    if processes.process_index():
        time.sleep(0.5)

    def claim() -> bool:
        key = f"{PREFIX}/said/{hashlib.sha256(line.encode()).hexdigest()}"
        processes.own_place.client.key_value_set(key, str(processes.process_index()))
        return True

    return _bounded(claim, is_failure=lambda error: "ALREADY_EXISTS" not in str(error))


def _report() -> None:
    """Reports that this process lives."""
    count, key = 0, f"{PREFIX}/alive/{processes.process_index()}"
    while not _watch.is_ending.wait(TICK_S):
        count += 1
        with suppress(Exception):  # the other thread finds out why
            processes.own_place.client.key_value_set(key, str(count), allow_overwrite=True)


def _look() -> None:
    """Ends this process if another has ended, does not report, or this one makes no progress."""
    own, count = processes.process_index(), processes.process_count()
    neighbour = (own + 1) % count
    last, silent = "", 0.0
    while not _watch.is_ending.wait(TICK_S):
        if _watch.launcher is not None and os.getppid() != _watch.launcher:
            _watch.launcher = None
            os.kill(os.getpid(), signal.SIGTERM)
        report = _alive(neighbour)
        if report:  # the coordination service answers
            for index, (code, line) in _ended().items():
                if index != own:
                    _follow(index, code, line)
        if report and report != last:
            last, silent = report, 0.0
        else:
            silent += TICK_S if report else 2 * TICK_S  # the look itself took as long
        if silent >= HEARTBEAT_S:
            lost = neighbour if report else 0
            _say_and_exit(
                PEER_LOST,
                f"process {lost} of {count} has not answered for {silent:.0f} s; {_watch.hint}",
            )
        _watch.idle += TICK_S if _watch.is_training else 0.0
        if _watch.stall_seconds is not None and _watch.idle >= _watch.stall_seconds:
            since = "the start" if _watch.step is None else f"step {_watch.step}"
            _say_and_exit(
                STALLED,
                f"process {own} of {count} has made no progress for {_watch.idle:.0f} s, since "
                f"{since}; {_watch.hint}, or raise --stall-seconds",
            )


def _alive(process: int) -> str:
    """Returns the last report of a process; empty without one."""
    with suppress(Exception):
        key = f"{PREFIX}/alive/{process}"
        return processes.own_place.client.blocking_key_value_get(key, int(1000 * TICK_S))
    return ""


def _ended() -> dict[int, tuple[int, str]]:
    """Returns exit code and line of the processes that have ended, by their numbers."""
    with suppress(Exception):
        found = processes.own_place.client.key_value_dir_get(f"{PREFIX}/ended/")
        return {int(key.rpartition("/")[2]): tuple(json.loads(text)) for key, text in found}
    return {}


def _follow(process: int, code: int, line: str) -> None:
    """Ends this process after another one: by the same signal, or with a line."""
    if (number := SIGNAL_EXITS.get(code)) is not None:
        # A run that saves its state ends without help; wait for it.
        if not _watch.is_training:
            os.kill(os.getpid(), number)
        if _watch.is_ending.wait(HEARTBEAT_S):
            return
    what = f"process {process} of {processes.process_count()} has ended with exit code {code}"
    _say_and_exit(PEER_LOST, f"{what}: {line}; {_watch.hint}")


def _end_on_abort() -> None:
    """Ends the process with a line where JAX's runtime would abort it: process 0 has ended.

    The runtime calls abort() in a thread of its own, and no Python callback can be given.
    """

    @ctypes.CFUNCTYPE(None, ctypes.c_int)
    def on_abort(_: int) -> None:
        if _watch.is_ending.is_set():
            time.sleep(END_S)  # the main thread ends the process with its own code
        line = f"the coordinator, process 0, has ended or another process was lost; {_watch.hint}"
        os.write(sys.stderr.fileno(), f"rnnlab: error: {line}\n".encode())
        os._exit(PEER_LOST)

    _end_on_abort.keep = on_abort  # the handler must live as long as the process
    ctypes.CDLL(None).signal(int(signal.SIGABRT), on_abort)


def _say_and_exit(code: int, line: str) -> NoReturn:
    """Writes a line on stderr, publishes the end, and ends the process from any thread."""
    if not _watch.is_ending.is_set():
        _watch.is_ending.set()
        with suppress(OSError):
            print(f"rnnlab: error: {line}", file=sys.stderr, flush=True)
        _publish(code, line)
        _exit(code)
    threading.Event().wait()  # the main thread is ending the process


def _publish(code: int, line: str) -> None:
    key = f"{PREFIX}/ended/{processes.process_index()}"
    _bounded(
        lambda: processes.own_place.client.key_value_set(
            key, json.dumps([code, line.removeprefix("error: ")])
        )
    )


def _bounded(call: Callable[[], object], is_failure=lambda error: True) -> bool:
    """Returns whether a call of the coordination service, which may be gone, is not refused."""
    refused = threading.Event()

    def attempt() -> None:
        try:
            call()
        except Exception as error:
            if not is_failure(error):
                refused.set()

    thread = threading.Thread(target=attempt, daemon=True)
    thread.start()
    thread.join(END_S / 2)
    return not refused.is_set()


def _exit(code: int) -> NoReturn:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
