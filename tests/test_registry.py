"""The registry: one entry per cell, from which labels, peers and options follow."""

import subprocess
import sys

import pytest

from rnnlab import CELLS
from rnnlab.registry import REGISTRY, cell_entries, find_cell

USER_FILE = """
from flax import nnx
from rnnlab import MinGRU

class MyCell(MinGRU):
    label = "my cell"
    color = "#123456"
    compared_with = "gru"

class Bare(MinGRU):
    "A cell without attributes."

class OtherSizes(MinGRU):
    def __init__(self, features, *, rngs, **options):
        super().__init__(features, features, rngs=rngs, **options)

class NoRngs(MinGRU):
    def __init__(self, in_features, features, *, dtype=None, param_dtype=None):
        super().__init__(in_features, features, rngs=nnx.Rngs(0))

class NoDefault(MinGRU):
    def __init__(self, in_features, features, *, rngs, gain: float, **options):
        super().__init__(in_features, features, rngs=rngs, **options)

class NotAModule:
    def initial_carry(self, batch_shape): ...
    def step(self, carry, x): ...

class NoCarry(nnx.Module):
    def step(self, carry, x): ...

def function(in_features, features, *, rngs):
    return MyCell(in_features, features, rngs=rngs)
"""


@pytest.mark.parametrize("name", REGISTRY)
def test_entry_loads_its_class(name):
    entry = find_cell(name)
    assert entry.name == name
    assert isinstance(entry.load(), type)


def test_cells_are_entries_of_kind_cell():
    assert list(CELLS) == list(cell_entries())
    assert all(CELLS[name] is REGISTRY[name].load() for name in CELLS)


def test_find_cell_unknown_name_suggests_a_close_match():
    with pytest.raises(ValueError, match="cell 'minlst' is unknown; did you mean 'minlstm'"):
        find_cell("minlst")
    with pytest.raises(ValueError, match="choose one of rnn, gru"):
        find_cell("zzz")


def test_find_cell_user_class_takes_optional_attributes(tmp_path):
    file = tmp_path / "cells.py"
    file.write_text(USER_FILE)
    entry = find_cell(f"{file}:MyCell")
    assert (entry.label, entry.color, entry.compared_with) == ("my cell", "#123456", "gru")
    assert entry.is_user_defined
    assert entry.load() is find_cell(f"{file}:MyCell").load()
    bare = find_cell(f"{file}:Bare")
    assert (bare.label, bare.compared_with, bare.torch) == ("Bare", None, None)
    assert bare.summary == "A cell without attributes."


def test_find_cell_bad_user_class_raises(tmp_path):
    file = tmp_path / "cells.py"
    file.write_text(USER_FILE.replace('"gru"', "'nothing'"))
    with pytest.raises(ValueError, match="compared_with must be one of rnn"):
        find_cell(f"{file}:MyCell")
    with pytest.raises(ValueError, match="must define a class 'Other'"):
        find_cell(f"{file}:Other")
    with pytest.raises(ValueError, match=r"none\.py"):
        find_cell(f"{tmp_path / 'none.py'}:MyCell")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("OtherSizes", "too many positional arguments"),
        ("NoRngs", "got an unexpected keyword argument 'rngs'"),
        ("NoDefault", "missing a required.* argument: 'gain'"),
    ],
)
def test_find_cell_user_constructor_of_other_parameters_raises(tmp_path, name, message):
    file = tmp_path / "cells.py"
    file.write_text(USER_FILE)
    accepted = r"must accept \(in_features, features, \*, rngs\)"
    with pytest.raises(ValueError, match=f"constructor of .*{name} {accepted}.*{message}"):
        find_cell(f"{file}:{name}")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("NotAModule", "must be a flax.nnx.Module .*, got another class; derive it from"),
        ("NoCarry", "must be a flax.nnx.Module .*, got a class without initial_carry"),
        ("function", "must define a class 'function'"),
    ],
)
def test_find_cell_user_name_that_is_not_a_cell_raises(tmp_path, name, message):
    file = tmp_path / "cells.py"
    file.write_text(USER_FILE)
    with pytest.raises(ValueError, match=message):
        find_cell(f"{file}:{name}")


def test_registry_does_not_import_jax():
    code = "import sys, rnnlab.registry, rnnlab.plotting; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
