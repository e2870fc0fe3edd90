"""`--devices N` makes virtual devices of a CPU, or refuses in one line."""

import os
from pathlib import Path

import jax
import pytest

from rnnlab.cli.commands import Resume, Run
from rnnlab.cli.main import main
from rnnlab.cli.virtual_devices import make_devices, require_devices

FILE = Path("experiment.py")


@pytest.fixture(autouse=True)
def own_flags(monkeypatch):
    """`make_devices` sets XLA_FLAGS, which child processes of other tests would inherit."""
    monkeypatch.setenv("XLA_FLAGS", os.environ.get("XLA_FLAGS", ""))


@pytest.mark.parametrize("command", [Run(FILE, devices=0), Resume(Path("run"), devices=-1)])
def test_devices_below_one_are_refused(command):
    with pytest.raises(ValueError, match=rf"--devices must be >= 1, got {command.devices};"):
        make_devices(command)


def test_devices_after_the_start_of_jax_are_refused():
    jax.devices()
    with pytest.raises(ValueError, match=r"set before JAX starts, got 3 .*; start a new process"):
        make_devices(Run(FILE, devices=3))


def test_devices_on_an_accelerator_are_refused(monkeypatch):
    require_devices(None)
    require_devices(len(jax.devices()))
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    with pytest.raises(ValueError, match=r"for CPUs, .* got 2 on gpu; omit it"):
        require_devices(2)


def test_refusal_of_the_command_line_is_one_line_with_a_code(capsys):
    assert main(["run", str(FILE), "--devices", "0"]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "rnnlab: error: --devices must be >= 1, got 0; raise --devices\n"
