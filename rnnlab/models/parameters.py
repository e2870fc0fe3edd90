"""The parameters of a model by name, as other formats hold them."""

from collections.abc import Mapping
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from flax import nnx
from jax.typing import ArrayLike

Module = TypeVar("Module", bound=nnx.Module)


def named_parameters(module: nnx.Module) -> dict[str, jax.Array]:
    """Returns the parameters of a module by path, joined by dots, in the order of their paths.

    >>> from rnnlab import MinGRU
    >>> list(named_parameters(MinGRU(3, 4, rngs=nnx.Rngs(0))))
    ['candidate_bias', 'candidate_kernel', 'update_bias', 'update_kernel']
    """
    state = nnx.state(module, nnx.Param)
    return {path_name(path): value for path, value in jax.tree.flatten_with_path(state)[0]}


def with_parameters(module: Module, arrays: Mapping[str, ArrayLike]) -> Module:
    """Returns a copy of a module with other parameters.

    Args:
      module: is not changed. Its parameters may be shapes and dtypes, as of `nnx.eval_shape`.
      arrays: a value for every parameter, by the names of `named_parameters`.

    Raises:
      ValueError: a name is missing or unknown, or a shape or dtype differs.

    >>> from rnnlab import MinGRU
    >>> cell = MinGRU(3, 4, rngs=nnx.Rngs(0))
    >>> zeros = {name: 0 * value for name, value in named_parameters(cell).items()}
    >>> float(abs(with_parameters(cell, zeros).update_kernel[...]).max())
    0.0
    """
    expected = named_parameters(module)
    if missing := expected.keys() - arrays.keys():
        raise ValueError(f"arrays must have the parameter {min(missing)!r}, got none; add it")
    if unknown := arrays.keys() - expected.keys():
        raise ValueError(
            f"arrays must have only parameters of the {type(module).__name__}, got "
            f"{min(unknown)!r}; remove it"
        )
    values = {name: jnp.asarray(value) for name, value in arrays.items()}
    for name, like in expected.items():
        found, wanted = values[name], (like.shape, like.dtype)
        if (found.shape, found.dtype) != wanted:
            raise ValueError(
                f"parameter {name!r} must have shape {like.shape} and dtype {like.dtype}, got "
                f"{found.shape} and {found.dtype}; convert it"
            )
    graphdef, state, rest = nnx.split(module, nnx.Param, ...)
    state = jax.tree.map_with_path(lambda path, _: values[path_name(path)], state)
    return nnx.merge(graphdef, state, rest, copy=True)


def path_name(path: tuple[Any, ...]) -> str:
    """Returns a path of JAX, joined by dots, without the attribute `value` of a Variable."""
    if isinstance(path[-1], jax.tree_util.GetAttrKey):
        path = path[:-1]
    return ".".join(str(part.key) for part in path)
