"""Sampling from a model of tokens: the whole continuation inside one compiled loop."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jaxtyping import Float, Int, Key

from rnnlab.models import SequenceModel


def generate(
    model: SequenceModel,
    prompt: Int[Array, "*batch time"],
    length: int,
    key: Key[Array, ""],
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
) -> Int[Array, "*batch length"]:
    """`length` tokens after `prompt`, each drawn from the model's prediction and fed back.

    The model keeps its carry alone: memory does not grow with what has been generated.

    Args:
      model: predicts the next token at every step.
      prompt: at least one token id a row.
      length: tokens to generate, at least 1.
      key: of the draws.
      temperature: divides the logits; 0 always takes the likeliest token.
      top_k: draws from the k likeliest tokens alone; None from all.

    Raises:
      ValueError: an argument is out of range.

    >>> import jax, jax.numpy as jnp
    >>> from rnnlab.models.config import ModelConfig
    >>> model = ModelConfig(width=8, depth=1).build(5, vocab_size=5, rngs=nnx.Rngs(0))
    >>> generate(model, jnp.array([[1, 4], [0, 2]]), 6, jax.random.key(0)).shape
    (2, 6)
    """
    if prompt.shape[-1] < 1:
        raise ValueError("prompt is empty; at least one token is needed")
    if length < 1:
        raise ValueError(f"length is {length}; at least 1 is needed")
    if not temperature >= 0:
        raise ValueError(f"temperature is {temperature}; at least 0 is needed")
    largest, least = float(jnp.finfo("float32").max), float(jnp.finfo("float32").tiny)
    if temperature > largest:
        raise ValueError(f"temperature is {temperature}; at most {largest:g} is needed")
    if top_k is not None and not 1 <= top_k <= model.features:
        raise ValueError(f"top_k is {top_k}; a number from 1 to {model.features} is needed")
    graphdef, params = nnx.split(model)
    return _generate(graphdef, length, temperature < least, top_k, params, prompt, key, temperature)


def draw(
    logits: Float[Array, "*batch classes"],
    key: Key[Array, ""],
    temperature: float | Array,
    top_k: int | None = None,
) -> Int[Array, "*batch"]:
    """A class for each row of logits, from the `top_k` likeliest.

    >>> import jax, jax.numpy as jnp
    >>> draw(jnp.array([0.0, 9.0, 1.0]), jax.random.key(0), 1.0, top_k=1)
    Array(1, dtype=int32)
    """
    if top_k is not None:
        least = lax.top_k(logits, top_k)[0][..., -1:]
        logits = jnp.where(logits < least, -jnp.inf, logits)
    return jax.random.categorical(key, logits / temperature)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _generate(
    graphdef: Any,
    length: int,
    greedy: bool,
    top_k: int | None,
    params: Any,
    prompt: Array,
    key: Array,
    temperature: Array,
) -> Array:
    model = nnx.merge(graphdef, params, copy=True)
    carry, logits = model(model.initial_carry(prompt.shape[:-1]), prompt)

    def choose(logits, t):
        if greedy:
            return jnp.argmax(logits, -1).astype(jnp.int32)
        return draw(logits, jax.random.fold_in(key, t), temperature, top_k)

    def body(state, t):
        carry, token = state
        carry, logits = model.step(carry, token)
        return (carry, choose(logits, t)), token

    first = carry, choose(logits[..., -1, :], 0)
    (_, last), tokens = lax.scan(body, first, jnp.arange(1, length))
    return jnp.moveaxis(jnp.concatenate([tokens, last[None]]), 0, -1)
