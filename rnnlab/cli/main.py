"""The `rnnlab` command: signals, locks and errors, before JAX is imported."""

import errno
import logging
import os
import signal
import sys
import traceback
import warnings
from contextlib import AbstractContextManager, suppress
from pathlib import Path

from rnnlab import errors
from rnnlab.cli.processes import join_processes
from rnnlab.cli.virtual_devices import make_devices
from rnnlab.load_module import user_location
from rnnlab.malloc import keep_memory
from rnnlab.parallel import watch
from rnnlab.parallel.processes import is_first_process, is_loss_of_a_process, process_index
from rnnlab.runs.lock import lock_if_exists, reject_duplicate_command
from rnnlab.runs.signals import StopRequested, StopSignal
from rnnlab.tables import wide_tables

DEBUG, WIDE = "--debug", "--wide"
KEEP, NO_KEEP = "--malloc-keep-memory", "--no-malloc-keep-memory"
GLOBAL_FLAGS = {DEBUG, WIDE, KEEP, NO_KEEP}
"""Flags of every command."""
TRAINING_COMMANDS = (["run"], ["search"], ["resume"], ["bench", "language-model"], ["bench", "lm"])
"""Commands that keep freed memory."""
KEPT = {
    "run": "all saved checkpoints are kept",
    "search": "all saved checkpoints are kept",
    "resume": "all saved checkpoints are kept",
    "launch": "all saved checkpoints are kept",
    "bench": "all written records are kept",
    "speedup": "all written records are kept",
}
"""What a command keeps that a signal stops. The files of all others are complete or not there."""


def main(arguments: list[str] | None = None, *, owns_process: bool = False) -> int:
    """Runs the command line. Returns its exit code: 0, one of `rnnlab.errors`, 130 or 143.

    An error is one line on stderr; with `--debug` also its traceback.

    Args:
      arguments: the words after `rnnlab`; None: those of the process.
      owns_process: whether malloc may be configured, which cannot be undone.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = DEBUG in arguments
    stop_signal = StopSignal(exit_on_second=True)
    try:
        _require_utf8(arguments)
        if owns_process:
            _configure_malloc(arguments)
        with stop_signal:
            code = _execute(arguments, stop_signal)
            # Fail here if the output cannot be written, not when the interpreter shuts down.
            sys.stdout.flush()
            watch.end_together(code)
            return code
    except BaseException as error:
        if stop_signal.number is not None and not isinstance(error, StopRequested):
            # Third-party code may convert the KeyboardInterrupt into another exception.
            error = StopRequested(stop_signal.number)
        # rich exits when its output has no reader.
        cause = error.__context__ if isinstance(error, SystemExit) else error
        _discard_unwritable_output()
        if isinstance(cause, BrokenPipeError):
            return 128 + signal.SIGPIPE
        if isinstance(error, SystemExit):
            raise
        if debug:
            traceback.print_exc()
        code, line = _exit_code_and_message(error, arguments)
        with suppress(OSError):
            _print_line(line)
        _discard_unwritable_output()
        watch.end_together(code, line)
        return code


def entry() -> None:
    """Entry point of the console script: `main`, with the process's streams and warnings set up."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # closed: the next file would get its number
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8"))
    sys.stdout.reconfigure(errors="backslashreplace")
    warnings.showwarning = _print_warning
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    sys.exit(main(owns_process=True))


def _execute(arguments: list[str], stop_signal: StopSignal) -> int:
    """Parses and executes a command, under the lock of the run that it resumes."""
    with stop_signal.deferred():
        from rnnlab.cli import parser
    parsed = parser.parse([word for word in arguments if word not in GLOBAL_FLAGS])
    with stop_signal.deferred():
        make_devices(parsed.command)
        launched = join_processes(parsed.command, arguments)
    if launched is not None:
        return launched
    with _lock(parsed.command, arguments) as held_locks, wide_tables(WIDE in arguments):
        return parser.dispatch(parsed, parser.Session(stop_signal, held_locks))


def _lock(command: object, arguments: list[str]) -> AbstractContextManager[frozenset[Path]]:
    """Locks the run of `resume`. Fails for a `run` that another process executes already."""
    from rnnlab.cli.commands import Resume, Run

    if isinstance(command, Run):
        reject_duplicate_command(command.out, arguments)
    return lock_if_exists(command.folder if isinstance(command, Resume) else None)


def _configure_malloc(arguments: list[str]) -> None:
    """Keeps freed memory if a flag or the command asks for it, before the first array is made."""
    words = [word for word in arguments if word not in GLOBAL_FLAGS]
    trains = any(words[: len(command)] == command for command in TRAINING_COMMANDS)
    if NO_KEEP in arguments or not (trains or KEEP in arguments):
        return
    if not keep_memory() and KEEP in arguments:
        raise ValueError(f"{KEEP} needs glibc, which this system does not use; omit it")


def _require_utf8(arguments: list[str]) -> None:
    for word in arguments:
        if not word.isprintable() and any("\ud800" <= c <= "\udfff" for c in word):
            raise ValueError(f"{word!a} is not UTF-8; give another name")


def _discard_unwritable_output() -> None:
    """Discards output that cannot be written, so that the interpreter does not fail at exit."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _exit_code_and_message(error: BaseException, arguments: list[str]) -> tuple[int, str]:
    """Returns the exit code and the line on stderr for an exception."""
    text = " ".join(str(error).split())
    if isinstance(error, KeyboardInterrupt):
        words = [word for word in arguments if word not in GLOBAL_FLAGS]
        kept = KEPT.get("".join(words[:1]), "written files are complete; repeat the command")
        if isinstance(error, StopRequested):
            return error.exit_code, f"stopped by {text}; {error.kept or kept}"
        return 130, f"interrupted; {kept}"
    if isinstance(error, OSError) and error.filename is None and error.errno == errno.ENOSPC:
        text = f"the output cannot be written: {error.strerror}; free disk space"
        return errors.RESOURCES, f"error: {text}"
    if is_loss_of_a_process(error) and not isinstance(error, errors.PeerLostError):
        what = f"another process has ended: {text[:200]}"
        return errors.PEER_LOST, f"error: {what}; {watch.hint()}"
    if isinstance(error, ValueError | OSError):
        return errors.code(error), f"error: {text}"
    if isinstance(error, OverflowError):
        return errors.USAGE_ERROR, f"error: a number is too large: {text}; use a smaller one"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        return errors.RESOURCES, f"error: out of memory: {text}; use a smaller model or batch"
    if "Unable to initialize backend" in text or "Unknown backend" in text:
        advice = "unset JAX_PLATFORMS or set it to an installed one"
        return errors.USAGE_ERROR, f"error: {text}; {advice}"
    what = f"{type(error).__name__}: {text}"
    if (location := user_location(error)) is not None:
        advice = f"fix the file; {DEBUG} shows the traceback"
        return errors.USAGE_ERROR, f"error: {location}: {what}; {advice}"
    advice = f"this is a bug in rnnlab; {DEBUG} shows the traceback"
    return errors.INTERNAL_ERROR, f"error: {what}; {advice}"


def _print_warning(message, category, filename, lineno, file=None, line=None) -> None:
    _print_line(f"warning: {' '.join(str(message).split())}")


def _print_line(line: str) -> None:
    """Prints a line on stderr, which of several processes with the same line only one does."""
    if watch.is_first_to_say(line):
        process = "" if is_first_process() else f"process {process_index()}: "
        print(f"rnnlab: {process}{line}", file=sys.stderr)


if __name__ == "__main__":
    entry()
