"""Generate tokens with a model: one compiled loop for the whole continuation."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jaxtyping import Float, Int, Key

from rnnlab.argument_errors import explain_arguments
from rnnlab.models import SequenceModel
from rnnlab.validation import require_key, require_tokens


@explain_arguments
def generate(
    model: SequenceModel,
    prompt: Int[Array, "*batch time"],
    length: int,
    key: Key[Array, ""],
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
) -> Int[Array, "*batch length"]:
    """Returns `length` tokens after `prompt`, each sampled from the model's prediction.

    Only the carry is kept, so that memory does not grow with the number of generated tokens.

    Args:
      model: predicts the next token at every time step. It is used without dropout.
      prompt: at least one token id per example.
      length: number of tokens to generate, at least 1.
      key: key of the samples.
      temperature: divides the logits; 0 always takes the most likely token.
      top_k: sample only from the k most likely tokens; None: from all.

    Raises:
      ValueError: an argument is out of range, key is not a random key, or the model does not read
        tokens.

    >>> import jax, jax.numpy as jnp
    >>> from rnnlab.models.config import ModelConfig
    >>> model = ModelConfig(width=8, depth=1).build(5, vocab_size=5, rngs=nnx.Rngs(0))
    >>> generate(model, jnp.array([[1, 4], [0, 2]]), 6, jax.random.key(0)).shape
    (2, 6)
    """
    if model.vocab_size is None:
        raise ValueError("model must read tokens, got one that reads values; give it a vocab_size")
    prompt = jnp.asarray(prompt)
    if prompt.ndim < 1 or prompt.shape[-1] < 1:
        raise ValueError(
            "prompt must have at least one token per example in shape (*batch, time), got shape "
            f"{prompt.shape}; start with a token"
        )
    if length < 1:
        raise ValueError(f"length must be >= 1, got {length}")
    smallest, largest = float(jnp.finfo("float32").tiny), float(jnp.finfo("float32").max)
    if not 0 <= temperature <= largest:
        raise ValueError(f"temperature must be in [0, {largest:g}], got {temperature}")
    if top_k is not None and not 1 <= top_k <= model.features:
        raise ValueError(f"top_k must be in 1 to {model.features}, got {top_k}")
    require_key("key", key)
    require_tokens("prompt", prompt, model.vocab_size)
    graphdef, params = nnx.split(model)
    return _generate(
        graphdef, length, temperature < smallest, top_k, params, prompt, key, temperature
    )


def sample_token(
    logits: Float[Array, "*batch classes"],
    key: Key[Array, ""],
    temperature: float | Array,
    top_k: int | None = None,
) -> Int[Array, "*batch"]:
    """Samples a class from each example's logits, only from the `top_k` most likely if given.

    >>> import jax, jax.numpy as jnp
    >>> sample_token(jnp.array([0.0, 9.0, 1.0]), jax.random.key(0), 1.0, top_k=1)
    Array(1, dtype=int32)
    """
    if top_k is not None:
        smallest = lax.top_k(logits, top_k)[0][..., -1:]
        logits = jnp.where(logits < smallest, -jnp.inf, logits)
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
    model.eval()
    carry, logits = model(model.initial_carry(prompt.shape[:-1]), prompt)

    def choose(logits, t):
        if greedy:
            return jnp.argmax(logits, -1).astype(jnp.int32)
        return sample_token(logits, jax.random.fold_in(key, t), temperature, top_k)

    def body(state, t):
        carry, token = state
        carry, logits = model.step(carry, token)
        return (carry, choose(logits, t)), token

    first = carry, choose(logits[..., -1, :], 0)
    (_, last), tokens = lax.scan(body, first, jnp.arange(1, length))
    return jnp.moveaxis(jnp.concatenate([tokens, last[None]]), 0, -1)
