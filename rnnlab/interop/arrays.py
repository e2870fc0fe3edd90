"""Reads the weights of a module, a mapping or a file as NumPy arrays by name."""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
from flax import nnx

DTYPES = {"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16"}
"""Floating dtypes of parameters, by their names in safetensors files."""
SHOWN_NAMES = 6


def read_arrays(source: Any, prefix: str = "") -> dict[str, np.ndarray]:
    """Returns the arrays of a source by name, in its order. Names of nested mappings have dots.

    Args:
      source: a module of torch or of Flax NNX, a mapping from names to arrays or mappings, or the
        path of a safetensors file.
      prefix: only the names below this one are read, without it.

    Raises:
      ValueError: source is not one of these, or an array is not floating or not finite.

    >>> arrays = read_arrays({"cell": {"bias": np.ones(2, np.float32)}, "step": 3}, prefix="cell")
    >>> list(arrays)
    ['bias']
    """
    start = prefix.rstrip(".") + "." if prefix else ""
    found = {
        name.removeprefix(start): value
        for name, value in _named_values(source)
        if name.startswith(start)
    }
    if not found:
        raise ValueError(f"weights must have names below {start!r}, got none; change prefix")
    return {name: _as_weights(start + name, value) for name, value in found.items()}


def require_names(names: Mapping[str, Any], expected: set[str], owner: str) -> None:
    """Raises ValueError unless the names are the expected ones of `owner`, such as "a torch GRU".

    >>> require_names({"bias": 0}, {"bias", "kernel"}, "a Keras LSTM")
    Traceback (most recent call last):
    ValueError: weights of a Keras LSTM must have 'kernel', got none; add it
    """
    missing, unknown = sorted(expected - names.keys()), sorted(names.keys() - expected)
    if missing:
        raise ValueError(
            f"weights of {owner} must have {shown_names(missing)}, got none; add "
            f"{'them' if missing[1:] else 'it'}"
        )
    if unknown:
        raise ValueError(
            f"weights of {owner} must have only names that it has, got {shown_names(unknown)}; "
            f"remove {'them' if unknown[1:] else 'it'}, or pass only the weights of the layer"
        )


def require_array_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    """Raises ValueError unless an array has a shape.

    >>> require_array_shape("bias", np.zeros(3), (4,))
    Traceback (most recent call last):
    ValueError: 'bias' must have shape (4,), got (3,); check the weights
    """
    if array.shape != shape:
        raise ValueError(f"{name!r} must have shape {shape}, got {array.shape}; check the weights")


def matrix_shape(name: str, array: np.ndarray) -> tuple[int, int]:
    """Returns the shape of a matrix.

    >>> matrix_shape("kernel", np.zeros(3))
    Traceback (most recent call last):
    ValueError: 'kernel' must be a matrix, got shape (3,); check the weights
    """
    if array.ndim != 2:
        raise ValueError(f"{name!r} must be a matrix, got shape {array.shape}; check the weights")
    return array.shape


def require_numbers(numbers: Collection[int]) -> None:
    """Raises ValueError unless the numbers of layers are 0, 1, and so on.

    >>> require_numbers({0, 2})
    Traceback (most recent call last):
    ValueError: layers must be numbered from 0 without gaps, got 2 and no 1; rename them
    """
    last = max(numbers)
    missing = next(k for k in range(last + 1) if k not in numbers or k == last)
    if missing != last:
        raise ValueError(
            f"layers must be numbered from 0 without gaps, got {last} and no {missing}; rename them"
        )


def common_dtype(arrays: Mapping[str, np.ndarray]) -> str:
    """Returns the dtype that all arrays have.

    >>> common_dtype({"a": np.zeros(1, np.float32), "b": np.zeros(1, np.float32)})
    'float32'
    """
    first, *others = arrays
    for name in others:
        if arrays[name].dtype != arrays[first].dtype:
            raise ValueError(
                f"weights must have one dtype, got {arrays[first].dtype} of {first!r} and "
                f"{arrays[name].dtype} of {name!r}; pass param_dtype="
            )
    return str(arrays[first].dtype)


def as_numpy(value: Any) -> np.ndarray:
    """Returns an array of any library as a NumPy array.

    >>> as_numpy(jnp.ones(2, jnp.bfloat16)).dtype
    dtype(bfloat16)
    """
    if isinstance(value, nnx.Variable):
        value = value.get_value()
    if hasattr(value, "detach"):  # a tensor of torch, perhaps on a GPU
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":  # which has no `numpy()`
            return value.float().numpy().astype(jnp.bfloat16)
    # A variable of Keras has `numpy()` on every backend, and no `__array__` on some.
    return value.numpy() if hasattr(value, "numpy") else np.asarray(value)


def shown_names(names: list[str]) -> str:
    """Returns the first names in quotes, for an error message.

    >>> shown_names(["a", "b"])
    "'a', 'b'"
    """
    shown = ", ".join(map(repr, names[:SHOWN_NAMES]))
    return f"{shown} and {len(names) - SHOWN_NAMES} more" if names[SHOWN_NAMES:] else shown


def _named_values(source: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(source, str | os.PathLike):
        yield from _read_file(Path(source)).items()
    elif isinstance(source, nnx.Module):
        yield from _flatten(nnx.state(source, nnx.Param))
    elif callable(getattr(source, "state_dict", None)):
        yield from source.state_dict().items()
    elif isinstance(source, Mapping):
        yield from _flatten(source)
    else:
        raise ValueError(
            "weights must be a module, a mapping from names to arrays or the path of a safetensors "
            f"file, got a {type(source).__name__}; pass one of these"
        )


def _flatten(tree: Mapping[Any, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def _read_file(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of a safetensors file, bfloat16 included, which its NumPy reader lacks."""
    from safetensors import SafetensorError, deserialize

    if not path.is_file():
        found = "a directory" if path.is_dir() else "no file"
        raise ValueError(f"{path} must be a safetensors file, got {found}; change the path")
    try:
        entries = deserialize(path.read_bytes())
    except SafetensorError as error:
        raise ValueError(
            f"{path} must be a safetensors file, got {error}; write one with "
            "safetensors.torch.save_file or safetensors.numpy.save_file"
        ) from None
    arrays = {}
    for name, entry in entries:
        dtype = DTYPES.get(entry["dtype"])
        if dtype is None:
            raise ValueError(_dtype_message(name, entry["dtype"]))
        arrays[name] = np.frombuffer(entry["data"], jnp.dtype(dtype)).reshape(entry["shape"])
    return arrays


def _as_weights(name: str, value: Any) -> np.ndarray:
    array = as_numpy(value)
    if str(array.dtype) not in DTYPES.values():
        raise ValueError(_dtype_message(name, array.dtype))
    if not array.ndim or not array.size:
        raise ValueError(f"{name!r} must have values, got shape {array.shape}; check the weights")
    if not np.isfinite(array).all():
        raise ValueError(f"{name!r} must be finite, got NaN or infinity; check the training")
    return array


def _dtype_message(name: str, dtype: Any) -> str:
    *others, last = DTYPES.values()
    return f"{name!r} must be {', '.join(others)} or {last}, got {dtype}; cast it"
