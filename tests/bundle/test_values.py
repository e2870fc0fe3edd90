"""Values of bundles as JSON: exact, and refused with the name of the part."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest

from rnnlab.bundle.values import dump, load
from rnnlab.tasks.predictions import RUN_DATA


@dataclass(frozen=True)
class Inner:
    values: np.ndarray
    by_number: Mapping[int, np.ndarray]


@dataclass(frozen=True)
class Outer:
    path: Path
    kind: Literal["a", "b"]
    scale: float
    names: tuple[str, ...]
    inner: Inner | None
    test: Any = field(default=None, metadata=RUN_DATA)


ARRAYS = [
    np.array([math.inf, -math.inf, math.nan, -0.0, 5e-324, 1 / 3]),
    np.array([[1 / 3, 3.4e38]], np.float32),
    np.array([2**63 - 1, -(2**63)]),
    np.array([True, False]),
    np.array(["2020-02-29", "NaT"], "datetime64[D]"),
    np.zeros((0, 3), np.float64),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda x: f"{x.dtype} {x.shape}")
def test_array_through_json_has_the_same_bits(array):
    found = load(np.ndarray, json.loads(json.dumps(dump(array), allow_nan=False)), "x")
    assert (found.dtype, found.shape) == (array.dtype, array.shape)
    assert found.tobytes() == array.tobytes()


def test_dataclass_through_json_is_equal_without_folders_and_run_data():
    inner = Inner(ARRAYS[0], {3: ARRAYS[2]})
    value = Outer(Path("/home/me/a.csv"), "b", math.inf, ("x", "y"), inner, test=object())
    found = load(Outer, json.loads(json.dumps(dump(value), allow_nan=False)), "x")
    assert (found.path, found.kind, found.scale) == (Path("a.csv"), "b", math.inf)
    assert (found.names, found.test) == (("x", "y"), None)
    assert found.inner.by_number[3].tobytes() == ARRAYS[2].tobytes()


def wrong_array(**changes):
    return {"dtype": "float64", "shape": [1], "values": [1.0]} | changes


REFUSED = [
    (int, True, "x must be int, got True"),
    (float, "1.5", "x must be float, got '1.5'"),
    (float, 10**400, "x must be float"),
    (str, None, "x must be str, got None"),
    (tuple[int, ...], [1, 2.0], r"x\[1\] must be int, got 2.0"),
    (tuple[int, int], [1], "x must be tuple"),
    (Mapping[int, int], {"a": 1}, "x must have integers as keys"),
    (Path, "../a", "x must be Path"),
    (Path, "..", "x must be Path"),
    (Inner, {"values": wrong_array()}, "x must have the key 'by_number'"),
    (Inner, {"values": 1, "by_number": {}, "code": ""}, "x must not have the key 'code'"),
    (np.ndarray, wrong_array(dtype="object"), "x.dtype must be that of numbers or dates"),
    (np.ndarray, wrong_array(dtype="<U100000000"), "x.dtype must be"),
    (np.ndarray, wrong_array(shape=[2]), "x.shape must be that of 1 values"),
    (np.ndarray, wrong_array(shape=[-1, -1]), "x.shape must be"),
    (np.ndarray, wrong_array(shape=[1] * 99), "x.shape must be"),
    (np.ndarray, wrong_array(values=["one"]), "x.values must be float"),
    (np.ndarray, wrong_array(dtype="int8", values=[300]), "x.values must fit into int8"),
    (np.ndarray, wrong_array(dtype="int8", values=[1.5]), "x.values must be int"),
]


@pytest.mark.parametrize(("hint", "value", "message"), REFUSED, ids=range(len(REFUSED)))
def test_value_of_another_type_is_refused_by_name(hint, value, message):
    with pytest.raises(ValueError, match=message) as caught:
        load(hint, value, "x")
    assert len(str(caught.value)) < 200


def test_values_without_json_are_refused():
    with pytest.raises(ValueError, match="got a set; convert it"):
        dump({1, 2})
    with pytest.raises(ValueError, match="of numbers or dates, got object"):
        dump(np.array([None]))
