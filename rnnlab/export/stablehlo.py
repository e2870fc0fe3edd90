"""Models as StableHLO files, the programs that JAX traces, by `jax.export`.

A file is one function from a dictionary of arrays to a dictionary of arrays, for CPU, CUDA and TPU,
with the parameters as constants. Reading it needs jax and flatbuffers, neither rnnlab nor Flax:

    run = jax.export.deserialize(content).call
    results = run({"inputs": ids, "carry.0": state})

JAX reads files of up to six months before its own release. ONNX files have no limit in time.
"""

from collections.abc import Callable, Collection, Mapping

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, export

from rnnlab.export.named_call import NamedCall, named_call
from rnnlab.export.names import BATCH, CARRY, INPUTS, MASK, OUTPUTS, TIME, Form, input_fields
from rnnlab.optional import require_module

PLATFORMS = ("cpu", "cuda", "tpu")
"""The platforms of a file, by JAX's names."""

SIZES = f"{BATCH}, {TIME}_plus_1 - 1"
"""The free sizes. JAX's start at 1: the length is one less than such a size, and may be 0."""


def write(module: nnx.Module, form: Form, flags: Collection[str] = ()) -> bytes:
    """Returns a module as the content of a StableHLO file, serialized by `jax.export`.

    The file computes what the module computes in evaluation mode, for any batch size of at least 1
    and any length. Its inputs and outputs are those of `rnnlab.export.names`, as dictionaries. Its
    program has no kernel of one device: where the length is free, a scan is a loop on CPU and
    `log2(length)` passes elsewhere.

    Args:
      module: a cell, layer, stack or model.
      form: "step" or "sequence".
      flags: which of "reset" and "mask" are inputs.

    Raises:
      ValueError: a cell has the backend "cudnn", a model with `Bidirectional` has no step, or the
        package flatbuffers is not installed.

    >>> from rnnlab import MinGRU
    >>> content = write(MinGRU(3, 8, rngs=nnx.Rngs(0)), "step")
    >>> print(export.deserialize(bytearray(content)).platforms)
    ('cpu', 'cuda', 'tpu')
    """
    require_module("flatbuffers", "stablehlo")
    _require_portable(module)
    sizes = dict(zip((BATCH, TIME), export.symbolic_shape(SIZES), strict=True))
    inputs = {
        field.name: jax.ShapeDtypeStruct(
            tuple(sizes.get(size, size) for size in field.shape), field.dtype
        )
        for field in input_fields(module, form, flags)
    }
    call = named_call(module, form)
    call = call if form == "step" else _pad(call)
    return bytes(export.export(jax.jit(call), platforms=PLATFORMS)(inputs).serialize())


def read(content: bytes) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Returns the function of a StableHLO file, from arrays by name to arrays by name.

    It is compiled once for each batch size and length.

    Raises:
      ValueError: the package flatbuffers is not installed.
    """
    require_module("flatbuffers", "stablehlo")
    exported = export.deserialize(bytearray(content))
    compiled = jax.jit(exported.call)
    (names,) = exported.in_tree.unflatten(exported.in_avals)[0]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        results = compiled({name: np.asarray(inputs[name]) for name in names})
        return {name: np.asarray(array) for name, array in results.items()}

    return run


def _pad(call: NamedCall) -> NamedCall:
    """Returns `call` on one more time step, which is padding, so that no time axis is empty."""

    def append_zero(x):
        return jnp.pad(x, [(0, 0), (0, 1), *[(0, 0)] * (x.ndim - 2)])

    def padded(arrays: Mapping[str, Array]) -> dict[str, Array]:
        masked = {MASK: jnp.ones(arrays[INPUTS].shape[:2], bool), **arrays}
        results = call(
            {
                name: x if name.startswith(f"{CARRY}.") else append_zero(x)
                for name, x in masked.items()
            }
        )
        return {**results, OUTPUTS: results[OUTPUTS][:, :-1]}

    return padded


def _require_portable(module: nnx.Module) -> None:
    for _, part in nnx.iter_modules(module):
        if getattr(part, "backend", None) == "cudnn":
            raise ValueError(
                f"backend must run on {', '.join(PLATFORMS)} to be exported, got 'cudnn' in "
                f"{type(part).__name__}; make the model with backend 'auto'"
            )
