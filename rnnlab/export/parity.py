"""Comparison of an exported file with the module that it was exported from."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.typing import DTypeLike

from rnnlab.export.formats import ANY_SIZE, Format
from rnnlab.export.names import (
    GAPS,
    INPUTS,
    MASK,
    NEXT_CARRY,
    OUTPUTS,
    Field,
    Form,
    flatten_carry,
    input_fields,
    unflatten_carry,
)

Function = Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]]
"""A file that was read: a function from inputs by name to outputs by name."""

CALLS = 3
"""Calls that a check makes on each batch, each from the carry that the module returned before."""

RESET_SHARE = 0.2

ROUNDING_FACTOR = 10
"""How many times the rounding error of a module in float32 a file may differ from it."""

MAX_ROUNDING = 1e-3
"""Largest relative error that the rounding of a module excuses."""


def evaluation_copy(module: nnx.Module) -> nnx.Module:
    """Returns a copy of a module in evaluation mode that computes in float32.

    Parameters of 16 bits become float32, which changes no value.

    Raises:
      ValueError: a parameter is of float64.

    >>> from rnnlab import MinGRU
    >>> print(evaluation_copy(MinGRU(3, 4, dtype="bfloat16", rngs=nnx.Rngs(0))).dtype)
    float32
    """
    parameters = nnx.state(module, nnx.Param)
    if any(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(parameters)):
        raise ValueError(
            "parameters must be float32 or narrower to be exported, got float64; convert them"
        )
    return _copy_of(module, jnp.float32)


def largest_error(
    function: Function,
    module: nnx.Module,
    form: Form,
    flags: Collection[str] = (),
    *,
    sizes: Sequence[tuple[int, int]] = ANY_SIZE,
    seed: int = 0,
) -> float:
    """Returns the largest relative error of a file's outputs and carries.

    The error of an array is max|x - reference| / max|reference|; it is infinite where a number is
    not finite. Inputs are random. `CALLS` calls follow each other on each batch, so that carries
    are those of a running model.

    Args:
      function: the file.
      module: what it was exported from, in evaluation mode, of float32.
      form: the form of the file.
      flags: the flags that it was exported with.
      sizes: batch size and length of each batch. Forms of one time step ignore the length.
      seed: of the inputs.

    Raises:
      ValueError: an output is missing, or has another shape.
    """
    fields = input_fields(module, form, flags)
    reference = _jitted(module, form)
    worst = 0.0
    for k, (batch_size, length) in enumerate(sizes):
        carry = module.initial_carry((batch_size,))
        generator = np.random.default_rng((seed, k))
        for _ in range(CALLS):
            inputs = _random_inputs(generator, module, fields, batch_size, length)
            found = function({**inputs, **_numpy(flatten_carry(carry))})
            carry, outputs = reference(carry, inputs)
            expected = {OUTPUTS: outputs, **flatten_carry(carry, NEXT_CARRY)}
            worst = max(worst, *_errors(found, _numpy(expected)))
    return worst


def require_small_error(
    file: str,
    function: Function,
    format: Format,
    module: nnx.Module,
    form: Form,
    flags: Collection[str] = (),
) -> tuple[float, float]:
    """Returns the largest relative error of a file and the one that was allowed.

    That is the tolerance of the format. A model with large weights amplifies the last bits of its
    inputs, so that two correct float32 programs differ by more: then it is `ROUNDING_FACTOR` times
    the error of the module itself in float32, compared with float64, up to `MAX_ROUNDING`.

    Args:
      file: name of the file.
      function: the file.
      format: its format.
      module: what it was exported from, in evaluation mode, of float32.
      form: the form of the file.
      flags: the flags that it was exported with.

    Raises:
      ValueError: the error is larger, or an output is missing or has another shape.
    """
    try:
        error = largest_error(function, module, form, flags, sizes=format.sizes)
    except ValueError as reason:
        raise ValueError(f"{file} must compute the model: {reason}") from None
    if error <= format.tolerance:
        return error, format.tolerance
    rounding = rounding_error(module, form, flags, sizes=format.sizes)
    allowed = max(format.tolerance, min(ROUNDING_FACTOR * rounding, MAX_ROUNDING))
    if not error <= allowed:
        raise ValueError(
            f"{file} must differ from the model by at most {allowed:.0e}, got {error:.1e}, where "
            f"rounding changes the model by {rounding:.0e}"
        )
    return error, allowed


def rounding_error(
    module: nnx.Module,
    form: Form,
    flags: Collection[str] = (),
    *,
    sizes: Sequence[tuple[int, int]] = ANY_SIZE,
    seed: int = 0,
) -> float:
    """Returns the largest relative error of a module in float32 compared with float64.

    Arguments are those of `largest_error`.

    >>> from rnnlab import MinGRU
    >>> 0 < rounding_error(MinGRU(3, 4, rngs=nnx.Rngs(0)), "step") < 1e-6
    True
    """
    with jax.enable_x64(True):
        call = _jitted(_copy_of(module, jnp.float64), form)

    def exact(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        with jax.enable_x64(True):
            wide = {
                name: jnp.asarray(x, jnp.float64 if x.dtype == np.float32 else x.dtype)
                for name, x in inputs.items()
            }
            carry = unflatten_carry(module, wide)
            carry, outputs = call(
                carry, {name: x for name, x in wide.items() if not name.startswith("carry.")}
            )
            return _numpy({OUTPUTS: outputs, **flatten_carry(carry, NEXT_CARRY)})

    return largest_error(exact, module, form, flags, sizes=sizes, seed=seed)


def package_versions(names: Collection[str]) -> dict[str, str]:
    """Returns the versions of installed packages."""
    return {name: version(name) for name in names}


def _copy_of(module: nnx.Module, dtype: DTypeLike) -> nnx.Module:
    """Returns a copy in evaluation mode whose parameters and computations are of a dtype."""
    graphdef, parameters, rest = nnx.split(module, nnx.Param, ...)
    parameters = jax.tree.map(lambda x: x.astype(dtype), parameters)
    copied = nnx.merge(graphdef, parameters, rest, copy=True)
    for _, part in nnx.iter_modules(copied):
        for name in ("dtype", "param_dtype"):
            if vars(part).get(name) is not None:
                setattr(part, name, jnp.dtype(dtype))
    copied.eval()
    return copied


def _jitted(module: nnx.Module, form: Form) -> Callable[[Any, Mapping[str, Any]], tuple[Any, Any]]:
    """Returns the module as a compiled function of its carry and its inputs by name."""
    graphdef, state = nnx.split(module)

    @jax.jit
    def call(state, carry, inputs):
        module = nnx.merge(graphdef, state, copy=True)
        options = {name: x for name, x in inputs.items() if name != INPUTS}
        run = module.step if form == "step" else module
        return run(carry, inputs[INPUTS], **options)

    return partial(call, state)


def _random_inputs(
    generator: np.random.Generator,
    module: nnx.Module,
    fields: Sequence[Field],
    batch_size: int,
    length: int,
) -> dict[str, np.ndarray]:
    """Returns random values of all inputs except the carry. Padding is at the end."""
    lead = {"batch": batch_size, "time": length}

    def draw(field: Field) -> np.ndarray:
        shape = tuple(lead.get(size, size) for size in field.shape)
        if field.name == GAPS:
            return generator.exponential(size=shape).astype(np.float32)
        if field.name == MASK:
            real = generator.integers(0, length + 1, batch_size)
            return np.arange(length) < real[:, None] if len(shape) == 2 else real > length // 2
        if field.dtype == "bool":
            return generator.random(shape) < RESET_SHARE
        if field.dtype == "int32":
            sizes = getattr(module, "word_sizes", None) or (module.vocab_size,)
            return generator.integers(0, min(sizes), shape, np.int32)
        return generator.normal(size=shape).astype(np.float32)

    return {field.name: draw(field) for field in fields if not field.name.startswith("carry.")}


def _errors(found: Mapping[str, Any], expected: Mapping[str, np.ndarray]) -> Iterator[float]:
    for name, reference in expected.items():
        if name not in found or np.shape(found[name]) != reference.shape:
            shape = np.shape(found[name]) if name in found else "none"
            raise ValueError(f"{name} must have shape {reference.shape}, got {shape}")
        difference = np.abs(np.float64(found[name]) - np.float64(reference))
        if not np.isfinite(difference).all():
            yield float("inf")
        elif difference.any():
            yield float(difference.max() / (np.abs(np.float64(reference)).max() or 1.0))
        else:
            yield 0.0


def _numpy(arrays: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {name: np.asarray(x) for name, x in arrays.items()}
