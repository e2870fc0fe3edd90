"""Generate tokens with a model, by compiled loops of its step."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array, lax
from jaxtyping import Bool, Float, Int, Key

from rnnlab.argument_errors import explain_arguments
from rnnlab.models import SequenceModel
from rnnlab.validation import require_flags, require_key, require_tokens

SMALLEST_TEMPERATURE = float(jnp.finfo("float32").tiny)
"""A lower temperature takes the most likely token."""


@explain_arguments
def generate(
    model: SequenceModel,
    prompt: Int[Array, "*batch time"],
    length: int,
    key: Key[Array, ""],
    *,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    mask: Bool[Array, "*batch time"] | None = None,
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
      top_p: sample only from the most likely tokens whose probabilities sum to at least `top_p`,
        of those that `top_k` keeps; None: from all.
      mask: False in padding of the prompts, which is on the right; None: no padding.

    Raises:
      ValueError: an argument is out of range, key is not a random key, or the model does not read
        tokens.

    >>> import jax, jax.numpy as jnp
    >>> from rnnlab.models.config import ModelConfig
    >>> model = ModelConfig(width=8, depth=1).build(5, vocab_size=5, rngs=nnx.Rngs(0))
    >>> generate(model, jnp.array([[1, 4], [0, 2]]), 6, jax.random.key(0)).shape
    (2, 6)
    """
    options = {"temperature": temperature, "top_k": top_k, "top_p": top_p, "mask": mask}
    return next(generate_chunks(model, prompt, length, key, chunk=length, **options))


def generate_chunks(
    model: SequenceModel,
    prompt: Int[Array, "*batch time"],
    length: int,
    key: Key[Array, ""],
    *,
    chunk: int = 16,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    mask: Bool[Array, "*batch time"] | None = None,
) -> Iterator[Int[Array, "*batch chunk"]]:
    """Yields the tokens of `generate` as they are generated, `chunk` at a time.

    Together they equal those of `generate`. Arguments are validated before the first ones.

    Args:
      chunk: tokens of one compiled loop, at least 1.
      model, prompt, length, key, temperature, top_k, top_p, mask: as of `generate`.

    Raises:
      ValueError: as `generate` does.

    >>> import jax, jax.numpy as jnp
    >>> from rnnlab.models.config import ModelConfig
    >>> model = ModelConfig(width=8, depth=1).build(5, vocab_size=5, rngs=nnx.Rngs(0))
    >>> parts = generate_chunks(model, jnp.array([1, 4]), 6, jax.random.key(0), chunk=4)
    >>> [part.shape for part in parts]
    [(4,), (2,)]
    """
    prompt = _validated_prompt(model, prompt, mask)
    for name, value in (("length", length), ("chunk", chunk)):
        if value < 1:
            raise ValueError(f"{name} must be >= 1, got {value}")
    require_sampling(model.features, temperature, top_k, top_p)
    require_key("key", key)
    graphdef, params = nnx.split(model)
    is_greedy = temperature < SMALLEST_TEMPERATURE

    def parts() -> Iterator[Array]:
        carry, logits = _read_prompt(graphdef, params, prompt, mask)
        for start in range(0, length, chunk):
            count = min(chunk, length - start)
            carry, logits, tokens = _generate(
                graphdef,
                count,
                is_greedy,
                top_k,
                params,
                carry,
                logits,
                start,
                key,
                temperature,
                None if is_greedy else top_p,
            )
            yield tokens

    return parts()


def require_sampling(
    classes: int, temperature: float, top_k: int | None, top_p: float | None
) -> None:
    """Raises ValueError for settings of the sampling that are out of range.

    >>> require_sampling(5, 1.0, None, 1.5)
    Traceback (most recent call last):
    ValueError: top_p must be in (0, 1], got 1.5; pass 0.9
    """
    largest = float(jnp.finfo("float32").max)
    if not 0 <= temperature <= largest:
        raise ValueError(f"temperature must be in [0, {largest:g}], got {temperature}")
    if top_k is not None and not 1 <= top_k <= classes:
        raise ValueError(f"top_k must be in 1 to {classes}, got {top_k}")
    if top_p is not None and not 0 < top_p <= 1:
        raise ValueError(f"top_p must be in (0, 1], got {top_p}; pass 0.9")


def sample_token(
    logits: Float[Array, "*batch classes"],
    key: Key[Array, ""],
    temperature: float | Array,
    top_k: int | None = None,
    top_p: float | Array | None = None,
) -> Int[Array, "*batch"]:
    """Samples a class from each example's logits, only from the most likely ones if given.

    Args:
      logits: of the classes.
      key: of the samples.
      temperature: divides the logits.
      top_k, top_p: as of `generate`. The probabilities of `top_p` are those after the temperature
        and `top_k`.

    >>> import jax, jax.numpy as jnp
    >>> sample_token(jnp.array([0.0, 9.0, 1.0]), jax.random.key(0), 1.0, top_k=1)
    Array(1, dtype=int32)
    """
    if top_k is not None:
        smallest = lax.top_k(logits, top_k)[0][..., -1:]
        logits = jnp.where(logits < smallest, -jnp.inf, logits)
    scaled = logits / temperature
    if top_p is not None:
        smallest = smallest_in_nucleus(scaled, jnp.full(scaled.shape[:-1], top_p, scaled.dtype))
        scaled = jnp.where(scaled < smallest[..., None], -jnp.inf, scaled)
    return jax.random.categorical(key, scaled)


def smallest_in_nucleus(
    logits: Float[Array, "*batch classes"], top_p: Float[Array, "*batch"]
) -> Float[Array, "*batch"]:
    """Returns the least logit of the nucleus: the fewest most likely classes of mass `top_p`.

    Classes of equal logits are all in the nucleus, or none of them is.

    Args:
      logits: -inf excludes a class.
      top_p: the mass, in (0, 1]; at 1 or more all classes are in the nucleus.

    Source: Holtzman et al., arXiv 1904.09751, section 3.1.

    >>> import jax.numpy as jnp
    >>> logits = jnp.log(jnp.array([0.5, 0.1, 0.4]))
    >>> print(jnp.exp(smallest_in_nucleus(logits, jnp.float32(0.6))).round(3))
    0.4
    """
    descending = -jnp.sort(-logits, axis=-1)
    p = jax.nn.softmax(descending, axis=-1)
    # A class is in the nucleus if those before it have less than the mass.
    before = jnp.cumsum(p, axis=-1) - p
    count = jnp.sum(before < top_p[..., None], axis=-1)
    last = jnp.take_along_axis(descending, jnp.maximum(count, 1)[..., None] - 1, axis=-1)[..., 0]
    return jnp.where(top_p >= 1, -jnp.inf, last)


def _validated_prompt(model: SequenceModel, prompt: Array, mask: Array | None) -> Array:
    if model.vocab_size is None:
        raise ValueError("model must read tokens, got one that reads values; give it a vocab_size")
    prompt = jnp.asarray(prompt)
    if prompt.ndim < 1 or prompt.shape[-1] < 1:
        raise ValueError(
            "prompt must have at least one token per example in shape (*batch, time), got shape "
            f"{prompt.shape}; start with a token"
        )
    require_flags(prompt.shape, "the shape of prompt", mask=mask)
    is_known = mask is not None and not isinstance(mask, jax.core.Tracer)
    if is_known and not np.asarray(mask)[..., 0].all():
        raise ValueError(
            "mask must be True at the first token of each prompt, got a prompt of padding only; "
            "start with a token"
        )
    require_tokens("prompt", prompt, model.vocab_size, mask)
    return prompt


@partial(jax.jit, static_argnums=0)
def _read_prompt(
    graphdef: Any, params: Any, prompt: Array, mask: Array | None
) -> tuple[Any, Array]:
    """The carry after the prompts, and the logits of the tokens that follow them."""
    model = nnx.merge(graphdef, params, copy=True)
    model.eval()
    carry, logits = model(model.initial_carry(prompt.shape[:-1]), prompt, mask=mask)
    if mask is None:
        return carry, logits[..., -1, :]
    last = mask.sum(-1)[..., None, None] - 1
    return carry, jnp.take_along_axis(logits, last, axis=-2)[..., 0, :]


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _generate(
    graphdef: Any,
    count: int,
    is_greedy: bool,
    top_k: int | None,
    params: Any,
    carry: Any,
    logits: Array,
    start: Array,
    key: Array,
    temperature: Array,
    top_p: Array | None,
) -> tuple[Any, Array, Array]:
    """The tokens `start` to `start + count - 1`, and the carry and the logits after them."""
    model = nnx.merge(graphdef, params, copy=True)
    model.eval()

    def body(state, t):
        carry, logits = state
        if is_greedy:
            token = jnp.argmax(logits, -1).astype(jnp.int32)
        else:
            token = sample_token(logits, jax.random.fold_in(key, t), temperature, top_k, top_p)
        return model.step(carry, token), token

    (carry, logits), tokens = lax.scan(body, (carry, logits), start + jnp.arange(count))
    return carry, logits, jnp.moveaxis(tokens, 0, -1)
