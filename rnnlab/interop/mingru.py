"""Weights and states of minGRU and minLSTM in PyTorch.

There are two sources: lucidrains' package `minGRU-pytorch`, whose cells have no biases, and the
repository of the paper, BorealisAI/minRNNs, whose cells have biases, a projection and perhaps a
learned initial state. Both compute in log space what rnnlab computes in real space.

The projection `to_out` becomes an `rnnlab.layers.Projection` behind the cell. The paper's initial
state is g of its parameter `init_hidden_state`; that of rnnlab is the state itself.

Continue a sequence with the state itself, as `states` returns it. (In version 0.2.1 of the package
minLSTM applies g to `prev_hidden` once more where the sequence has several time steps.)

>>> import numpy as np
>>> weights = {"to_hidden_and_gate.weight": np.ones((12, 4), "float32")}
>>> weights["to_out.weight"] = np.ones((4, 6), "float32")
>>> stack = load(weights)
>>> [type(layer).__name__ for layer in stack.layers]
['MinGRU', 'Projection']
>>> list(state_dict(stack)) == list(weights)
True
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from rnnlab.cells import MinGRU, MinLSTM
from rnnlab.interop.arrays import (
    common_dtype,
    matrix_shape,
    read_arrays,
    require_array_shape,
    require_names,
    shown_names,
)
from rnnlab.interop.layers import (
    CellWeights,
    LayerWeights,
    States,
    build_stack,
    carry,
    cell_arrays,
    layers_of,
    require_cell,
    require_zero,
    states_by_cell,
)
from rnnlab.layers import Stack
from rnnlab.layers.projection import Projection
from rnnlab.validation import require_one_of

__all__ = ["carry", "load", "state_dict", "states"]

REPOSITORIES = ("lucidrains", "paper")
# What the rows of the joint matrix are, in their order.
ROWS = {MinGRU: ("candidate", "update"), MinLSTM: ("candidate", "forget", "input")}
JOINT, JOINT_OF_LSTM = "to_hidden_and_gate", "to_hidden_and_f_i_gate"


def load(
    source: Any,
    *,
    normalize: bool | None = None,
    prefix: str = "",
    dtype: DTypeLike | None = None,
    param_dtype: DTypeLike | None = None,
    backend: str = "auto",
) -> Stack:
    """Returns a stack of one minimal cell and, where the module has `to_out`, its projection.

    Args:
      source: a `minGRU` or `minLSTM` of either repository, its state dict, or the path of a
        safetensors file; also a model that contains one, with `prefix`.
      normalize: whether a minLSTM divides its gates by their sum; None: as the module does, and as
        minLSTM of the package does. It must be given for weights of the paper's minLSTM, which do
        not show its `use_coeff_norm`.
      prefix: where the cell is, such as `"layers.0.2"` for the first one of a language model.
      dtype: dtype of the computation; None is `param_dtype`.
      param_dtype: dtype of the parameters; None is that of the weights.
      backend: backend of the scan.

    Raises:
      ValueError: a weight is missing, unknown, not finite or of another shape, or normalize is not
        known.
    """
    module = source
    if prefix and hasattr(source, "get_submodule"):
        module = source.get_submodule(prefix.rstrip("."))
    arrays = read_arrays(source, prefix)
    joint = next((name for name in (JOINT, JOINT_OF_LSTM) if f"{name}.weight" in arrays), None)
    if joint is None:
        advice = "pass the weights of one cell"
        if any(name.partition(".")[0] in ("layers", "token_emb") for name in arrays):
            advice = (
                "the blocks of a whole model differ from rnnlab.Block in GELU and norm: load each "
                "cell with a prefix such as 'layers.0.2'"
            )
        raise ValueError(
            f"weights must have '{JOINT}.weight' or '{JOINT_OF_LSTM}.weight', got "
            f"{shown_names(sorted(arrays))}; {advice}"
        )
    has_projection = "to_out.weight" in arrays
    rows, in_features = matrix_shape(f"{joint}.weight", arrays[f"{joint}.weight"])
    parts = 3 if joint == JOINT_OF_LSTM else 2
    features = arrays["to_out.weight"].shape[-1] if has_projection else rows // parts
    make = MinLSTM if rows == 3 * features else MinGRU
    names = {f"{joint}.weight", *(["to_out.weight"] if has_projection else [])}
    optional = {f"{joint}.bias", "init_hidden_state", *(["to_out.bias"] if has_projection else [])}
    require_names(arrays, names | (optional & arrays.keys()), f"a {make.__name__} of torch")
    shapes = {
        f"{joint}.weight": (len(ROWS[make]) * features, in_features),
        f"{joint}.bias": (len(ROWS[make]) * features,),
        "to_out.weight": (in_features, features),
        "to_out.bias": (in_features,),
        "init_hidden_state": (features,),
    }
    for name, x in arrays.items():
        require_array_shape(name, x, shapes[name])
    options: dict[str, Any] = {}
    if make is MinLSTM:
        options["normalize"] = _normalize(normalize, module, f"{joint}.bias" in arrays)
    elif normalize is not None:
        raise ValueError(f"normalize must be None for a minGRU, got {normalize}; omit it")
    cell = _to_cell(arrays, joint, make, options)
    build = {"param_dtype": param_dtype or common_dtype(arrays), "dtype": dtype}
    stack = build_stack([LayerWeights(cell)], backend=backend, **build)
    if not has_projection:
        return stack
    kernel = arrays["to_out.weight"].T
    bias = arrays.get("to_out.bias", np.zeros(in_features, kernel.dtype))
    projection = CellWeights(Projection, {"kernel": kernel, "bias": bias})
    return Stack([*stack.layers, projection.build(**build)])


def state_dict(stack: nnx.Module, repository: str = "lucidrains") -> dict[str, np.ndarray]:
    """Returns the weights of a cell, and of a projection behind it, by the names of a repository.

    Args:
      stack: a MinGRU or MinLSTM with the paper's candidate, with an `rnnlab.layers.Projection`
        behind it or not; or a cell.
      repository: `"lucidrains"`, whose cells have no biases and no initial state, and whose minLSTM
        normalizes its gates; or `"paper"`, whose module must have `use_coeff_norm` as the cell has
        `normalize`, and `use_init_hidden_state` as it has `learn_initial_state`.

    Raises:
      ValueError: the repository has no cell like that.
    """
    require_one_of("repository", repository, REPOSITORIES)
    cell, *behind = layers_of(stack)
    require_cell(cell, ROWS, "the repository of minGRU")
    if len(behind) > 1 or any(type(layer) is not Projection for layer in behind):
        found = ", ".join(type(layer).__name__ for layer in behind)
        raise ValueError(
            f"layers behind the cell must be one Projection or none, got {found}; export each cell "
            "on its own"
        )
    for name, wanted in {"candidate": "positive", "decay_range": (0, 1)}.items():
        if getattr(cell, name) != wanted:
            raise ValueError(
                f"{name} must be {wanted!r} for minGRU in torch, got {getattr(cell, name)!r}; "
                "train with it"
            )
    if behind and behind[0].features != cell.in_features:
        raise ValueError(
            f"the Projection must have features {cell.in_features}, as the inputs, got "
            f"{behind[0].features}; train with such a one"
        )
    weights = cell_arrays(cell)
    projection = cell_arrays(behind[0]) if behind else None
    rows = ROWS[type(cell)]
    kernel, bias = (
        np.concatenate([weights[f"{name}_{part}"] for name in rows], -1)
        for part in ("kernel", "bias")
    )
    if repository == "lucidrains":
        return _for_lucidrains(cell, kernel.T, bias, projection)
    if projection is None:
        if cell.features != cell.in_features:
            raise ValueError(
                "stack must have a Projection behind the cell for the paper's repository, got a "
                "cell of other width than its inputs; add one"
            )
        identity = np.eye(cell.features, dtype=bias.dtype)
        projection = {"kernel": identity, "bias": np.zeros_like(identity[0])}
    found = {
        f"{JOINT}.weight": np.ascontiguousarray(kernel.T),
        f"{JOINT}.bias": bias,
        "to_out.weight": np.ascontiguousarray(projection["kernel"].T),
        "to_out.bias": projection["bias"],
    }
    if cell.learn_initial_state:
        found["init_hidden_state"] = _inverse_g(weights["carry"])
    return found


def states(stack: nnx.Module, carry: Any) -> States:
    """Returns the state in a carry: `h` with one array (*batch, features), and None for `c`.

    Both repositories keep an axis of time: `prev_hidden` is `h[0][:, None]` for one batch axis. The
    paper's `prev_state` is the pair of it and its logarithm.

    Args:
      stack: the stack.
      carry: its carry, as a call returned it.

    Raises:
      ValueError: the carry does not fit the stack.
    """
    return states_by_cell(stack, carry)


def _normalize(normalize: bool | None, module: Any, has_bias: bool) -> bool:
    known = getattr(module, "use_coeff_norm", None if has_bias else True)
    if normalize is None and known is None:
        raise ValueError(
            "normalize must be given for weights of the paper's minLSTM, got None: they do not "
            "show its use_coeff_norm; pass normalize=True or normalize=False"
        )
    if None not in (normalize, known) and normalize != known:
        raise ValueError(f"normalize must be {known}, that of the module, got {normalize}; omit it")
    return known if normalize is None else normalize


def _to_cell(
    arrays: Mapping[str, np.ndarray], joint: str, make: type[nnx.Module], options: dict[str, Any]
) -> CellWeights:
    weight = arrays[f"{joint}.weight"]
    bias = arrays.get(f"{joint}.bias", np.zeros(len(weight), weight.dtype))
    found = {}
    names, count = ROWS[make], len(ROWS[make])
    kernels, biases = np.split(weight.T, count, axis=-1), np.split(bias, count)
    for name, kernel, part in zip(names, kernels, biases, strict=True):
        found |= {f"{name}_kernel": kernel, f"{name}_bias": part}
    if "init_hidden_state" in arrays:
        found["carry"] = _g(arrays["init_hidden_state"])
        options = options | {"learn_initial_state": True}
    return CellWeights(make, found, options)


def _for_lucidrains(
    cell: nnx.Module,
    weight: np.ndarray,
    bias: np.ndarray,
    projection: Mapping[str, np.ndarray] | None,
) -> dict[str, np.ndarray]:
    advice = "lucidrains' cells have none; pass repository='paper'"
    require_zero("biases of the cell", bias, advice)
    for name in ("learn_initial_state", "normalize"):
        wanted = name == "normalize"
        if getattr(cell, name, wanted) != wanted:
            raise ValueError(
                f"{name} must be {wanted} for lucidrains, got {not wanted}; pass repository='paper'"
            )
    joint = JOINT_OF_LSTM if isinstance(cell, MinLSTM) else JOINT
    found = {f"{joint}.weight": np.ascontiguousarray(weight)}
    if projection is not None:
        require_zero("bias of the Projection", projection["bias"], advice)
        found["to_out.weight"] = np.ascontiguousarray(projection["kernel"].T)
    return found


def _g(w: np.ndarray) -> np.ndarray:
    """Returns the paper's g of an array in its dtype: `w + 0.5` for w >= 0, else `sigmoid(w)`."""
    wide = w.astype(np.longdouble)
    small = np.exp(-np.logaddexp(0, -np.minimum(wide, 0)))
    return np.where(wide >= 0, wide + 0.5, small).astype(w.dtype)


def _inverse_g(h: np.ndarray) -> np.ndarray:
    """Returns the array of which g is `h`."""
    if not (h > 0).all():
        raise ValueError(
            "the learned initial state must be > 0, a value of g, for the paper's repository, got "
            f"{float(h.min()):.3g}; train from a positive one"
        )
    wide = h.astype(np.longdouble)
    low = np.minimum(wide, 0.5)
    return np.where(wide >= 0.5, wide - 0.5, np.log(low) - np.log1p(-low)).astype(h.dtype)
