"""Names of the inputs and outputs of exported files, which know no classes.

A file has the form of one time step or of a sequence:

    inputs, carry.0, carry.1, ..., [reset], [mask], [gaps]  ->  outputs, next_carry.0, ...

Carries are numbered in the order of `jax.tree.leaves(module.initial_carry((1,)))`. All arrays start
with the batch axis; those of a sequence, except carries, then have a time axis.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import ArrayLike

from rnnlab.call_validation import require_one_sequence, uses_gaps
from rnnlab.validation import require_one_of

Form = Literal["step", "sequence"]
"""What a file computes: one time step, or all time steps of a sequence."""

FORMS: tuple[Form, ...] = ("step", "sequence")
RESET, MASK = "reset", "mask"
FLAGS = (RESET, MASK)
"""Inputs that a file has only where its export asks for them, bool, as of a cell's call."""

INPUTS, OUTPUTS, GAPS = "inputs", "outputs", "gaps"
CARRY, NEXT_CARRY = "carry", "next_carry"
BATCH, TIME = "batch", "time"
"""Names of the axes whose sizes are free."""


@dataclass(frozen=True)
class Field:
    """An input or output of an exported file.

    Attributes:
      name: as in the file.
      dtype: NumPy's name, such as "float32".
      shape: sizes of the axes; `BATCH` and `TIME` are free.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...]


def input_fields(module: nnx.Module, form: Form, flags: Collection[str] = ()) -> list[Field]:
    """Returns the inputs of a module's file, in their order.

    Token ids are int32. `gaps` is an input where the module uses gaps.

    Args:
      module: a cell, layer, stack or model.
      form: "step" or "sequence".
      flags: which of `FLAGS` are inputs.

    Raises:
      ValueError: the form or a flag is unknown, or the module reads a source or labels besides its
        inputs.

    >>> from rnnlab import MinGRU
    >>> for field in input_fields(MinGRU(3, 8, rngs=nnx.Rngs(0)), "sequence", ["reset"]):
    ...     print(field.name, field.dtype, field.shape)
    inputs float32 ('batch', 'time', 3)
    carry.0 float32 ('batch', 8)
    reset bool ('batch', 'time')
    """
    require_one_sequence(module, "be exported")
    for flag in flags:
        require_one_of("flags", flag, FLAGS)
    lead = _leading_axes(form)
    is_tokens = getattr(module, "vocab_size", None) is not None
    inputs = (
        Field(INPUTS, "int32", lead)
        if is_tokens
        else Field(INPUTS, _dtype_of_features(module), (*lead, module.in_features))
    )
    given = [Field(flag, "bool", lead) for flag in FLAGS if flag in flags]
    gaps = [Field(GAPS, "float32", lead)] if uses_gaps(module) else []
    return [inputs, *_carry_fields(module, CARRY), *given, *gaps]


def _dtype_of_features(module: nnx.Module) -> str:
    """Integers where a time step is a word, by its id and those of its characters."""
    return "float32" if getattr(module, "word_sizes", None) is None else "int32"


def output_fields(module: nnx.Module, form: Form) -> list[Field]:
    """Returns the outputs of a module's file, in their order.

    Raises:
      ValueError: the form is unknown.

    >>> from rnnlab import LSTM
    >>> [field.name for field in output_fields(LSTM(3, 8, rngs=nnx.Rngs(0)), "step")]
    ['outputs', 'next_carry.0', 'next_carry.1']
    """
    outputs = Field(OUTPUTS, "float32", (*_leading_axes(form), module.features))
    return [outputs, *_carry_fields(module, NEXT_CARRY)]


def flatten_carry(carry: Any, prefix: str = CARRY) -> dict[str, Any]:
    """Returns the arrays of a carry by name.

    Args:
      carry: a carry of any structure.
      prefix: `CARRY`, or `NEXT_CARRY` for the outputs of a file.

    >>> flatten_carry((1.0, ((), 2.0)))
    {'carry.0': 1.0, 'carry.1': 2.0}
    """
    return {f"{prefix}.{k}": leaf for k, leaf in enumerate(jax.tree.leaves(carry))}


def unflatten_carry(
    module: nnx.Module, arrays: Mapping[str, ArrayLike], prefix: str = CARRY
) -> Any:
    """Returns the carry of a module from its arrays by name. Other names are ignored.

    Args:
      module: a cell, layer, stack or model.
      arrays: as `flatten_carry` returns, or the outputs of a file.
      prefix: `CARRY`, or `NEXT_CARRY` for the outputs of a file.

    Raises:
      ValueError: an array is missing.

    >>> from rnnlab import LSTM
    >>> cell = LSTM(3, 8, rngs=nnx.Rngs(0))
    >>> unflatten_carry(cell, flatten_carry(cell.initial_carry(2))).c.shape
    (2, 8)
    """
    structure = jax.tree.structure(_carry_shapes(module))
    names = [f"{prefix}.{k}" for k in range(structure.num_leaves)]
    if missing := [name for name in names if name not in arrays]:
        raise ValueError(
            f"arrays must have {', '.join(names)}, got none for {missing[0]}; add it, or start "
            "from initial_carry"
        )
    return jax.tree.unflatten(structure, [jnp.asarray(arrays[name]) for name in names])


def initial_values(module: nnx.Module) -> dict[str, Any]:
    """Returns the initial carry of one sequence by name, as JSON values.

    An array whose numbers are all equal is one number, any other a nested list.

    >>> from rnnlab import MinGRU
    >>> initial_values(MinGRU(3, 8, rngs=nnx.Rngs(0)))
    {'carry.0': 0.0}
    """
    arrays = flatten_carry(module.initial_carry(()))
    return {name: _compact(np.asarray(array)) for name, array in arrays.items()}


def _compact(array: np.ndarray) -> Any:
    first = array.flat[0] if array.size else np.float32(0)
    return first.item() if (array == first).all() else array.tolist()


def _leading_axes(form: Form) -> tuple[str, ...]:
    require_one_of("form", form, FORMS)
    return (BATCH,) if form == "step" else (BATCH, TIME)


def _carry_fields(module: nnx.Module, prefix: str) -> list[Field]:
    return [
        Field(name, leaf.dtype.name, (BATCH, *leaf.shape[1:]))
        for name, leaf in flatten_carry(_carry_shapes(module), prefix).items()
    ]


def _carry_shapes(module: nnx.Module) -> Any:
    return jax.eval_shape(lambda: module.initial_carry((1,)))
