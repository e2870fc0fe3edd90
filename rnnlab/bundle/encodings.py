"""Encodings of the parameters in a bundle: float32, or fewer bits.

An encoding is a frozen dataclass of its options. `bundle.json` names it and its options for each
parameter. A new one is a class with `stored` and `decode`, and a line in `ENCODINGS`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np


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


ENCODINGS: dict[str, type] = {"float32": Float32}
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
