"""The entry point before JAX is imported: signals, locks, errors in one line, imports on use."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import nullcontext
from importlib import import_module
from pathlib import Path

import pytest

from rnnlab import errors
from rnnlab.atomic_io import write_json
from rnnlab.cli import main, parser
from rnnlab.errors import (
    CheckpointError,
    DataError,
    InsufficientResourcesError,
    RunLockedError,
    TrainingDivergedError,
)
from rnnlab.runs.lock import lock_run, reject_duplicate_command
from rnnlab.runs.signals import StopRequested, StopSignal


def raising(error):
    def dispatch(*arguments):
        raise error

    return dispatch


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("a\n  b"), 2, "error: a b"),
        (DataError("x"), 3, "error: x"),
        (CheckpointError("x"), 4, "error: x"),
        (InsufficientResourcesError("x"), 5, "error: x"),
        (OSError(28, "No space left on device"), 5, "No space left on device"),
        (MemoryError("12 bytes"), 5, "error: out of memory: 12 bytes"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"), 5, "9 bytes"),
        (TrainingDivergedError("x"), 6, "error: x"),
        (RunLockedError("x"), 7, "error: x"),
        (RuntimeError("Unable to initialize backend 'cuda': x"), 2, "unset JAX_PLATFORMS"),
        (
            KeyError("x"),
            1,
            "error: KeyError: 'x'; this is a bug in rnnlab; --debug shows the traceback",
        ),
        (KeyboardInterrupt(), 130, "interrupted"),
        (StopRequested(signal.SIGTERM), 143, "stopped by SIGTERM"),
    ],
)
def test_every_error_is_one_line_and_an_exit_code(monkeypatch, capsys, error, code, said):
    monkeypatch.setattr(parser, "dispatch", raising(error))
    assert main.main(["list"]) == code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("rnnlab: ")
    assert printed.err.count("\n") == 1
    assert said in printed.err


@pytest.mark.parametrize(
    ("words", "kept"),
    [
        (["resume", "run"], "all saved checkpoints are kept"),
        (["--wide", "resume", "run"], "all saved checkpoints are kept"),
        (["predict", "run"], "written files are complete; repeat the command"),
        (["inspect", "run"], "written files are complete; repeat the command"),
    ],
)
@pytest.mark.parametrize("error", [StopRequested(signal.SIGINT), KeyboardInterrupt()])
def test_signal_to_a_command_names_what_that_command_keeps(monkeypatch, capsys, error, words, kept):
    monkeypatch.setattr(main, "_execute", raising(error))
    assert main.main(words) == 130
    assert capsys.readouterr().err.endswith(f"; {kept}\n")


def test_debug_flag_prints_the_traceback(monkeypatch, capsys):
    monkeypatch.setattr(parser, "dispatch", raising(ValueError("x")))
    assert main.main(["list", "--debug"]) == errors.USAGE_ERROR
    printed = capsys.readouterr().err
    assert "Traceback" in printed
    assert "in dispatch" in printed
    assert printed.endswith("rnnlab: error: x\n")


BEFORE_JAX = """
import sys
from rnnlab.cli import main
code = main.main(sys.argv[1:])
print(code, "jax" in sys.modules)
"""


@pytest.mark.parametrize("words", [["resume", "{run}"], ["run", "x.py", "--out={runs}"]])
def test_locked_run_is_refused_before_jax_is_imported(tmp_path, monkeypatch, words):
    run = tmp_path / "run"
    words = [word.format(run=run, runs=tmp_path) for word in words]
    monkeypatch.setattr(sys, "argv", ["rnnlab", *words])
    command = [sys.executable, "-c", BEFORE_JAX, *words]
    with lock_run(run):
        done = subprocess.run(command, capture_output=True, text=True)
    assert done.stdout == "7 False\n"
    assert f"{run} is locked by process {os.getpid()} on " in done.stderr


def test_other_command_on_a_locked_run_is_not_refused_early(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["rnnlab", "run", "x.py", "--out", str(tmp_path)])
    with lock_run(tmp_path / "run"):
        reject_duplicate_command(tmp_path, ["run", "y.py", "--out", str(tmp_path)])
    reject_duplicate_command(tmp_path, sys.argv[1:])


def sent(stop_signal, *numbers, wait):
    """Sends signals inside a context that defers them or does not."""
    with stop_signal, stop_signal.deferred() if wait else nullcontext():
        for number in numbers:
            signal.raise_signal(number)  # to this thread, or two of them could become one
        if not wait:
            signal.pause()
        stop_signal.seen = stop_signal.number


def test_deferred_signal_raises_afterwards():
    stop_signal = StopSignal()
    with pytest.raises(StopRequested, match="SIGTERM"):
        sent(stop_signal, signal.SIGTERM, wait=True)
    assert stop_signal.seen == signal.SIGTERM


def test_signal_raises_immediately():
    with pytest.raises(StopRequested, match="SIGINT") as stopped:
        sent(StopSignal(), signal.SIGINT, wait=False)
    assert stopped.value.exit_code == 130


def test_second_signal_has_its_default_effect(request):
    # A process that a shell started in the background ignores SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))
    with pytest.raises(KeyboardInterrupt) as stopped:
        sent(StopSignal(), signal.SIGINT, signal.SIGINT, wait=True)
    assert not isinstance(stopped.value, StopRequested)


@pytest.mark.parametrize(
    "milliseconds",
    [200, 400, *(pytest.param(ms, marks=pytest.mark.slow) for ms in (100, 300, 600))],
)
def test_signal_during_the_imports_ends_the_process_quietly(tmp_path, milliseconds):
    """Before Python has read the first file of rnnlab the process ends as any other does."""
    command = [sys.executable, "-m", "rnnlab.cli.main", "verify", str(tmp_path)]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    process = subprocess.Popen(command, **pipes)
    threading.Event().wait(milliseconds / 1000)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out + err) in (
        (
            143,
            "rnnlab: stopped by SIGTERM; written files are complete; repeat the command\n",
        ),
        (-signal.SIGTERM, ""),
    )


@pytest.mark.parametrize(
    ("words", "closed", "code"),
    [
        ("list --folder", ">&-", errors.USAGE_ERROR),
        ("list --folder", "2>&-", errors.USAGE_ERROR),
        ("list --folder", "<&-", errors.USAGE_ERROR),
        ("verify", ">&- 2>&- <&-", errors.CHECKPOINT),
    ],
)
def test_closed_streams_do_not_break_a_command(tmp_path, words, closed, code):
    write_json(tmp_path / "config.json", {})
    command = f'"{sys.executable}" -m rnnlab.cli.main {words} "{tmp_path}" {closed}'
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True)
    assert done.returncode == code
    assert "Traceback" not in done.stdout + done.stderr


def test_argument_that_is_not_utf_8_is_refused(capsys):
    assert main.main(["verify", "a\udcff"]) == errors.USAGE_ERROR
    assert "is not UTF-8" in capsys.readouterr().err


def test_signal_handlers_are_restored_at_the_last_exit():
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal() as stop_signal:
        inside = signal.getsignal(signal.SIGTERM)
        with stop_signal:
            pass
        assert signal.getsignal(signal.SIGTERM) == inside
    assert signal.getsignal(signal.SIGTERM) == before


def test_every_public_name_is_imported_from_its_module():
    import rnnlab

    assert {"Experiment", "ModelConfig", "TASKS", "Text", "MinGRU"} <= set(rnnlab._MODULES)
    assert set(rnnlab.TASKS) <= set(rnnlab._MODULES)
    for name, module in rnnlab._MODULES.items():
        assert name in dir(rnnlab)
        assert getattr(rnnlab, name) is getattr(import_module(module), name)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        rnnlab.Nothing  # noqa: B018


LIGHT = """
import sys
from rnnlab.cli import main
try:
    code = main.main(sys.argv[1:])
except SystemExit as stop:
    code = stop.code
heavy = sorted({"jax", "flax", "optax", "matplotlib", "numpy"} & set(sys.modules))
print(code, heavy, file=sys.stderr)
"""


@pytest.mark.parametrize("words", [["--help"], ["bench", "--help"], ["list"], ["run", "--help"]])
def test_help_and_list_import_nothing_heavy(words):
    command = [sys.executable, "-c", LIGHT, *words]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert done.stderr == "0 []\n"
