"""Helpers of the tests of weights of other libraries."""

import json
from pathlib import Path

import jax
import numpy as np
from oracles import relative_error

from rnnlab.models.parameters import named_parameters

TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
DATA = Path(__file__).parents[1] / "data" / "interop"


def read_table(name):
    """The cases of a table; its first line has the versions and the command that wrote it."""
    return [json.loads(line) for line in (DATA / name).read_text().splitlines()[1:]]


def require_close(found, wanted, dtype):
    leaves, references = jax.tree.leaves(found), jax.tree.leaves(wanted)
    assert len(leaves) == len(references)
    for x, reference in zip(leaves, references, strict=True):
        assert x.dtype == dtype
        assert relative_error(x, reference) < TOLERANCE[str(dtype)]


def require_equal_parameters(stack, other):
    ours, theirs = named_parameters(stack), named_parameters(other)
    assert ours.keys() == theirs.keys()
    for name, x in ours.items():
        assert x.dtype == theirs[name].dtype
        np.testing.assert_array_equal(x, theirs[name])
