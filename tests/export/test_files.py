"""Exported files and their report: what is checked, kept and refused."""

import json
import sys
from types import ModuleType

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import MinGRU, VanillaRNN
from rnnlab.errors import MissingPackageError
from rnnlab.export import FORMATS, export_files, verify_files
from rnnlab.export.formats import Format
from rnnlab.export.parity import rounding_error
from rnnlab.optional import require_module

SIZES = ((2, 40),)


@pytest.fixture
def fake_format(monkeypatch):
    """Registers a format whose files hold nothing and whose function is `function`."""

    def register(function):
        module = ModuleType("fake_format")
        module.write = lambda module, form, flags: b"content"
        module.read = lambda content: function
        monkeypatch.setitem(sys.modules, "fake_format", module)
        monkeypatch.setitem(FORMATS, "fake", Format("fake_format", ".fake", sizes=SIZES))

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
    assert report["step.fake"]["batches"] == [[2, 40]]


@pytest.mark.parametrize("error", [1e-4, np.nan, np.inf])
def test_file_that_differs_from_the_model_is_refused(fake_format, error):
    fake_format(step_of(cell(), error))
    with pytest.raises(ValueError, match=r"step\.fake must differ .* at most 5e-06, got"):
        export_files(cell(), ["fake"], forms=["step"])


def steep_cell(scale=2.0):
    """Returns a cell that amplifies the last bits of its states from time step to time step."""
    module = VanillaRNN(3, 16, rngs=nnx.Rngs(0))
    module.recurrent_kernel[...] = scale * module.recurrent_kernel[...]
    return module


def sequence_of(module, error):
    """Returns the exact function of a cell's sequence with an error added to its outputs."""

    def run(inputs):
        carry, ys = module(*(jnp.asarray(inputs[name]) for name in ("carry.0", "inputs")))
        return {"outputs": np.asarray(ys) + np.float32(error), "next_carry.0": np.asarray(carry)}

    return run


def test_file_of_a_steep_model_may_differ_as_much_as_rounding_changes_the_model(fake_format):
    rounding = rounding_error(steep_cell(), "sequence", sizes=SIZES)
    assert 1e-6 < rounding < 1e-4
    fake_format(sequence_of(steep_cell(), 7 * rounding))
    report = json.loads(export_files(steep_cell(), ["fake"], forms=["sequence"])["parity.json"])
    assert 5e-6 < report["sequence.fake"]["max_relative_error"] < 10 * rounding
    assert report["sequence.fake"]["tolerance"] == pytest.approx(10 * rounding)


@pytest.mark.parametrize("scale", [1, 4])
def test_file_that_differs_by_more_than_rounding_is_refused(fake_format, scale):
    """At 4 the states are chaotic: rounding changes them completely, which excuses no file."""
    fake_format(sequence_of(steep_cell(scale), 0.01))
    with pytest.raises(ValueError, match=r"at most .*, got .*, where rounding changes the model"):
        export_files(steep_cell(scale), ["fake"], forms=["sequence"])


@pytest.mark.slow
def test_onnx_file_of_a_steep_model_is_written():
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    report = json.loads(export_files(steep_cell(), ["onnx"], forms=["sequence"])["parity.json"])
    assert report["sequence.onnx"]["max_relative_error"] > 5e-6


def test_file_of_a_missing_package_names_the_extra(fake_format, monkeypatch):
    fake_format(step_of(cell()))
    files = export_files(cell(), ["fake"], forms=["step"])
    report = json.loads(files["parity.json"])
    monkeypatch.setattr(
        sys.modules["fake_format"], "read", lambda content: require_module("none.such", "litert")
    )
    expected = r"to compare step\.fake with the model none must be installed; .*rnnlab\[litert\]"
    with pytest.raises(MissingPackageError, match=expected):
        verify_files(cell(), report, files.get)


def test_file_of_another_shape_is_refused(fake_format):
    fake_format(lambda inputs: {"outputs": np.zeros((2, 5), np.float32)})
    with pytest.raises(ValueError, match="must have shape"):
        export_files(cell(), ["fake"], forms=["step"])


def test_unknown_format_is_refused():
    with pytest.raises(ValueError, match="format must be one of 'onnx'"):
        export_files(cell(), ["onxn"])
