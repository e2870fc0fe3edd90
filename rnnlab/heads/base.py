"""The contracts of heads, and the mean over known targets that heads share."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Bool, Float, Int


@runtime_checkable
class Head(Protocol):
    """A frozen dataclass that names a model's outputs and scores them."""

    @property
    def out_features(self) -> int:
        """Number of outputs per time step."""
        ...

    def named(self, outputs: Float[Array, "*batch out_features"]) -> dict[str, Array]:
        """Returns the outputs by name, such as quantiles, in the range that their meaning has."""
        ...

    def loss(
        self,
        outputs: Float[Array, "*batch out_features"],
        targets: Float[Array, "*batch values"],
        mask: Bool[Array, "*batch"] | None = None,
    ) -> Float[Array, ""]:
        """Returns a mean over the targets that are not NaN and whose time step is not masked."""
        ...

    def quantiles(self, outputs: np.ndarray, levels: Sequence[float]) -> np.ndarray:
        """Returns the quantiles of `levels`, (*batch, values, levels), on the host."""
        ...


@runtime_checkable
class SequenceHead(Protocol):
    """A frozen dataclass that scores whole sequences of classes, and finds the best one.

    Its loss reads all time steps of a sequence together, which must be on one device.
    """

    @property
    def out_features(self) -> int:
        """Number of outputs per time step."""
        ...

    def named(self, outputs: Float[Array, "*batch out_features"]) -> dict[str, Array]:
        """Returns the outputs by name."""
        ...

    def loss(
        self,
        outputs: Float[Array, "*batch time out_features"],
        targets: Int[Array, "*batch time"],
        mask: Bool[Array, "*batch time"] | None = None,
        reset: Bool[Array, "*batch time"] | None = None,
    ) -> Float[Array, ""]:
        """Returns a mean over the time steps that `counted` names."""
        ...

    def counted(
        self, targets: Int[Array, "*batch time"], mask: Bool[Array, "*batch time"] | None = None
    ) -> Bool[Array, "*batch time"]:
        """Returns which time steps the loss divides by."""
        ...

    def decode(
        self,
        outputs: Float[np.ndarray, "*batch time out_features"],
        mask: Bool[np.ndarray, "*batch time"] | None = None,
        reset: Bool[np.ndarray, "*batch time"] | None = None,
    ) -> Int[np.ndarray, "*batch time"]:
        """Returns the best classes of each sequence, on the host."""
        ...


def known_targets(targets: Array, mask: Array | None) -> tuple[Array, Array]:
    """Returns which targets count, and the targets with 0 in place of the others.

    >>> import jax.numpy as jnp
    >>> known, filled = known_targets(jnp.array([[1.0, jnp.nan]]), None)
    >>> known.tolist(), filled.tolist()
    ([[True, False]], [[1.0, 0.0]])
    """
    known = ~jnp.isnan(targets)
    if mask is not None:
        known = known & jnp.expand_dims(mask, -1)
    return known, jnp.where(known, targets, 0)


def mean_over(x: Array, known: Array) -> Array:
    """Returns the sum of `x`, 0 where it does not count, per entry that counts; 0 without any."""
    return jnp.sum(x) / jnp.maximum(jnp.sum(known, dtype=x.dtype), 1)
