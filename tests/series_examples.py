"""Series that the tests of forecasting share, and files of them."""

import math

import numpy as np
import pytest

PARTS = {"horizon": 3, "season": 6, "length": 20, "batch_size": 8, "valid": 0.2, "test": 0.2}
SETTINGS = PARTS | {"normalization": "series"}
"""Settings under which inputs and targets have the definitions of the oracles in the tests."""


def values_of(steps=100, seed=0):
    rng = np.random.default_rng(seed)
    step = np.arange(steps)
    values = np.round(0.2 * step + 3 * np.sin(step) + rng.normal(size=steps), 3)
    values[rng.random(steps) < 0.2] = np.nan
    values[0] = np.nan
    return values


@pytest.fixture
def write_series(tmp_path):
    """A function that writes values, with or without dates, to a CSV file."""

    def write_series(values, name="series.csv", dates=None):
        path = tmp_path / name
        cells = ["" if math.isnan(x) else repr(float(x)) for x in values]
        rows = cells if dates is None else [f"{d},{c}" for d, c in zip(dates, cells, strict=True)]
        head = "x" if dates is None else "date,x"
        # "NA" where the row is one empty cell, which at the end of a file is nothing.
        path.write_text("\n".join([head, *(row or "NA" for row in rows)]) + "\n")
        return path

    return write_series


def last(values, t):
    return next((values[i] for i in range(t, -1, -1) if not math.isnan(values[i])), math.nan)
