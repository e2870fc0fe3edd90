"""Samples tokens on the device, each row with its own seed, temperature, top_k and top_p."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from jaxtyping import Float, Int

from rnnlab.models.generate import SMALLEST_TEMPERATURE, smallest_in_nucleus

SEED, POSITION, TEMPERATURE, TOP_K, TOP_P = range(5)
"""Columns of the settings of a row. Seeds, temperatures and top_p are stored by their bits."""
NUM_SETTINGS = 5

NOT_FINITE = -1
"""The token of a row whose logits are not finite."""


def settings_row(
    seed: int, temperature: float, top_k: int | None, top_p: float | None = None
) -> np.ndarray:
    """Returns the settings of a stream before its first token, (NUM_SETTINGS,) of int32.

    >>> settings_row(3, 0.0, None).tolist()
    [3, 0, 0, 0, 0]
    """
    row = np.zeros(NUM_SETTINGS, np.int32)
    row[SEED] = np.uint32(seed).view(np.int32)
    row[TEMPERATURE] = np.float32(temperature).view(np.int32)
    row[TOP_K] = top_k or 0
    row[TOP_P] = np.float32(top_p or 0).view(np.int32)
    return row


def sample_rows(
    logits: Float[Array, "rows classes"], settings: Int[Array, "rows settings"]
) -> Int[Array, " rows"]:
    """Returns a token for each row; NOT_FINITE where its logits are not finite.

    A row's token depends on its logits and settings only. It is the token that
    `rnnlab.models.generate.generate` samples at that position with `jax.random.key(seed)`.

    >>> import jax.numpy as jnp
    >>> settings = jnp.asarray(settings_row(0, 0.0, None))[None]
    >>> sample_rows(jnp.array([[0.0, 9.0, 1.0]]), settings)
    Array([1], dtype=int32)
    """
    temperature = lax.bitcast_convert_type(settings[:, TEMPERATURE], jnp.float32)
    top_k = settings[:, TOP_K]
    top_p = lax.bitcast_convert_type(settings[:, TOP_P], jnp.float32)
    is_greedy = temperature < SMALLEST_TEMPERATURE
    # The branches skip work that no row needs; they do not change what a row gets.
    smallest = lax.cond(
        jnp.any(top_k > 0),
        lambda: _smallest_kept(logits, top_k),
        lambda: jnp.full(top_k.shape, -jnp.inf, logits.dtype),
    )
    logits_kept = jnp.where(logits < smallest[:, None], -jnp.inf, logits)
    likeliest = jnp.argmax(logits_kept, -1).astype(jnp.int32)

    def sampled() -> Array:
        seeds = lax.bitcast_convert_type(settings[:, SEED], jnp.uint32)
        scaled = logits_kept / jnp.where(is_greedy, 1, temperature)[:, None]
        least = lax.cond(
            jnp.any(top_p > 0),
            lambda: smallest_in_nucleus(scaled, jnp.where(top_p > 0, top_p, 1)),
            lambda: jnp.full(top_p.shape, -jnp.inf, scaled.dtype),
        )
        scaled = jnp.where(scaled < least[:, None], -jnp.inf, scaled)

        def one(seed, position, scaled):
            key = jax.random.fold_in(jax.random.key(seed), position)
            return jax.random.categorical(key, scaled).astype(jnp.int32)

        return jax.vmap(one)(seeds, settings[:, POSITION], scaled)

    tokens = lax.cond(jnp.all(is_greedy), lambda: likeliest, sampled)
    tokens = jnp.where(is_greedy, likeliest, tokens)
    return jnp.where(jnp.isfinite(logits).all(-1), tokens, NOT_FINITE)


def _smallest_kept(logits: Array, top_k: Array) -> Array:
    """Returns the k-th largest logit of each row, -inf where top_k is 0."""
    descending = -jnp.sort(-logits, axis=-1)
    index = jnp.clip(top_k - 1, 0, logits.shape[-1] - 1)
    kth = jnp.take_along_axis(descending, index[:, None], axis=-1)[:, 0]
    return jnp.where(top_k > 0, kth, -jnp.inf)
