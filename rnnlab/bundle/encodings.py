"""Encodings of the parameters in a bundle: float32, or fewer bits.

An encoding is a frozen dataclass of its options. `bundle.json` names it and its options for each
parameter. A new one is a class with `stored` and `decode`, and a line in `ENCODINGS`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np

from rnnlab.bundle.packing import from_rows, pack, packed_bytes, unpack
from rnnlab.validation import require_one_of

BITS = (8, 6, 4)
"""Widths of the integers that weights are stored as."""


class Stored(NamedTuple):
    """Dtype and shape of an array in the file of weights."""

    dtype: str
    shape: tuple[int, ...]


class Encoding(Protocol):
    """A frozen dataclass of the options by which one parameter is stored."""

    def stored(self, name: str, shape: tuple[int, ...]) -> dict[str, Stored]:
        """Returns the arrays in the file, by name, of the parameter `name` of shape `shape`.

        A name is that of the parameter, or follows it after a dot, such as NAME.scale. Dtypes are
        those of `rnnlab.bundle.weights.DTYPES`.

        Raises:
          ValueError: the options do not fit the shape.
        """
        ...

    def decode(
        self, name: str, shape: tuple[int, ...], arrays: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Returns the parameter, float32 of shape `shape`, from the arrays that `stored` names."""
        ...


@dataclass(frozen=True)
class Float32:
    """The values as they are, 4 bytes each.

    >>> Float32().stored("kernel", (2, 3))
    {'kernel': Stored(dtype='float32', shape=(2, 3))}
    """

    def stored(self, name: str, shape: tuple[int, ...]) -> dict[str, Stored]:
        """Returns one array of the parameter's name, see `Encoding.stored`."""
        return {name: Stored("float32", shape)}

    def decode(
        self, name: str, shape: tuple[int, ...], arrays: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Returns the array, see `Encoding.decode`."""
        return arrays[name]


@dataclass(frozen=True)
class Integers:
    """Integers and scales: a weight is `integer * scale`, in float32.

    Attributes:
      bits: width of an integer, 8, 6 or 4. They are symmetric: of 4 bits -7 to 7.
      group: consecutive inputs of an output channel that share a scale; 0: all.
      channel_axis: axis of the output channels, 0 or -1.

    Raises:
      ValueError: an option is out of range.

    >>> sizes = Integers(bits=4, group=32).stored("kernel", (64, 10))
    >>> sizes["kernel.integers"], sizes["kernel.scales"]
    (Stored(dtype='uint8', shape=(10, 32)), Stored(dtype='float32', shape=(10, 2)))
    """

    bits: int
    group: int = 0
    channel_axis: int = -1

    def __post_init__(self) -> None:
        require_one_of("bits", self.bits, BITS)
        require_one_of("channel_axis", self.channel_axis, (0, -1))
        if type(self.group) is not int or self.group < 0:
            raise ValueError(f"group must be an int >= 0, got {self.group!r}; pass one such as 32")

    def stored(self, name: str, shape: tuple[int, ...]) -> dict[str, Stored]:
        """Returns the integers and the scales of a parameter, one row per output channel.

        Integers of 8 bits are int8 (channels, inputs), others are packed as
        `rnnlab.bundle.packing.pack` does, uint8 (channels, bytes). Inputs are in the order of the
        other axes. Scales are (channels, groups).

        Raises:
          ValueError: the parameter has fewer than two axes, or none of its values.
        """
        if len(shape) < 2 or 0 in shape:
            raise ValueError(
                f"{name!r} must have two or more axes to be stored as integers, got shape {shape}; "
                "keep it in float32"
            )
        channels, inputs, group = self.sizes(shape)
        width = packed_bytes(inputs, self.bits)
        return {
            f"{name}.integers": Stored("int8" if self.bits == 8 else "uint8", (channels, width)),
            f"{name}.scales": Stored("float32", (channels, -(-inputs // group))),
        }

    def decode(
        self, name: str, shape: tuple[int, ...], arrays: Mapping[str, np.ndarray]
    ) -> np.ndarray:
        """Returns the weights: one product per value, without any other rounding."""
        _, inputs, group = self.sizes(shape)
        integers, scales = arrays[f"{name}.integers"], arrays[f"{name}.scales"]
        if self.bits < 8:
            integers = unpack(integers, self.bits, inputs)
        # A group of more than all inputs, as a file may name it, must not need its size in memory.
        scales = np.repeat(scales, group, axis=1)[:, :inputs]
        return from_rows(integers.astype(np.float32) * scales, shape, self.channel_axis)

    def arrays(self, name: str, integers: np.ndarray, scales: np.ndarray) -> dict[str, np.ndarray]:
        """Returns the arrays that `stored` describes.

        Args:
          name: of the parameter.
          integers: int8 (channels, inputs).
          scales: float32 (channels, groups).
        """
        packed = integers if self.bits == 8 else pack(integers, self.bits)
        return {f"{name}.integers": packed, f"{name}.scales": scales}

    def sizes(self, shape: tuple[int, ...]) -> tuple[int, int, int]:
        """Returns the channels of a shape, the inputs of one, and those that share a scale.

        >>> Integers(4, group=32).sizes((3, 20, 8))
        (8, 60, 32)
        """
        channels = shape[self.channel_axis]
        inputs = math.prod(shape) // channels
        return channels, inputs, min(self.group or inputs, inputs)


ENCODINGS: dict[str, type] = {"float32": Float32, "integers": Integers}
"""Classes of encodings by the name that `bundle.json` has as `kind`."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of the model in a bundle.

    Attributes:
      shape: of the parameter in the model.
      encoding: how it is stored.
    """

    shape: tuple[int, ...]
    encoding: Encoding

    def stored(self, name: str) -> dict[str, Stored]:
        """Returns the dtypes and shapes of its arrays in the file of weights."""
        return self.encoding.stored(name, self.shape)


def stored_arrays(parameters: Mapping[str, Parameter]) -> dict[str, Stored]:
    """Returns the dtype and shape of every array in the file of weights.

    Raises:
      ValueError: two parameters have an array of the same name.

    >>> stored_arrays({"bias": Parameter((3,), Float32())})
    {'bias': Stored(dtype='float32', shape=(3,))}
    """
    found: dict[str, Stored] = {}
    for name, parameter in parameters.items():
        for key, stored in parameter.stored(name).items():
            if key in found:
                raise ValueError(
                    f"the stored arrays must have different names, got {key!r} twice; rename one"
                )
            found[key] = stored
    return found


def decode(
    parameters: Mapping[str, Parameter], arrays: Mapping[str, np.ndarray]
) -> dict[str, np.ndarray]:
    """Returns the values of all parameters, float32, from the arrays of a bundle.

    Args:
      parameters: by name.
      arrays: as stored.

    >>> decode({"bias": Parameter((1,), Float32())}, {"bias": np.ones(1, np.float32)})
    {'bias': array([1.], dtype=float32)}
    """
    return {
        name: parameter.encoding.decode(name, parameter.shape, arrays)
        for name, parameter in parameters.items()
    }
