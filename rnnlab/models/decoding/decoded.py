"""Label sequences that a decoder found."""

from typing import NamedTuple

from jax import Array
from jaxtyping import Float, Int

NO_LABEL = -1
"""What stands after the end of a label sequence."""


class Decoded(NamedTuple):
    """The hypotheses of a decoder for each example, the best one first.

    Attributes:
      labels: (batch, beam, max_length) of int32 without begin and end, `NO_LABEL` after the end of
        a hypothesis.
      scores: (batch, beam), the log probability of each hypothesis under the model, with its end;
        -inf where there are fewer hypotheses than the beam is wide.
      lengths: (batch, beam), number of labels of each hypothesis.
    """

    labels: Int[Array, "batch beam max_length"]
    scores: Float[Array, "batch beam"]
    lengths: Int[Array, "batch beam"]
