"""Weights and states of Keras: `SimpleRNN`, `GRU`, `LSTM` and `Bidirectional` of them.

Keras names weights after layers that it counts per session, as in `gru_3/gru_cell/kernel`. Here the
layers of a stack are counted: `0.kernel`, or `1.forward.kernel` and `1.backward.kernel`.
`state_dict` has the weights in the order of `set_weights`. Keras's gates of a GRU are z, r, h,
those of an LSTM i, f, c, o.

In float64 the results of Keras have the precision of float32 where its operations cast to float32,
as they do on all backends but TensorFlow, and where a `Bidirectional` casts the outputs to its own
dtype.

>>> from rnnlab import stack_cells
>>> stack = stack_cells("gru", 3, 4, bidirectional=True, rngs=nnx.Rngs(0))
>>> weights = state_dict(stack)
>>> list(weights)[:3]
['0.forward.kernel', '0.forward.recurrent_kernel', '0.forward.bias']
>>> layer = load(weights).layers[0]
>>> bool((layer.forward.kernel[...] == stack.layers[0].forward.kernel[...]).all())
True
"""

import os
from collections.abc import Mapping, Sequence
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
from rnnlab.layers.bidirectional import MERGES
from rnnlab.validation import require_one_of

__all__ = ["carry", "load", "state_dict", "states"]

CELLS = {"SimpleRNNCell": VanillaRNN, "GRUCell": GRU, "LSTMCell": LSTM}
MAKES = {make.num_gates: make for make in CELLS.values()}
PARTS = ("kernel", "recurrent_kernel", "bias")
DIRECTIONS = ("forward", "backward")


def load(
    source: Any,
    *,
    activation: str = "tanh",
    reset_after: bool = True,
    merge: str = "concat",
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike | None = None,
    backend: str = "auto",
) -> Stack:
    """Returns a stack of cells with the weights of recurrent layers of Keras.

    The stack returns the outputs of all time steps, as `return_sequences=True` does. What a
    `Bidirectional` returns without it are the last states of both directions, see `states`.
    `dropout` of a layer is inactive in predictions and is not mapped.

    Args:
      source: a built layer of Keras, or a sequence of them; or their weights: a mapping with the
        names of `state_dict` or of Keras, `{w.path: w for w in layer.weights}`, in the order of the
        layers, or the path of a safetensors file with the names of `state_dict`.
      activation: `"tanh"` or `"relu"`, of a SimpleRNN whose weights are given without the layer.
      reset_after: of a GRU without biases whose weights are given without the layer; the biases
        show it otherwise.
      merge: `"concat"` or `"sum"`, of a Bidirectional whose weights are given without the layer.
      dtype: dtype of the computation; None is `param_dtype`.
      param_dtype: dtype of the parameters; None is that of the weights.
      backend: backend of the cells.

    Raises:
      ValueError: a weight is missing, unknown, not finite or of another shape, or a layer has what
        rnnlab has not: another activation or merge mode, `recurrent_dropout`, or `go_backwards`
        outside of a Bidirectional.
    """
    require_one_of("merge", merge, MERGES)
    options = {"activation": activation, "reset_after": reset_after}
    if isinstance(source, str | os.PathLike | Mapping):
        arrays = read_arrays(source)
        layers = [
            {d: (cell, options) for d, cell in layer.items()}
            for layer in _by_layer(arrays, is_file=not isinstance(source, Mapping))
        ]
        merges = [merge] * len(layers)
    else:
        listed = list(source) if isinstance(source, Sequence) else [source]
        layers, merges = map(list, zip(*map(_read_layer, listed), strict=True))
        arrays = {
            f"{_above(k, direction)}.{name}": x
            for k, layer in enumerate(layers)
            for direction, (cell, _) in layer.items()
            for name, x in cell.items()
        }
    return build_stack(
        [
            LayerWeights(
                *(_to_cell(_above(k, d), *layer[d]) for d in ("", *DIRECTIONS) if d in layer),
                **({} if "" in layer else {"merge": merge}),
            )
            for k, (layer, merge) in enumerate(zip(layers, merges, strict=True))
        ],
        param_dtype=param_dtype or common_dtype(arrays),
        dtype=dtype,
        backend=backend,
    )


def state_dict(stack: nnx.Module, *, bias: bool = True) -> dict[str, np.ndarray]:
    """Returns the weights of a stack for Keras, in the dtype of its parameters.

    `model.set_weights(list(state_dict(stack).values()))` reads them, where the layers of the model
    are those of the stack: with `reset_after` and `activation` of its cells, `merge_mode` of its
    `Bidirectional`, and built for its `in_features`.

    Args:
      stack: cells in one or both directions, or one cell.
      bias: whether the layers of Keras have biases. Without them those of the stack must be 0.

    Raises:
      ValueError: Keras has no layer like that.
    """
    found = {}
    for k, layer in enumerate(layers_of(stack)):
        directions = DIRECTIONS if isinstance(layer, Bidirectional) else ("",)
        for cell, direction in zip(cells_of(layer), directions, strict=True):
            require_cell(cell, MAKES.values(), "Keras")
            weights = _from_cell(cell)
            if not bias:
                reason = "use_bias=False has none; pass bias=True"
                require_zero("bias", weights.pop("bias"), reason)
            found |= {f"{_above(k, direction)}.{name}": x for name, x in weights.items()}
    return found


def states(stack: nnx.Module, carry: Any) -> States:
    """Returns the states in a carry: `h` and `c`, each with one array per cell.

    An LSTM of Keras takes `initial_state=[h, c]`, a Bidirectional the forward cell's states and
    then those of the backward cell.

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
    return f"{layer}.{direction}" if direction else f"{layer}"


def _by_layer(
    arrays: Mapping[str, np.ndarray], *, is_file: bool
) -> list[dict[str, dict[str, np.ndarray]]]:
    """Returns the weights of each layer, by direction ("" for one of a single cell) and name."""
    layers: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for path, x in arrays.items():
        *above, name = path.replace("/", ".").split(".")
        if above and above[-1].endswith("_cell"):
            above.pop()
        direction = next((d for d in DIRECTIONS if above and above[-1].startswith(d)), "")
        layer = ".".join(above[:-1] if direction else above)
        layers.setdefault(layer, {}).setdefault(direction, {})[name] = x
    if all(name.isdecimal() for name in layers):
        require_numbers({int(name) for name in layers})
        layers = dict(sorted(layers.items(), key=lambda item: int(item[0])))
    elif is_file and len(layers) > 1:  # whose names have no order
        raise ValueError(
            "names of several layers in a file must start with their numbers, as in '0.kernel', "
            f"got {min(arrays)!r}; rename them"
        )
    for name, layer in layers.items():
        if layer.keys() not in ({""}, set(DIRECTIONS)):
            found = next(d for d in (*DIRECTIONS, "") if d in layer)
            raise ValueError(
                f"layer {name!r} must have a forward and a backward cell, got only the "
                f"{found or 'names of a single'} one; add the other"
            )
    return list(layers.values())


def _read_layer(layer: Any) -> tuple[dict[str, Any], str]:
    """Returns the weights and settings of a layer of Keras by direction, and how it merges."""
    if not hasattr(layer, "forward_layer"):
        if getattr(layer, "go_backwards", False):
            raise ValueError(
                f"go_backwards of layer {layer.name!r} must be False, got True: it reverses the "
                "outputs; pass the layer without it and reverse the inputs"
            )
        return {"": _read_cell(layer)}, "concat"
    merge = {"concat": "concat", "sum": "sum"}.get(layer.merge_mode)
    if merge is None:
        raise ValueError(
            f"merge_mode of layer {layer.name!r} must be 'concat' or 'sum', got "
            f"{layer.merge_mode!r}; load forward_layer and backward_layer on their own"
        )
    if layer.forward_layer.go_backwards:
        raise ValueError(
            f"go_backwards of the forward layer of {layer.name!r} must be False, got True; "
            "exchange the layers"
        )
    pair = layer.forward_layer, layer.backward_layer
    return {d: _read_cell(part) for d, part in zip(DIRECTIONS, pair, strict=True)}, merge


def _read_cell(layer: Any) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    cell = getattr(layer, "cell", None)
    kind = type(cell).__name__
    if kind not in CELLS:
        found = type(layer).__name__ + ("" if cell is None else f" with a {kind}")
        raise ValueError(
            "layers of Keras must be SimpleRNN, GRU, LSTM or a Bidirectional of one, got "
            f"{found}; pass only such layers"
        )
    config = cell.get_config()
    allowed = {
        "activation": ("tanh", "relu") if kind == "SimpleRNNCell" else ("tanh",),
        "recurrent_activation": ("sigmoid",),
        "recurrent_dropout": (0,),
    }
    for name, values in allowed.items():
        if name in config and config[name] not in values:
            *others, last = map(repr, values)
            advice = "rnnlab has no cell with it"
            if name == "recurrent_dropout":
                advice = (
                    "predictions do not depend on it: to load them, pass the weights, "
                    "{w.path: w for w in layer.weights}"
                )
            raise ValueError(
                f"{name} of layer {layer.name!r} must be {' or '.join([*others, last])}, got "
                f"{config[name]!r}; {advice}"
            )
    if not cell.built:
        raise ValueError(f"layer {layer.name!r} must be built, got no weights; call it once")
    arrays = read_arrays({w.path: w for w in cell.weights})
    return {path.rpartition("/")[2]: x for path, x in arrays.items()}, config


def _to_cell(
    name: str, weights: Mapping[str, np.ndarray], config: Mapping[str, Any]
) -> CellWeights:
    expected = set(PARTS) if "bias" in weights else set(PARTS[:2])
    require_names(weights, expected, f"cell {name} of Keras")
    kernel, recurrent = weights["kernel"], weights["recurrent_kernel"]
    features, columns = matrix_shape(f"{name}.recurrent_kernel", recurrent)
    make = MAKES.get(columns // features)
    if make is None:
        raise ValueError(
            f"'{name}.recurrent_kernel' must have shape (features, gates * features) with "
            f"1, 3 or 4 gates, got {recurrent.shape}; check the weights"
        )
    width = make.num_gates * features
    require_array_shape(f"{name}.recurrent_kernel", recurrent, (features, width))
    require_array_shape(f"{name}.kernel", kernel, (kernel.shape[0], width))
    bias = weights.get("bias")
    if bias is not None and bias.shape == (2 * width,):
        raise ValueError(
            f"'{name}.bias' must not be that of a CuDNN layer of Keras 2, got shape "
            f"{bias.shape}; load it into a {make.__name__} of Keras first"
        )
    if make is not GRU:
        bias = np.zeros(width, kernel.dtype) if bias is None else bias
        require_array_shape(f"{name}.bias", bias, (width,))
        options = {"activation": config["activation"]} if make is VanillaRNN else {}
        arrays = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": bias}
        return CellWeights(make, arrays, options)
    reset_after = config["reset_after"] if bias is None else bias.ndim == 2
    if bias is None:
        bias = np.zeros((2, width) if reset_after else width, kernel.dtype)
    require_array_shape(f"{name}.bias", bias, (2, width) if reset_after else (width,))
    kernel, recurrent, bias = map(_swap_first_gates, (kernel, recurrent, bias))
    candidate_bias = np.zeros(features, bias.dtype)
    if reset_after:
        candidate_bias = bias[1, 2 * features :]
        bias = np.concatenate([bias.sum(0)[: 2 * features], bias[0, 2 * features :]])
    arrays = {
        "kernel": kernel,
        "recurrent_kernel": recurrent,
        "bias": bias,
        "candidate_bias": candidate_bias,
    }
    return CellWeights(GRU, arrays, {"reset_after": reset_after})


def _from_cell(cell: nnx.Module) -> dict[str, np.ndarray]:
    weights = cell_arrays(cell)
    if isinstance(cell, GRU):
        candidate_bias = weights["candidate_bias"]
        bias = weights["bias"].copy()
        if cell.reset_after:
            zeros = np.zeros(2 * cell.features, bias.dtype)
            bias = np.stack([bias, np.concatenate([zeros, candidate_bias])])
        else:  # n = tanh(x W + b_n + (r * h) U + b_hn): one bias
            bias[2 * cell.features :] += candidate_bias
        weights |= {"bias": bias}
        weights = {name: _swap_first_gates(weights[name]) for name in PARTS}
    return {name: np.ascontiguousarray(weights[name]) for name in PARTS}


def _swap_first_gates(x: np.ndarray) -> np.ndarray:
    """Exchanges the first two of three gates: z, r, h of Keras and r, z, n of rnnlab."""
    first, second, third = np.split(x, 3, axis=-1)
    return np.concatenate([second, first, third], axis=-1)
