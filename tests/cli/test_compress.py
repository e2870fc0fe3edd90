"""`rnnlab quantize` and `rnnlab prune`: tables, bundles that open again, and errors."""

import jax
import numpy as np
import pytest

import rnnlab
from rnnlab import errors
from rnnlab.bundle import open_bundle
from rnnlab.cli import main
from rnnlab.models.parameters import named_parameters

pytestmark = pytest.mark.usefixtures("quick_compile", "implicit_promotion")


def execute(*words):
    return main.main([str(word) for word in words])


def test_quantize_of_a_run_and_of_its_bundle_writes_bundles_that_predict(
    trained_run, tmp_path, capsys
):
    first, second = tmp_path / "small", tmp_path / "small-int4"
    assert execute("quantize", trained_run, "--out", first, "--keep", "head") == 0
    printed = capsys.readouterr().out
    assert "change of valid nll" in printed
    assert "body.layers.1.project.kernel" in printed
    bundle = open_bundle(first)
    assert bundle.parameters["embedding"].encoding.bits == 8
    assert "head_kernel" in bundle.arrays()
    card = bundle.read("card.md").decode()
    assert card.startswith("# small\n")
    assert "## Compression" in card
    assert bundle.description.source["compressed"]["bits"] == 8
    whole, small = rnnlab.load(trained_run).model, rnnlab.load(first).model
    tokens = jax.numpy.array([[0, 1, 2, 0]])
    np.testing.assert_allclose(small(tokens)[1], whole(tokens)[1], atol=0.02)
    assert execute("quantize", first, "--bits", 4, "--leaf-bits", "head=6") == 0
    assert "The loss is not measured without data" in capsys.readouterr().out
    assert open_bundle(second).parameters["head_kernel"].encoding.bits == 6
    weights = (first / "model.safetensors").stat().st_size
    assert (second / "model.safetensors").stat().st_size < weights


def test_prune_of_a_run_writes_a_bundle_of_narrower_cells(trained_run, tmp_path, capsys):
    out = tmp_path / "narrow"
    words = ["--share", "0.25", "--batches", "2", "--tune-steps", "2", "--out", out]
    assert execute("prune", trained_run, *words) == 0
    printed = capsys.readouterr().out
    assert "75.0% of the units" in printed
    assert "after 2 updates" in printed
    bundle = open_bundle(out)
    assert bundle.config.cell_features == (6, 6)
    card = bundle.read("card.md").decode()
    assert "## Results of small-mingru-seed0, before the compression" in card
    assert "test nll of all units" in card
    assert named_parameters(bundle.model())["body.layers.0.project.kernel"].shape == (6, 8)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["quantize", "BUNDLE", "--bits", "5"], "bits must be one of 8, 6, 4, got 5"),
        (["quantize", "BUNDLE", "--keep", "haed"], "'haed' must be a part of a weight's name"),
        (["quantize", "BUNDLE", "--leaf-bits", "head"], "leaf-bits must be NAME=BITS"),
        (["quantize", "BUNDLE", "--tune-steps", "3"], "tune_steps must be 0 without data, got 3"),
        (["quantize", "BUNDLE", "--out", "BUNDLE"], "must not exist, and does"),
        (["prune", "BUNDLE"], "a bundle needs data to be pruned"),
        (["prune", "RUN", "--share", "1"], "share must be in [0, 1), got 1.0"),
    ],
)
def test_compression_of_invalid_options_is_one_error_line(
    words, message, trained_run, tmp_path, capsys
):
    assert execute("bundle", trained_run, "--out", tmp_path / "whole") == 0
    capsys.readouterr()
    places = {"BUNDLE": tmp_path / "whole", "RUN": trained_run}
    assert execute(*(places.get(word, word) for word in words)) == errors.USAGE_ERROR
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["whole"]
