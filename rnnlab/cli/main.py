"""The `rnnlab` command: signals, the lock and errors. All that takes time to import comes after."""

import errno
import logging
import os
import signal
import sys
import traceback
import warnings
from contextlib import suppress
from pathlib import Path

from rnnlab import errors
from rnnlab.runs.lock import NAME as LOCK
from rnnlab.runs.lock import locked_if_known, refuse_twice
from rnnlab.runs.signals import StopRequested, StopSignal

DEBUG = "--debug"


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line. Returns its exit code: 0, one of `rnnlab.errors`, 130 or 143.

    What goes wrong is one line on stderr. `--debug`, with any command, shows where it did.
    """
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    debug = DEBUG in arguments
    arguments = [word for word in arguments if word != DEBUG]
    interruption = StopSignal(hard=True)
    try:
        _check_words(arguments)
        with interruption, locked_if_known(_run(arguments)) as held:
            refuse_twice(_runs(arguments), arguments)
            with interruption.deferred():  # compiled modules that are interrupted do not recover
                from rnnlab.cli.parser import execute

            code = execute(arguments, interruption, held)
            # What cannot be written out is an error of the command's, not of the interpreter's end.
            sys.stdout.flush()
            return code
    except BaseException as error:
        if interruption.number is not None and not isinstance(error, StopRequested):
            error = StopRequested(interruption.number)  # others' code turns it into what they like
        # rich exits where nobody reads its output.
        cause = error.__context__ if isinstance(error, SystemExit) else error
        _drop_what_cannot_be_written()
        if isinstance(cause, BrokenPipeError):
            return 128 + signal.SIGPIPE
        if isinstance(error, SystemExit):
            raise
        if debug:
            traceback.print_exc()
        code, line = _told(error)
        with suppress(OSError):
            print(f"rnnlab: {line}", file=sys.stderr)
        _drop_what_cannot_be_written()
        return code


def entry() -> None:
    """What the console script calls: `main`, with streams and warnings as a command's."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:  # closed: else a run's file would take its number
            os.dup2(os.open(os.devnull, os.O_RDWR), number)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8"))
    sys.stdout.reconfigure(errors="backslashreplace")
    warnings.showwarning = _show
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    sys.exit(main())


def _check_words(arguments: list[str]) -> None:
    for word in arguments:
        if not word.isprintable() and any("\ud800" <= c <= "\udfff" for c in word):
            raise ValueError(f"{word!a} is not UTF-8; give another name")


def _run(arguments: list[str]) -> Path | None:
    """The run's folder that `resume` names, before the arguments are read properly."""
    words = arguments[1:] if arguments[:1] == ["resume"] else []
    return next((Path(word) for word in words if os.path.isfile(f"{word}/{LOCK}")), None)


def _runs(arguments: list[str]) -> Path | None:
    """The folder of runs that `run` names, likewise."""
    words = [part for word in arguments for part in word.split("=", 1)]
    if arguments[:1] != ["run"] or "--out" not in words[:-1]:
        return None
    return Path(words[words.index("--out") + 1])


def _drop_what_cannot_be_written() -> None:
    """Sends what is left of the output nowhere, or the interpreter would fail at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _told(error: BaseException) -> tuple[int, str]:
    """An exit code and a line for whatever was raised."""
    text = " ".join(str(error).split())
    if isinstance(error, StopRequested):
        return error.exit_code, f"stopped by {text}; nothing that was committed is lost"
    if isinstance(error, KeyboardInterrupt):
        return 130, "interrupted; nothing that was committed is lost"
    if isinstance(error, OSError) and error.filename is None and error.errno == errno.ENOSPC:
        return errors.RESOURCES, f"error: the output cannot be written: {error.strerror}; make room"
    if isinstance(error, ValueError | OSError):
        return errors.code(error), f"error: {text}"
    if isinstance(error, OverflowError):
        return errors.USAGE, f"error: a number is too large: {text}; give a smaller one"
    if isinstance(error, MemoryError) or "RESOURCE_EXHAUSTED" in text:
        return errors.RESOURCES, f"error: out of memory: {text}; ask for less"
    if "Unable to initialize backend" in text or "Unknown backend" in text:
        return errors.USAGE, f"error: {text}; unset JAX_PLATFORMS, or name one that is there"
    what = f"{type(error).__name__}: {text}"
    return errors.DEFECT, f"error: {what}; this is a defect of rnnlab: {DEBUG} shows where"


def _show(message, category, filename, lineno, file=None, line=None) -> None:
    print(f"rnnlab: warning: {' '.join(str(message).split())}", file=sys.stderr)


if __name__ == "__main__":
    entry()
