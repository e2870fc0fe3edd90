"""Weights and states of the cells of Flax: linen and NNX.

Mapped are `SimpleCell`, `GRUCell`, `LSTMCell` and `OptimizedLSTMCell`, in `RNN` and `Bidirectional`
or without. Their gates are in rnnlab's order. `OptimizedLSTMCell` of NNX has its own layout of
weights, that of linen the layout of `LSTMCell`. The GRU of NNX has no bias b_hn.

>>> from rnnlab import GRU
>>> weights = state_dict(GRU(3, 4, rngs=nnx.Rngs(0)), "nnx")
>>> {name: x.shape for name, x in weights.items()}
{'0.dense_i.kernel': (3, 12), '0.dense_i.bias': (12,), '0.dense_h.kernel': (4, 12)}
>>> from flax import traverse_util
>>> cell = nnx.GRUCell(3, 4, rngs=nnx.Rngs(1))
>>> nnx.update(cell, traverse_util.unflatten_dict(weights, sep=".")["0"])
>>> bool((load(cell).layers[0].kernel[...] == weights["0.dense_i.kernel"]).all())
True
"""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from rnnlab.cells import GRU, LSTM, NNXCell, VanillaRNN
from rnnlab.interop.arrays import (
    common_dtype,
    matrix_shape,
    read_arrays,
    require_array_shape,
    require_names,
    require_numbers,
    shown_names,
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
from rnnlab.layers.bidirectional import MERGES
from rnnlab.validation import require_one_of

__all__ = ["carry", "load", "state_dict", "states"]

APIS = ("linen", "nnx")
DIRECTIONS = ("forward_rnn", "backward_rnn")
NNX_CELLS = ("SimpleCell", "GRUCell", "LSTMCell", "OptimizedLSTMCell")
GRU_GATES, LSTM_GATES = "rzn", "ifgo"
TANH, RELU = (jnp.tanh, jax.nn.tanh), (jax.nn.relu,)


def load(
    source: Any,
    *,
    activation: str = "tanh",
    merge: str = "concat",
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike | None = None,
    backend: str = "auto",
) -> Stack:
    """Returns a stack of cells with the weights of recurrent layers of Flax.

    Parameters do not show `gate_fn`, `activation_fn`, `residual` and `merge_fn` of a linen
    module: they must be the default ones, or be given by `activation` and `merge`.

    Args:
      source: one layer or a sequence of layers: modules of NNX (cells, `nnx.RNN`,
        `nnx.Bidirectional`) or parameters of linen or NNX, nested or with names joined by dots; or
        a mapping of several with the names of `state_dict`, or the path of a safetensors file.
      activation: `"tanh"` or `"relu"`, of a SimpleCell whose parameters are given.
      merge: `"concat"` or `"sum"`, of a Bidirectional whose parameters are given.
      dtype: dtype of the computation; None is `param_dtype`.
      param_dtype: dtype of the parameters; None is that of the weights.
      backend: backend of the cells.

    Raises:
      ValueError: a weight is missing, unknown, not finite or of another shape, or a layer has what
        rnnlab has not: other activations, `residual`, or an RNN with `reverse`.
    """
    require_one_of("merge", merge, MERGES)
    is_one = isinstance(source, str | os.PathLike | Mapping) or not isinstance(source, Sequence)
    layers: list[tuple[dict[str, dict[str, np.ndarray]], dict[str, str]]] = []
    for part in [source] if is_one else source:
        settings = {"": activation, "forward_rnn": activation, "backward_rnn": activation}
        if isinstance(part, nnx.Module):
            part = part.cell if isinstance(part, NNXCell) else part
            settings = _read_settings(part)
        layers += [(layer, settings) for layer in _by_layer(read_arrays(part))]
    arrays = {
        f"{_above(k, direction)}.{name}": x
        for k, (layer, _) in enumerate(layers)
        for direction, cell in layer.items()
        for name, x in cell.items()
    }
    return build_stack(
        [
            LayerWeights(
                *(
                    _to_cell(_above(k, d), layer[d], settings[d])
                    for d in ("", *DIRECTIONS)
                    if d in layer
                ),
                **({} if "" in layer else {"merge": merge}),
            )
            for k, (layer, settings) in enumerate(layers)
        ],
        param_dtype=param_dtype or common_dtype(arrays),
        dtype=dtype,
        backend=backend,
    )


def state_dict(
    stack: nnx.Module, api: str = "nnx", *, optimized: bool = True
) -> dict[str, np.ndarray]:
    """Returns the weights of a stack by the names of Flax, after the number of the layer.

    `flax.traverse_util.unflatten_dict(state_dict(stack), sep=".")["0"]` is the nested form of the
    first layer: of a cell, or of a Bidirectional of two RNNs. `nnx.update(cell, nested)` and
    `cell.apply({"params": nested}, carry, x)` read it.

    Args:
      stack: cells in one or both directions, or one cell.
      api: `"nnx"` or `"linen"`.
      optimized: whether an LSTM of NNX is an `OptimizedLSTMCell`, not an `LSTMCell`.

    Raises:
      ValueError: Flax has no layer like that.
    """
    require_one_of("api", api, APIS)
    found = {}
    for k, layer in enumerate(layers_of(stack)):
        directions = DIRECTIONS if isinstance(layer, Bidirectional) else ("",)
        for cell, direction in zip(cells_of(layer), directions, strict=True):
            require_cell(cell, (VanillaRNN, GRU, LSTM), "Flax")
            for name, x in _from_cell(cell, api, optimized).items():
                found[f"{_above(k, direction)}.{name}"] = np.ascontiguousarray(x)
    return found


def states(stack: nnx.Module, carry: Any) -> States:
    """Returns the states in a carry: `h` and `c`, each with one array per cell.

    The carry of a GRU of Flax is `h`, that of an LSTM `(c, h)`.

    Args:
      stack: the stack.
      carry: its carry, as a call returned it.

    Returns:
      Tuples of NumPy arrays (*batch, features); `c` is None if no cell is an LSTM.

    Raises:
      ValueError: the carry does not fit the stack.
    """
    return states_by_cell(stack, carry)


def _above(layer: int, direction: str) -> str:
    """Returns where a cell is: what the names of its weights begin with."""
    return f"{layer}.{direction}.cell" if direction else f"{layer}"


def _by_layer(arrays: Mapping[str, np.ndarray]) -> list[dict[str, dict[str, np.ndarray]]]:
    """Returns the weights of each layer, by direction ("" for one of a single cell) and name."""
    layers: dict[int, dict[str, dict[str, np.ndarray]]] = {}
    for path, x in arrays.items():
        parts = path.removeprefix("params.").split(".")
        number = int(parts.pop(0)) if parts[0].isdecimal() else 0
        direction = parts.pop(0) if parts[0] in DIRECTIONS else ""
        if parts[0] == "cell":
            parts.pop(0)
        name = ".".join(parts).replace("if_.", "if.")  # NNX avoids the keyword
        layers.setdefault(number, {}).setdefault(direction, {})[name] = x
    require_numbers(layers)
    for number, layer in layers.items():
        if layer.keys() not in ({""}, set(DIRECTIONS)):
            raise ValueError(
                f"layer {number} must be a cell or have the names {' and '.join(DIRECTIONS)}, got "
                f"{shown_names(sorted(set(arrays)))}; pass the parameters of each layer"
            )
    return [layers[number] for number in sorted(layers)]


def _read_settings(module: nnx.Module) -> dict[str, str]:
    """Returns the activation of each direction of a layer of NNX, after checking its settings."""
    if isinstance(module, nnx.Bidirectional):
        merged = module.merge_fn(np.zeros((1, 1)), np.ones((1, 1)))
        if np.shape(merged) != (1, 2) or merged[0, 0] != 0:
            raise ValueError(
                "merge_fn of nnx.Bidirectional must concatenate, got another function; load "
                "forward_rnn and backward_rnn on their own"
            )
        pair = module.forward_rnn, module.backward_rnn
        return {d: _read_settings(rnn)[""] for d, rnn in zip(DIRECTIONS, pair, strict=True)}
    if isinstance(module, nnx.RNN):
        if module.reverse:
            raise ValueError("reverse of nnx.RNN must be False, got True; use a Bidirectional")
        module = module.cell
    name = type(module).__name__
    if name not in NNX_CELLS:
        raise ValueError(
            f"layers of Flax must be {', '.join(NNX_CELLS)}, RNN or Bidirectional, got "
            f"{name}; pass only such layers"
        )
    if getattr(module, "residual", False):
        raise ValueError(
            "residual of SimpleCell must be False, got True; rnnlab has no cell with it"
        )
    functions = {"activation_fn": TANH + (RELU if name == "SimpleCell" else ())}
    if name != "SimpleCell":
        functions["gate_fn"] = (jax.nn.sigmoid,)
    for what, allowed in functions.items():
        found: Callable[..., Any] = getattr(module, what)
        if not any(found is function for function in allowed):
            names = " or ".join(dict.fromkeys(function.__name__ for function in allowed))
            raise ValueError(
                f"{what} of {name} must be {names}, got {getattr(found, '__name__', found)}; "
                "rnnlab has no cell with it"
            )
    return {"": "relu" if any(module.activation_fn is f for f in RELU) else "tanh"}


def _to_cell(above: str, weights: Mapping[str, np.ndarray], activation: str) -> CellWeights:
    for i, h in (("dense_i", "dense_h"), ("i", "h")):  # of NNX, and of a SimpleCell of linen
        if f"{i}.kernel" in weights:
            return _from_dense_layers(above, weights, activation, i, h)
    if {"if.kernel", "in.kernel"} <= weights.keys():
        raise ValueError("layers of Flax must not be MGUCell, got its weights; use a GRUCell")
    if "in.kernel" in weights:
        gates, with_bias = GRU_GATES, ("ir", "iz", "in", "hn")
    elif "ig.kernel" in weights:
        gates, with_bias = LSTM_GATES, ("hi", "hf", "hg", "ho")
    else:
        raise ValueError(
            f"weights of cell {above} must be those of {', '.join(NNX_CELLS)}, got "
            f"{shown_names(sorted(weights))}; pass the parameters of one such layer"
        )
    kind = "GRUCell" if gates == GRU_GATES else "LSTMCell"
    expected = {f"{side}{gate}.kernel" for side in "ih" for gate in gates}
    expected |= {f"{layer}.bias" for layer in with_bias}
    require_names(weights, expected, f"the {kind} {above} of Flax")
    first = f"i{gates[0]}.kernel"
    in_features, features = matrix_shape(f"{above}.{first}", weights[first])
    for name, x in weights.items():
        rows = in_features if name.startswith("i") else features
        shape = (features,) if name.endswith("bias") else (rows, features)
        require_array_shape(f"{above}.{name}", x, shape)

    def joined(side: str, part: str) -> np.ndarray:
        return np.concatenate([weights[f"{side}{gate}.{part}"] for gate in gates], -1)

    arrays = {"kernel": joined("i", "kernel"), "recurrent_kernel": joined("h", "kernel")}
    if gates == LSTM_GATES:
        return CellWeights(LSTM, arrays | {"bias": joined("h", "bias")})
    biases = {"bias": joined("i", "bias"), "candidate_bias": weights["hn.bias"]}
    return CellWeights(GRU, arrays | biases)


def _from_dense_layers(
    above: str, weights: Mapping[str, np.ndarray], activation: str, i: str, h: str
) -> CellWeights:
    """The cell with one dense layer for the inputs and one for the state, named `i` and `h`."""
    features = columns = 1
    if f"{h}.kernel" in weights:
        features, columns = matrix_shape(f"{above}.{h}.kernel", weights[f"{h}.kernel"])
    make = {1: VanillaRNN, 3: GRU, 4: LSTM}.get(columns // features)
    if make is None:
        raise ValueError(
            f"'{above}.{h}.kernel' must have shape (features, gates * features) with 1, 3 or 4 "
            f"gates, got {(features, columns)}; check the weights"
        )
    bias = f"{h if make is LSTM else i}.bias"
    require_names(weights, {f"{i}.kernel", f"{h}.kernel", bias}, f"cell {above} of Flax")
    kernel, recurrent = weights[f"{i}.kernel"], weights[f"{h}.kernel"]
    width = make.num_gates * features
    require_array_shape(f"{above}.{h}.kernel", recurrent, (features, width))
    require_array_shape(f"{above}.{i}.kernel", kernel, (kernel.shape[0], width))
    require_array_shape(f"{above}.{bias}", weights[bias], (width,))
    arrays = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": weights[bias]}
    if make is GRU:
        arrays["candidate_bias"] = np.zeros(features, kernel.dtype)
    return CellWeights(make, arrays, {"activation": activation} if make is VanillaRNN else {})


def _from_cell(cell: nnx.Module, api: str, optimized: bool) -> dict[str, np.ndarray]:
    weights = cell_arrays(cell)
    inputs, recurrent, bias = (weights[name] for name in ("kernel", "recurrent_kernel", "bias"))
    if isinstance(cell, GRU):
        if not cell.reset_after:
            raise ValueError(
                "reset_after must be True for Flax, got False: its GRU resets after the recurrent "
                "matmul; export to Keras, which has both"
            )
        if api == "nnx":
            reason = "nnx.GRUCell has no b_hn; pass api='linen'"
            require_zero("candidate_bias", weights["candidate_bias"], reason)
    dense_layers = api == "nnx" and (optimized or not isinstance(cell, LSTM))
    if dense_layers or isinstance(cell, VanillaRNN):
        i, h = ("dense_i", "dense_h") if dense_layers else ("i", "h")
        side = h if isinstance(cell, LSTM) else i
        return {f"{i}.kernel": inputs, f"{side}.bias": bias, f"{h}.kernel": recurrent}
    gates = GRU_GATES if isinstance(cell, GRU) else LSTM_GATES
    parts = (np.split(x, len(gates), axis=-1) for x in (inputs, recurrent, bias))
    found = {}
    for gate, kernel, state_kernel, gate_bias in zip(gates, *parts, strict=True):
        i = f"i{gate}_" if api == "nnx" and gate == "f" else f"i{gate}"
        side = i if isinstance(cell, GRU) else f"h{gate}"
        found |= {f"{i}.kernel": kernel, f"h{gate}.kernel": state_kernel, f"{side}.bias": gate_bias}
    if isinstance(cell, GRU):
        found["hn.bias"] = weights["candidate_bias"]
    return found
