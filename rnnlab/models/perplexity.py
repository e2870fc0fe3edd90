"""Perplexity of a text: how well a model predicts each of its tokens."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array

from rnnlab.models import SequenceModel
from rnnlab.validation import require_positive_int, require_tokens


class Likelihood(NamedTuple):
    """The negative log likelihood of a sequence of tokens, given its first one.

    Attributes:
      nats: sum over the tokens.
      tokens: number of tokens that are predicted.
    """

    nats: float
    tokens: int

    @property
    def perplexity(self) -> float:
        """The exponential of the mean over tokens: 1 is certainty, n a guess among n tokens."""
        return float(np.exp(self.nats / self.tokens))


def likelihood(model: SequenceModel, ids: np.ndarray, *, chunk: int = 512) -> Likelihood:
    """Returns how likely a model finds each token of a sequence, given all tokens before it.

    The model reads `chunk` tokens at a time and keeps only its carry, so that the memory does not
    grow with the sequence. It is used without dropout.

    Args:
      model: predicts the next token at every time step.
      ids: token ids (time,), at least two.
      chunk: time steps of a call.

    Raises:
      ValueError: the model reads values, its outputs are not logits of tokens or it reads from the
        end, or there are fewer than two tokens or one out of range.

    >>> from rnnlab.models.config import ModelConfig
    >>> model = ModelConfig(width=8, depth=1).build(5, vocab_size=5, rngs=nnx.Rngs(0))
    >>> model.head_kernel[...] *= 0
    >>> round(likelihood(model, np.array([1, 4, 0, 2])).perplexity, 3)
    5.0
    """
    if model.vocab_size is None or model.features != model.vocab_size:
        raise ValueError(
            "model must read tokens and predict the next one, got vocab_size "
            f"{model.vocab_size} and {model.features} outputs; use a model of text"
        )
    ids = np.asarray(ids)
    if ids.ndim != 1 or len(ids) < 2:
        raise ValueError(
            f"ids must have >= 2 tokens in shape (time,), of which the first is not predicted, got "
            f"shape {ids.shape}; use a longer text"
        )
    require_positive_int(chunk=chunk)
    require_tokens("ids", ids, model.vocab_size)
    graphdef, params = nnx.split(model)
    chunk = min(chunk, len(ids) - 1)
    carry, total = model.initial_carry(()), 0.0
    for start in range(0, len(ids) - 1, chunk):
        part = ids[start : start + chunk + 1].astype(np.int32)
        missing = chunk + 1 - len(part)
        mask = np.arange(chunk) < chunk - missing
        part = np.pad(part, (0, missing))
        carry, nats = _nats(graphdef, params, carry, part[:-1], part[1:], mask)
        total += float(nats)
    return Likelihood(total, len(ids) - 1)


@partial(jax.jit, static_argnums=0)
def _nats(
    graphdef: Any, params: Any, carry: Any, inputs: Array, targets: Array, mask: Array
) -> tuple[Any, Array]:
    model = nnx.merge(graphdef, params, copy=True)
    model.eval()
    carry, logits = model(carry, inputs, mask=mask)
    nats = optax.softmax_cross_entropy_with_integer_labels(logits, targets)
    return carry, jnp.sum(jnp.where(mask, nats, 0))
