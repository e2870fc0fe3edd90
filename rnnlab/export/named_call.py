"""A module as a function of arrays by name, which formats trace."""

from collections.abc import Callable, Mapping

from flax import nnx
from jax import Array

from rnnlab.export.names import (
    CARRY,
    INPUTS,
    NEXT_CARRY,
    OUTPUTS,
    Form,
    flatten_carry,
    output_fields,
    unflatten_carry,
)

NamedCall = Callable[[Mapping[str, Array]], dict[str, Array]]
"""A pure function from inputs to outputs, by the names of `rnnlab.export.names`."""


def named_call(module: nnx.Module, form: Form) -> NamedCall:
    """Returns a module as a function of its inputs by name, flags and gaps included.

    Args:
      module: a cell, layer, stack or model. Its parameters are constants of the function.
      form: "step" or "sequence".

    >>> import jax.numpy as jnp
    >>> from rnnlab import MinGRU
    >>> call = named_call(MinGRU(3, 8, rngs=nnx.Rngs(0)), "step")
    >>> list(call({"inputs": jnp.ones((2, 3)), "carry.0": jnp.zeros((2, 8))}))
    ['outputs', 'next_carry.0']
    """
    dtypes = {field.name: field.dtype for field in output_fields(module, form)}
    run = module.step if form == "step" else module

    def call(arrays: Mapping[str, Array]) -> dict[str, Array]:
        options = {name: x for name, x in arrays.items() if not name.startswith(f"{CARRY}.")}
        inputs = options.pop(INPUTS)
        carry, outputs = run(unflatten_carry(module, arrays), inputs, **options)
        results = {OUTPUTS: outputs, **flatten_carry(carry, NEXT_CARRY)}
        return {name: array.astype(dtypes[name]) for name, array in results.items()}

    return call
