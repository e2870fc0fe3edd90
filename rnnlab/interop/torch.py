"""Weights and states of `torch.nn.RNN`, `torch.nn.GRU` and `torch.nn.LSTM`.

torch keeps two biases per gate. Where it adds them, rnnlab has their sum, and `state_dict` returns
0 for `bias_hh`. torch's gates are in rnnlab's order: r, z, n and i, f, g, o.

>>> import numpy as np
>>> rng = np.random.default_rng(0)
>>> shapes = {"weight_ih_l0": (12, 3), "weight_hh_l0": (12, 4), "bias_ih_l0": (12,)}
>>> shapes["bias_hh_l0"] = (12,)
>>> weights = {name: rng.normal(size=shape).astype("float32") for name, shape in shapes.items()}
>>> stack = load(weights)
>>> type(stack.layers[0]).__name__, stack.in_features, stack.features
('GRU', 3, 4)
>>> bool((state_dict(stack)["weight_ih_l0"] == weights["weight_ih_l0"]).all())
True
"""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from rnnlab.cells import GRU, LSTM, VanillaRNN
from rnnlab.interop.arrays import (
    common_dtype,
    matrix_shape,
    read_arrays,
    require_array_shape,
    require_names,
    require_numbers,
)
from rnnlab.interop.layers import (
    CellWeights,
    LayerWeights,
    States,
    build_stack,
    carry,
    cell_arrays,
    cells_of,
    layers_of,
    require_cell,
    require_zero,
    states_by_cell,
)
from rnnlab.layers import Bidirectional, Stack
from rnnlab.validation import require_one_of

__all__ = ["carry", "load", "state_dict", "states"]

KINDS = {"RNN": VanillaRNN, "GRU": GRU, "LSTM": LSTM}
PARTS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
NAME = re.compile(rf"({'|'.join(PARTS)})_l(\d+)(_reverse)?")


def load(
    source: Any,
    kind: str | None = None,
    *,
    nonlinearity: str | None = None,
    prefix: str = "",
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike | None = None,
    backend: str = "auto",
) -> Stack:
    """Returns a stack of cells with the weights of a recurrent layer of torch.

    Each layer is a cell, or an `rnnlab.Bidirectional` of two. `batch_first` does not matter: inputs
    of rnnlab are (*batch, time, features). Dropout between layers is inactive in predictions and is
    not mapped.

    Args:
      source: a `torch.nn.RNN`, `GRU` or `LSTM`, its state dict, or the path of a safetensors file;
        also a module that contains one, with `prefix`.
      kind: `"RNN"`, `"GRU"` or `"LSTM"`; None: as the weights have it.
      nonlinearity: `"tanh"` or `"relu"`, of an RNN; None: the module's, or `"tanh"`.
      prefix: where the layer is, such as `"encoder.rnn"`.
      dtype: dtype of the computation; None is `param_dtype`.
      param_dtype: dtype of the parameters; None is that of the weights.
      backend: backend of the cells.

    Raises:
      ValueError: a weight is missing, unknown, not finite or of another shape, or the layer has
        what rnnlab has not: `proj_size`.
    """
    module = _module(source, prefix)
    if getattr(module, "proj_size", 0):
        raise ValueError(_projection_message(module.proj_size))
    arrays = read_arrays(source, prefix)
    if arrays.keys() == set(PARTS) or arrays.keys() == set(PARTS[:2]):  # of torch.nn.GRUCell
        arrays = {f"{name}_l0": x for name, x in arrays.items()}
    layers, directions = _sizes(arrays, prefix)
    kind = _kind(arrays["weight_hh_l0"], kind)
    known = getattr(module, "nonlinearity", None) if kind == "RNN" else None
    if nonlinearity is not None and (kind != "RNN" or known not in (None, nonlinearity)):
        raise ValueError(
            f"nonlinearity must be {known!r}, that of the torch {kind}, got {nonlinearity!r}; "
            "omit it"
        )
    options = {"activation": nonlinearity or known or "tanh"} if kind == "RNN" else {}
    suffixes = [
        [f"_l{k}{reverse}" for reverse in ("", "_reverse")[:directions]] for k in range(layers)
    ]
    require_names(arrays, _expected_names(suffixes, arrays), f"a torch {kind}")
    _require_shapes(arrays, suffixes, KINDS[kind].num_gates)
    return build_stack(
        [
            LayerWeights(*(_to_cell(arrays, suffix, kind, options) for suffix in pair))
            for pair in suffixes
        ],
        param_dtype=param_dtype or common_dtype(arrays),
        dtype=dtype,
        backend=backend,
    )


def state_dict(stack: nnx.Module, *, bias: bool = True) -> dict[str, np.ndarray]:
    """Returns the weights of a stack by the names of torch, in the dtype of its parameters.

    `module.load_state_dict({name: torch.tensor(x) for name, x in state_dict(stack).items()})` reads
    them. `safetensors.numpy.save_file(state_dict(stack), path)` writes them to a file.

    Args:
      stack: cells of one class and width, all layers in one or all in both directions; or one cell.
      bias: whether the module of torch has biases. Without them those of the stack must be 0.

    Raises:
      ValueError: torch has no layer like that.
    """
    layers = layers_of(stack)
    cells = [cell for layer in layers for cell in cells_of(layer)]
    for cell in cells:
        require_cell(cell, KINDS.values(), "torch")
    for what, found in {
        "cells": {type(cell).__name__ for cell in cells},
        "widths of cells": {cell.features for cell in cells},
        "activations": {getattr(cell, "activation", "tanh") for cell in cells},
        "numbers of directions": {len(cells_of(layer)) for layer in layers},
    }.items():
        if len(found) > 1:
            raise ValueError(
                f"{what} must be the same in all layers of torch, got "
                f"{', '.join(map(str, sorted(found)))}; export each layer on its own"
            )
    if any(isinstance(layer, Bidirectional) and layer.merge != "concat" for layer in layers):
        raise ValueError("merge must be 'concat' for torch, got 'sum'; add the outputs in torch")
    found = {}
    for k, layer in enumerate(layers):
        for cell, reverse in zip(cells_of(layer), ("", "_reverse"), strict=False):
            weights = _from_cell(cell, bias)
            found |= {f"{name}_l{k}{reverse}": x for name, x in weights.items()}
    return found


def states(stack: nnx.Module, carry: Any) -> States:
    """Returns the states in a carry as torch has them: `h` and, for an LSTM, `c`.

    Args:
      stack: the stack.
      carry: its carry, as a call returned it.

    Returns:
      NumPy arrays (layers * directions, *batch, features); `c` is None without LSTMs.

    Raises:
      ValueError: the carry does not fit the stack.
    """
    h, c = states_by_cell(stack, carry)
    return States(np.stack(h), None if c is None else np.stack(c))


def _module(source: Any, prefix: str) -> Any:
    """Returns the recurrent layer if the source is a module of torch, to read its settings."""
    if not prefix or not hasattr(source, "get_submodule"):
        return source
    try:
        return source.get_submodule(prefix.rstrip("."))
    except AttributeError:  # a prefix of names that is not a module
        return source


def _sizes(arrays: Mapping[str, np.ndarray], prefix: str) -> tuple[int, int]:
    """Returns the numbers of layers and directions, by the names."""
    if "weight_hh_l0" not in arrays:
        inner = next((name for name in arrays if name.endswith(".weight_hh_l0")), None)
        advice = "pass the weights of an RNN, a GRU or an LSTM"
        if inner is not None:
            advice = f"pass prefix={prefix + inner.removesuffix('.weight_hh_l0')!r}"
        raise ValueError(
            f"weights must have the name 'weight_hh_l0', got {next(iter(arrays))!r}; {advice}"
        )
    if projection := [name for name in arrays if name.startswith("weight_hr_")]:
        raise ValueError(_projection_message(arrays[projection[0]].shape[0]))
    matches = [match for match in map(NAME.fullmatch, arrays) if match]
    numbers = {int(match[2]) for match in matches}
    require_numbers(numbers)
    return len(numbers), 1 + any(match[3] for match in matches)


def _projection_message(size: int) -> str:
    return f"proj_size must be 0, got {size}: rnnlab's LSTM has no projection; use a plain LSTM"


def _kind(recurrent: np.ndarray, kind: str | None) -> str:
    """Returns the kind of layer, of which the number of gates is read from a recurrent matrix."""
    if kind is not None:
        require_one_of("kind", kind, KINDS)
        return kind
    rows, features = matrix_shape("weight_hh_l0", recurrent)
    for name, make in KINDS.items():
        if rows == make.num_gates * features:
            return name
    raise ValueError(
        "'weight_hh_l0' must have shape (gates * features, features) with 1, 3 or 4 gates, got "
        f"{recurrent.shape}; check the weights"
    )


def _expected_names(suffixes: list[list[str]], arrays: Mapping[str, np.ndarray]) -> set[str]:
    has_bias = any(name.startswith("bias_") for name in arrays)
    parts = PARTS if has_bias else PARTS[:2]
    return {part + suffix for pair in suffixes for suffix in pair for part in parts}


def _require_shapes(
    arrays: Mapping[str, np.ndarray], suffixes: list[list[str]], gates: int
) -> None:
    features = matrix_shape("weight_hh_l0", arrays["weight_hh_l0"])[1]
    in_features = matrix_shape("weight_ih_l0", arrays["weight_ih_l0"])[1]
    for pair in suffixes:
        for suffix in pair:
            shapes = {
                "weight_ih": (gates * features, in_features),
                "weight_hh": (gates * features, features),
                "bias_ih": (gates * features,),
                "bias_hh": (gates * features,),
            }
            for part, shape in shapes.items():
                if part + suffix in arrays:
                    require_array_shape(part + suffix, arrays[part + suffix], shape)
        in_features = len(pair) * features


def _to_cell(
    arrays: Mapping[str, np.ndarray], suffix: str, kind: str, options: Mapping[str, Any]
) -> CellWeights:
    w_ih, w_hh = arrays["weight_ih" + suffix], arrays["weight_hh" + suffix]
    zeros = np.zeros(len(w_ih), w_ih.dtype)
    b_ih, b_hh = (arrays.get(part + suffix, zeros) for part in PARTS[2:])
    weights = {"kernel": w_ih.T, "recurrent_kernel": w_hh.T, "bias": b_ih + b_hh}
    if kind == "GRU":
        summed = 2 * w_hh.shape[1]  # of r and z
        weights["bias"] = np.concatenate([(b_ih + b_hh)[:summed], b_ih[summed:]])
        weights["candidate_bias"] = b_hh[summed:]
    return CellWeights(KINDS[kind], weights, options)


def _from_cell(cell: nnx.Module, bias: bool) -> dict[str, np.ndarray]:
    if isinstance(cell, GRU) and not cell.reset_after:
        raise ValueError(
            "reset_after must be True for torch, got False: its GRU resets after the recurrent "
            "matmul; export to Keras, which has both"
        )
    weights = cell_arrays(cell)
    b_hh = np.zeros_like(weights["bias"])
    if isinstance(cell, GRU):
        b_hh[2 * cell.features :] = weights["candidate_bias"]
    found = {
        "weight_ih": np.ascontiguousarray(weights["kernel"].T),
        "weight_hh": np.ascontiguousarray(weights["recurrent_kernel"].T),
        "bias_ih": weights["bias"],
        "bias_hh": b_hh,
    }
    if bias:
        return found
    for name in PARTS[2:]:
        require_zero(name, found.pop(name), "torch's bias=False has none; pass bias=True")
    return found
