"""Bundles of format 1 in `tests/data/bundle_v1` are read, and predict what they predicted.

They are one per kind of preparation, without training, written before the setting `cell_features`
existed in their description. If this test fails, either a change of the format needs a new
`FORMAT_VERSION` and a reader of format 1, or a default no longer means what it meant.
"""

import csv
from pathlib import Path

import numpy as np
import pytest

from rnnlab.bundle import open_bundle
from rnnlab.bundle.kinds import PREPARATIONS

GOLDEN = Path(__file__).parent.parent / "data" / "bundle_v1"
NAMES = sorted(path.name for path in GOLDEN.iterdir())


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
def test_bundle_of_format_1_predicts_what_it_predicted(name):
    (file,) = (GOLDEN / name).glob("input.*")
    trained = open_bundle(GOLDEN / name / "bundle").trained_model()
    header, rows = cells_of(trained.predict(file).to_csv())
    expected_header, expected = cells_of((GOLDEN / name / "expected.csv").read_text())
    assert header == expected_header
    assert len(rows) == len(expected)
    for row, wanted in zip(rows, expected, strict=True):
        for cell, value in zip(row, wanted, strict=True):
            if isinstance(value, float):
                np.testing.assert_allclose(cell, value, rtol=1e-4, atol=1e-6)
            else:
                assert cell == value


def test_bundles_of_format_1_have_every_preparation():
    kinds = {type(open_bundle(GOLDEN / name / "bundle").preparation).__name__ for name in NAMES}
    assert kinds == set(PREPARATIONS)
