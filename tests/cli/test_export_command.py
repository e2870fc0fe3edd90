"""`rnnlab export`: files of a bundle's model, added to the bundle."""

import json

import numpy as np
import pytest
from flax import nnx

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from rnnlab import ModelConfig, errors
from rnnlab.bundle import Description, Sizes, open_bundle, write_bundle
from rnnlab.cli import main
from rnnlab.models.parameters import named_parameters


@pytest.fixture
def make_bundle(tmp_path):
    """Returns a function that writes a bundle of a small model and returns its path."""

    def make(**settings):
        config = ModelConfig(width=8, depth=1, mlp_expansion=None, **settings)
        model = config.build(3, in_features=2, rngs=nnx.Rngs(0))
        arrays = {name: np.asarray(x) for name, x in named_parameters(model).items()}
        description = Description("demo", config, Sizes(3, in_features=2), "categorical")
        return write_bundle(tmp_path / "demo", description, arrays).path

    return make


def export(path, *options):
    return main.main(["export", str(path), *options])


def test_export_adds_files_and_keeps_the_report_on_earlier_ones(make_bundle, capsys):
    path = make_bundle()
    assert export(path, "--step") == 0
    assert export(path, "--sequence", "--flags", "mask") == 0
    assert "sequence.onnx" in capsys.readouterr().out
    bundle = open_bundle(path)
    assert {"step.onnx", "sequence.onnx", "parity.json"} <= bundle.files.keys()
    report = json.loads(bundle.read("parity.json"))
    assert {name: entry["flags"] for name, entry in report.items()} == {
        "step.onnx": [],
        "sequence.onnx": ["mask"],
    }
    assert all(entry["max_relative_error"] <= 5e-6 for entry in report.values())


def test_export_to_another_folder_leaves_the_bundle_unchanged(make_bundle, tmp_path):
    path = make_bundle()
    before = (path / "bundle.json").read_bytes()
    assert export(path, "--step", "--out", str(tmp_path / "out")) == 0
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["parity.json", "step.onnx"]
    assert (path / "bundle.json").read_bytes() == before


def test_export_of_a_bidirectional_model_writes_its_sequence_only(make_bundle, capsys):
    path = make_bundle(bidirectional=True)
    assert export(path) == 0
    assert "no step" in capsys.readouterr().out
    assert "step.onnx" not in open_bundle(path).files
    assert export(path, "--step") == errors.USAGE_ERROR
    assert "a bidirectional model has no step" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "onxn"], "format must be one of 'onnx'"),
        (["--format", ","], "formats must not be empty"),
        (["--flags", "padding"], "flags must be one of 'reset', 'mask'"),
    ],
)
def test_export_with_an_unknown_name_is_one_line(make_bundle, capsys, options, message):
    path = make_bundle()
    assert export(path, *options) == errors.USAGE_ERROR
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert open_bundle(path).files.keys().isdisjoint({"step.onnx", "parity.json"})
