"""Bundles of format 1 in `tests/data/bundle_v1` are read, and predict what they predicted.

They are one per kind of preparation. The oldest ones are without the setting `cell_features` in
their description, which format 1 did not have at first. Their weights are
computed by a formula, not stored. If this test fails, either a change of the format needs a new
`FORMAT_VERSION` and a reader of format 1, or a default no longer means what it meant.
"""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save

from rnnlab.bundle import open_bundle
from rnnlab.bundle.kinds import PREPARATIONS

GOLDEN = Path(__file__).parent.parent / "data" / "bundle_v1"
NAMES = sorted(path.name for path in GOLDEN.iterdir())


def weights_of(description):
    """The file of weights of a description: multiples of 1/16, which are exact on every machine."""
    shapes = {name: x["shape"] for name, x in sorted(description["parameters"].items())}
    return save(
        {
            name: np.float32((5 * np.arange(np.prod(shape)) + 7 * k) % 13 - 6).reshape(shape) / 16
            for k, (name, shape) in enumerate(shapes.items())
        }
    )


def complete_bundle(name, folder):
    """Copies a bundle and adds its weights. Returns it and the file to predict from."""
    shutil.copytree(GOLDEN / name / "bundle", folder)
    description = json.loads((folder / "bundle.json").read_text())
    (folder / "model.safetensors").write_bytes(weights_of(description))
    (source,) = (GOLDEN / name).glob("input.*")
    if source.suffix == ".json":
        arrays = json.loads(source.read_text())
        source = folder.with_name("input.npz")
        np.savez(source, **arrays)
    return folder, source


def cells_of(text):
    """The cells of a CSV table, numbers as floats."""
    header, *rows = csv.reader(text.splitlines())
    return header, [[_number(cell) for cell in row] for row in rows]


def _number(cell):
    try:
        return float(cell)
    except ValueError:
        return cell


@pytest.mark.parametrize("name", NAMES)
def test_bundle_of_format_1_predicts_what_it_predicted(name, tmp_path):
    if name == "tokens":
        pytest.importorskip("tokenizers")
    bundle, source = complete_bundle(name, tmp_path / "bundle")
    header, rows = cells_of(open_bundle(bundle).trained_model().predict(source).to_csv())
    expected_header, expected = cells_of((GOLDEN / name / "expected.csv").read_text())
    assert header == expected_header
    assert len(rows) == len(expected)
    for row, wanted in zip(rows, expected, strict=True):
        for cell, value in zip(row, wanted, strict=True):
            if isinstance(value, float):
                np.testing.assert_allclose(cell, value, rtol=1e-4, atol=1e-6)
            else:
                assert cell == value


def test_bundles_of_format_1_have_every_preparation(tmp_path):
    bundles = [complete_bundle(name, tmp_path / name)[0] for name in NAMES]
    kinds = {type(open_bundle(bundle).preparation).__name__ for bundle in bundles}
    assert kinds == set(PREPARATIONS)
