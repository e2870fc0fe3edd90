"""Exported files and their report: what is checked, kept and refused."""

import json
import sys
from types import ModuleType

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import MinGRU
from rnnlab.export import FORMATS, export_files
from rnnlab.export.formats import Format


@pytest.fixture
def fake_format(monkeypatch):
    """Registers a format whose files hold nothing and whose function is `function`."""

    def register(function):
        module = ModuleType("fake_format")
        module.write = lambda module, form, flags: b"content"
        module.read = lambda content: function
        monkeypatch.setitem(sys.modules, "fake_format", module)
        monkeypatch.setitem(FORMATS, "fake", Format("fake_format", ".fake", sizes=((2, 3),)))

    return register


def cell():
    return MinGRU(3, 4, rngs=nnx.Rngs(0))


def step_of(module, error=0.0):
    """Returns the exact function of a cell's step with an error added to its outputs."""

    def run(inputs):
        carry, y = module.step(*(jnp.asarray(inputs[name]) for name in ("carry.0", "inputs")))
        return {"outputs": np.asarray(y) + np.float32(error), "next_carry.0": np.asarray(carry)}

    return run


def test_report_names_the_error_and_keeps_entries_of_other_files(fake_format):
    fake_format(step_of(cell()))
    files = export_files(cell(), ["fake"], forms=["step"], report={"other.onnx": {"form": "step"}})
    assert files["step.fake"] == b"content"
    report = json.loads(files["parity.json"])
    assert report["other.onnx"] == {"form": "step"}
    assert report["step.fake"]["max_relative_error"] <= 1e-6
    assert report["step.fake"]["batches"] == [[2, 3]]


@pytest.mark.parametrize("error", [1e-4, np.nan, np.inf])
def test_file_that_differs_from_the_model_is_refused(fake_format, error):
    fake_format(step_of(cell(), error))
    with pytest.raises(ValueError, match=r"step\.fake must differ .* at most 5e-06, got"):
        export_files(cell(), ["fake"], forms=["step"])


def test_file_of_another_shape_is_refused(fake_format):
    fake_format(lambda inputs: {"outputs": np.zeros((2, 5), np.float32)})
    with pytest.raises(ValueError, match="must have shape"):
        export_files(cell(), ["fake"], forms=["step"])


def test_unknown_format_is_refused():
    with pytest.raises(ValueError, match="format must be one of 'onnx'"):
        export_files(cell(), ["onxn"])
