"""Tensors of the Open Inference Protocol v2: JSON objects in requests and answers, as arrays."""

from typing import Any

import numpy as np

from rnnlab.serve.fields import Fields, invalid
from rnnlab.serve.interface import Interface

TOKEN_TYPES = ("INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")
VALUE_TYPES = ("FP16", "FP32", "FP64", *TOKEN_TYPES)


def tensor(name: str, values: np.ndarray) -> dict[str, Any]:
    """Returns an output of an answer.

    >>> tensor("outputs", np.zeros((1, 2), np.float32))["data"]
    [0.0, 0.0]
    """
    return {
        "name": name,
        "datatype": "FP32",
        "shape": list(values.shape),
        "data": values.astype(np.float32).ravel().tolist(),
    }


def read_tensors(fields: Fields, interface: Interface) -> dict[str, Fields]:
    """Returns the input tensors of a request by name.

    Raises:
      RequestError: one is missing, twice there, or is not a tensor.
    """
    expected = ("inputs", "gaps") if interface.uses_gaps else ("inputs",)
    values = fields["inputs"]
    if not isinstance(values, list) or not values:
        raise invalid("inputs", "be a list of tensors", values, f"send {' and '.join(expected)}")
    found = {}
    for k, value in enumerate(values):
        one = Fields(value, f"inputs[{k}]")
        one.require_known(("name", "datatype", "shape", "data", "parameters"))
        name = one["name"]
        if name not in expected or name in found:
            must = f"be {' and '.join(expected)}, each once"
            raise invalid(one.path("name"), must, name, "rename or remove it")
        if one["parameters"]:
            must = "be empty, since data is JSON"
            raise invalid(one.path("parameters"), must, one["parameters"], "remove it")
        found[name] = one
    if missing := [name for name in expected if name not in found]:
        raise invalid("inputs", f"have the tensor {missing[0]}", sorted(found), "add it")
    return found


def read_inputs(one: Fields, interface: Interface) -> np.ndarray:
    """Returns tokens (batch, time) or values (batch, time, in_features).

    Raises:
      RequestError: the tensor does not fit the inputs of the model.
    """
    datatype = one["datatype"]
    if interface.in_features is not None:
        return read_values(one, (None, None, interface.in_features))
    if datatype == "BYTES":
        data = one["data"]
        if not isinstance(data, list) or len(data) != 1 or not isinstance(data[0], str):
            raise invalid(one.path("data"), "be a list of one text", data, "send one text")
        return interface.encode(data[0], one.path("data"))[None]
    if datatype not in TOKEN_TYPES:
        must = f"be BYTES or one of {', '.join(TOKEN_TYPES)}"
        raise invalid(one.path("datatype"), must, datatype, "change it")
    shape = _shape(one, (None, None))
    return _fitted(read_tokens(one["data"], one.path("data"), interface.vocab_size), one, shape)


def read_values(one: Fields, expected: tuple[int | None, ...]) -> np.ndarray:
    """Returns the numbers of a tensor, float32.

    Args:
      one: the tensor.
      expected: its shape; None for an axis of any size.

    Raises:
      RequestError: the tensor has another shape or datatype, or a value is not a finite number.
    """
    if one["datatype"] not in VALUE_TYPES:
        must = f"be one of {', '.join(VALUE_TYPES)}"
        raise invalid(one.path("datatype"), must, one["datatype"], "change it")
    shape = _shape(one, expected)
    field = one.path("data")
    try:
        values = np.array(one["data"], dtype=object)
        if not all(isinstance(x, int | float) and not isinstance(x, bool) for x in values.ravel()):
            raise ValueError
        values = values.astype(np.float64)
    except (ValueError, TypeError, OverflowError):
        raise invalid(field, "be numbers", one["data"], "remove other values") from None
    if not (np.abs(values) <= np.finfo(np.float32).max).all():
        raise invalid(field, "be finite in 32 bits", one["data"], "send smaller numbers")
    return _fitted(values.astype(np.float32), one, shape)


def read_tokens(data: Any, field: str, vocab_size: int) -> np.ndarray:
    """Returns token ids of any shape from lists.

    Raises:
      RequestError: `field` is not of token ids below `vocab_size`.
    """
    try:
        values = np.array(data, dtype=object)
        flat = values.ravel()
        if not all(isinstance(x, int) and not isinstance(x, bool) for x in flat):
            raise ValueError
    except ValueError:
        raise invalid(field, "be token ids", data, "send integers") from None
    for value in flat:
        if not 0 <= value < vocab_size:
            must = f"be token ids from 0 to {vocab_size - 1}"
            raise invalid(field, must, value, "remove others")
    return values.astype(np.int32)


def _shape(one: Fields, expected: tuple[int | None, ...]) -> tuple[int, ...]:
    """Returns the shape of a tensor; the batch axis of one sequence may be omitted."""
    shape, field = one["shape"], one.path("shape")
    layout = ", ".join("any" if size is None else str(size) for size in expected)
    is_shape = isinstance(shape, list) and all(
        isinstance(x, int) and not isinstance(x, bool) and x >= 0 for x in shape
    )
    if is_shape and len(shape) == len(expected) - 1:
        shape = [1, *shape]
    if (
        not is_shape
        or len(shape) != len(expected)
        or any(e is not None and e != s for s, e in zip(shape, expected, strict=True))
    ):
        raise invalid(field, f"be [{layout}]", one["shape"], "change it")
    return tuple(shape)


def _fitted(values: np.ndarray, one: Fields, shape: tuple[int, ...]) -> np.ndarray:
    if values.size != int(np.prod(shape, dtype=object)):
        must = f"have as many numbers as the shape {list(shape)}"
        raise invalid(one.path("data"), must, values.size, "change the shape or the data")
    return values.reshape(shape)
