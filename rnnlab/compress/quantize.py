"""Store the weights of a model as integers of 8, 6 or 4 bits."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from rnnlab.bundle.encodings import BITS, Integers
from rnnlab.compress.rounding import encode
from rnnlab.models import SequenceModel
from rnnlab.models.parameters import named_parameters, with_parameters
from rnnlab.validation import require_one_of

DEFAULT_GROUPS = {8: 0, 6: 0, 4: 32}
"""Weights per scale by bits; 0: all weights of an output channel."""

EMBEDDING = "embedding"


@dataclass(frozen=True)
class Quantized:
    """A model whose weights are integers and scales.

    Attributes:
      model: the model with the values that are stored, in float32 and in evaluation mode.
      arrays: what is stored: integers, scales and the other parameters, by name.
      encodings: how each weight is stored, by name; parameters without one are float32.
    """

    model: SequenceModel = field(repr=False)
    arrays: Mapping[str, np.ndarray] = field(repr=False)
    encodings: Mapping[str, Integers]

    @property
    def nbytes(self) -> int:
        """Bytes of all stored arrays."""
        return sum(x.nbytes for x in self.arrays.values())


def quantize(
    model: SequenceModel,
    bits: int = 8,
    *,
    group: int | None = None,
    keep: Iterable[str] = (),
    leaf_bits: Mapping[str, int] | None = None,
) -> Quantized:
    """Returns a model with its kernels and its embedding as integers; the rest stays float32.

    Weights are symmetric around 0, with a scale per output channel or per group of its inputs, by
    which the stored values have the smallest squared error. States and activations stay float32:
    an error of a state would feed back into all later ones. The arithmetic is that of the decoded
    weights, so the model becomes smaller and not faster in JAX.

    Args:
      model: is not changed.
      bits: 8, 6 or 4.
      group: inputs of an output channel that share a scale; 0: all. None: 32 for 4 bits, else all.
      keep: patterns of parameters that stay float32: a part of a name, as `"head"`, or with
        wildcards, as `"body.layers.0.*_kernel"`.
      leaf_bits: bits by pattern, in place of `bits`; the last pattern that fits counts.

    Raises:
      ValueError: bits are not 8, 6 or 4, a pattern fits no weight, or a weight is not finite.

    >>> from rnnlab import ModelConfig
    >>> config = ModelConfig("mingru", width=16, depth=1)
    >>> model = config.build(5, vocab_size=5, rngs=nnx.Rngs(0))
    >>> small = quantize(model, 4, keep=["head"])
    >>> small.nbytes, "head_kernel" in small.encodings
    (3888, False)
    """
    encodings = leaf_encodings(model, bits, group=group, keep=keep, leaf_bits=leaf_bits)
    parameters = named_parameters(model)
    for name in encodings:
        if not jnp.isfinite(parameters[name]).all():
            raise ValueError(
                f"parameter {name!r} must be finite to be quantized, got NaN or Inf; use an "
                "earlier checkpoint"
            )
    arrays: dict[str, np.ndarray] = {}
    values = dict(parameters)
    for name, x in parameters.items():
        if name in encodings:
            stored = encode(name, x, encodings[name])
            values[name] = decode(name, x, encodings[name], stored)
        else:
            stored = {name: np.asarray(x, np.float32)}
        arrays |= stored
    decoded = with_parameters(model, values)
    decoded.eval()
    return Quantized(decoded, arrays, encodings)


def decode(name: str, like: Array, encoding: Integers, arrays: Mapping[str, np.ndarray]) -> Array:
    """Returns a weight from its arrays, in the dtype of the parameter `like`."""
    return jnp.asarray(encoding.decode(name, like.shape, arrays), like.dtype)


def leaf_encodings(
    model: nnx.Module,
    bits: int = 8,
    *,
    group: int | None = None,
    keep: Iterable[str] = (),
    leaf_bits: Mapping[str, int] | None = None,
) -> dict[str, Integers]:
    """Returns how `quantize` stores each weight, by name. Arguments and errors are those of it.

    >>> from rnnlab import GRU
    >>> leaf_encodings(GRU(3, 4, rngs=nnx.Rngs(0)), leaf_bits={"recurrent": 6})["recurrent_kernel"]
    Integers(bits=6, group=0, channel_axis=-1)
    """
    require_one_of("bits", bits, BITS)
    weights = {name: x for name, x in named_parameters(model).items() if is_weight(name, x)}
    chosen = dict.fromkeys(weights, bits)
    for pattern, count in (leaf_bits or {}).items():
        require_one_of(f"bits of {pattern!r}", count, BITS)
        chosen |= dict.fromkeys(_matching(pattern, weights), count)
    for pattern in keep:
        for name in _matching(pattern, weights):
            chosen.pop(name, None)
    return {
        name: Integers(count, DEFAULT_GROUPS[count] if group is None else group, channel_axis(name))
        for name, count in chosen.items()
    }


def is_weight(name: str, array: Array) -> bool:
    """Whether a parameter is multiplied with activations: a kernel or an embedding.

    Biases, scales of norms, decay rates and initial states are few and stay float32.

    >>> is_weight("body.layers.0.cell.update_kernel", jnp.ones((2, 3)))
    True
    """
    last = name.rpartition(".")[2]
    return array.ndim >= 2 and (last in (EMBEDDING, "kernel") or last.endswith("_kernel"))


def channel_axis(name: str) -> int:
    """Returns the axis of the output channels of a weight.

    Kernels are (..., in, out), also those of convolutions (taps, in, out) and of depthwise
    convolutions (taps, features). A row of the embedding (vocabulary, width) is what one token
    reads, and, where the head is tied to it, what the logit of one token is made of.

    >>> channel_axis("embedding"), channel_axis("head_kernel")
    (0, -1)
    """
    return 0 if name.rpartition(".")[2] == EMBEDDING else -1


def sensitivity(
    model: SequenceModel,
    loss: Callable[[SequenceModel], float],
    encodings: Mapping[str, Integers],
) -> dict[str, float]:
    """Returns the change of the loss when one weight is quantized and all others are not, by name.

    Args:
      model: is not changed.
      loss: called once for the model and once for each weight.
      encodings: what to try, as `leaf_encodings` returns it.

    >>> from rnnlab import ModelConfig
    >>> model = ModelConfig("mingru", width=8, depth=1).build(5, vocab_size=5, rngs=nnx.Rngs(0))
    >>> encodings = leaf_encodings(model, keep=["body"])
    >>> found = sensitivity(model, lambda m: float(abs(m.head_kernel[...]).sum()), encodings)
    >>> found["embedding"], found["head_kernel"] != 0
    (0.0, True)
    """
    parameters = named_parameters(model)
    before = loss(model)
    changes = {}
    for name, encoding in encodings.items():
        x = parameters[name]
        value = decode(name, x, encoding, encode(name, x, encoding))
        changes[name] = loss(with_parameters(model, {**parameters, name: value})) - before
    return changes


def _matching(pattern: str, weights: Mapping[str, Array]) -> list[str]:
    """Returns the weights that a pattern names."""
    found = [name for name in weights if fnmatchcase(name, f"*{pattern}*")]
    if not found:
        raise ValueError(
            f"{pattern!r} must be a part of a weight's name, got none that fits; the weights are "
            f"{', '.join(weights)}"
        )
    return found
