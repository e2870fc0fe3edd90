"""Batches from data sets by index: a list, and one of grain."""

import jax
import numpy as np
import pytest

from rnnlab.tasks.batch import select
from rnnlab.tasks.batching.indexed import indexed_rows

EXAMPLES = [
    {"inputs": np.full(3, k, np.int32), "targets": np.full(3, k + 1, np.int32)} for k in range(12)
]


def test_indexed_rows_are_the_next_examples_of_the_batch():
    rows = indexed_rows(EXAMPLES, 4)
    whole = rows(1, slice(None))
    assert whole.inputs[:, 0].tolist() == [4, 5, 6, 7]
    part = rows(1, slice(1, 3))
    jax.tree.map(np.testing.assert_array_equal, part, select(whole, slice(1, 3)))


def test_indexed_rows_of_grain_have_every_example_once_per_epoch():
    grain = pytest.importorskip("grain")
    rows = indexed_rows(grain.MapDataset.source(EXAMPLES).shuffle(seed=0).repeat(), 4)
    seen = [k for n in range(3) for k in rows(n, slice(None)).inputs[:, 0]]
    assert sorted(seen) == list(range(12))
    assert seen != sorted(seen)
    again = [k for n in range(3, 6) for k in rows(n, slice(None)).inputs[:, 0]]
    assert sorted(again) == list(range(12))
