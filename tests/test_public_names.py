"""The names at the top level: each is found, and packages are reachable before their import."""

import subprocess
import sys

import pytest

import rnnlab


def test_every_public_name_is_found():
    names = [name for name in dir(rnnlab) if not name.startswith("_")]
    assert {"ModelConfig", "generate", "load", "save", "stack_cells", "tasks"} <= set(names)
    assert all(hasattr(rnnlab, name) for name in names)


def test_packages_are_reachable_after_importing_only_rnnlab():
    code = "import rnnlab; print(rnnlab.tasks.TASKS is rnnlab.TASKS, rnnlab.models.__name__)"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "True rnnlab.models\n"


def test_unknown_name_raises_attribute_error():
    with pytest.raises(AttributeError, match="module 'rnnlab' has no attribute 'Architectur'"):
        _ = rnnlab.Architectur
