"""The registry: one entry per cell, from which labels, peers and options follow."""

import subprocess
import sys

import pytest

from rnnlab import CELLS
from rnnlab.registry import REGISTRY, cell_entries, cell_options, find_cell

USER_FILE = """
class MyCell:
    label = "my cell"
    color = "#123456"
    compared_with = "gru"

class Bare:
    "A cell without attributes."
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
    file.write_text("class MyCell:\n    compared_with = 'nothing'\n")
    with pytest.raises(ValueError, match="compared_with must be one of rnn"):
        find_cell(f"{file}:MyCell")
    with pytest.raises(ValueError, match="must define a class 'Other'"):
        find_cell(f"{file}:Other")
    with pytest.raises(ValueError, match=r"none\.py"):
        find_cell(f"{tmp_path / 'none.py'}:MyCell")


def test_registry_does_not_import_jax():
    code = "import sys, rnnlab.registry, rnnlab.plotting; assert 'jax' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_cell_options_are_keyword_only_parameters_with_their_docs():
    options = cell_options(CELLS["minlstm"])
    assert {"candidate", "decay_range", "normalize", "forget_bias", "backend"} <= set(options)
    assert not {"rngs", "dtype", "param_dtype", "kernel_init"} & set(options)
    assert options["normalize"].type is bool
    assert options["normalize"].doc.startswith("divides both gates by their sum")
    assert cell_options(REGISTRY["transformer"].load())["heads"].default == 4
