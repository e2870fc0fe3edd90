"""Generation: the compiled loop equals a plain loop; temperature, top_k, top_p and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.models.config import ModelConfig
from rnnlab.models.generate import (
    generate,
    generate_chunks,
    sample_token,
    smallest_in_nucleus,
)


@pytest.fixture(scope="module")
def model():
    architecture = ModelConfig(width=8, depth=1, conv_kernel_size=3, mlp_expansion=None)
    made = architecture.build(5, vocab_size=5, rngs=nnx.Rngs(0))
    made.head_kernel[...] *= 100
    return made


def test_generate_equals_a_loop_of_steps(model):
    prompt, key = jnp.array([[1, 2], [3, 0]]), jax.random.key(1)
    tokens = generate(model, prompt, 6, key, temperature=0.7, top_k=3)
    run = jax.jit(lambda ids: model(model.initial_carry((2,)), ids)[1])
    seen = jnp.zeros((2, 8), prompt.dtype).at[:, :2].set(prompt)
    for t in range(6):
        logits = run(seen)[:, t + 1]  # the zeros after it do not reach it
        token = sample_token(logits, jax.random.fold_in(key, t), 0.7, 3)
        seen = seen.at[:, t + 2].set(token)
    np.testing.assert_array_equal(tokens, seen[:, 2:])


def test_temperature_0_takes_the_most_likely_token(model):
    prompt = jnp.array([1, 2, 3])
    tokens = generate(model, prompt, 5, jax.random.key(0), temperature=0.0)
    cold = generate(model, prompt, 5, jax.random.key(9), top_k=1)
    np.testing.assert_array_equal(tokens, cold)
    first = model(model.initial_carry(()), prompt)[1][-1].argmax()
    assert int(tokens[0]) == int(first)


def test_samples_have_the_probabilities_of_the_model():
    logits = jnp.log(jnp.array([0.5, 0.3, 0.15, 0.05]))
    keys = jax.random.split(jax.random.key(0), 20_000)
    for temperature, top_k in ((1.0, None), (2.0, None), (1.0, 2)):
        counts = np.bincount(
            jax.vmap(lambda k, t=temperature, n=top_k: sample_token(logits, k, t, n))(keys)
        )
        wanted = np.array([0.5, 0.3, 0.15, 0.05]) ** (1 / temperature)
        wanted[top_k or 4 :] = 0
        share = np.zeros(4)
        share[: len(counts)] = counts / counts.sum()
        np.testing.assert_allclose(share, wanted / wanted.sum(), atol=0.015)


def nucleus(p, top_p):
    """Returns the fewest most likely classes of mass `top_p`, class by class."""
    kept, mass = [], 0.0
    for k in sorted(range(len(p)), key=lambda k: -p[k]):
        if mass < top_p:
            kept.append(k)
        mass += p[k]
    return sorted(kept)


def test_nucleus_equals_a_loop_over_classes():
    p = np.random.default_rng(0).dirichlet(np.full(7, 0.5), size=40)
    for top_p in (1e-6, 0.3, 0.9, 0.999):
        logits = jnp.log(jnp.asarray(p, jnp.float32))
        least = smallest_in_nucleus(logits, jnp.full(40, top_p, jnp.float32))
        kept = np.asarray(logits >= least[:, None])
        assert [np.flatnonzero(row).tolist() for row in kept] == [nucleus(x, top_p) for x in p]
    assert not jnp.isfinite(smallest_in_nucleus(jnp.zeros(3), jnp.float32(1.0)))


def test_top_p_keeps_mass_after_temperature_and_top_k():
    p = np.array([0.4, 0.3, 0.2, 0.1])
    keys = jax.random.split(jax.random.key(0), 20_000)
    for temperature, top_k, top_p in ((1.0, None, 0.5), (2.0, None, 0.5), (1.0, 2, 0.55)):
        options = (temperature, top_k, top_p)
        draw = jax.vmap(lambda k, o=options: sample_token(jnp.log(jnp.asarray(p)), k, *o))
        wanted = p ** (1 / temperature)
        wanted[top_k or 4 :] = 0
        wanted /= wanted.sum()
        kept = nucleus(wanted, top_p)
        wanted = np.where(np.isin(np.arange(4), kept), wanted, 0)
        share = np.bincount(draw(keys), minlength=4) / len(keys)
        np.testing.assert_allclose(share, wanted / wanted.sum(), atol=0.015)


def test_chunks_together_equal_the_whole_continuation(model):
    prompt, key = jnp.array([[1, 2], [3, 0]]), jax.random.key(4)
    options = {"temperature": 0.9, "top_k": 4, "top_p": 0.8}
    parts = list(generate_chunks(model, prompt, 7, key, chunk=3, **options))
    assert [part.shape for part in parts] == [(2, 3), (2, 3), (2, 1)]
    whole = generate(model, prompt, 7, key, **options)
    np.testing.assert_array_equal(jnp.concatenate(parts, -1), whole)


def test_padded_prompts_continue_as_separate_ones(model):
    prompts, key = (jnp.array([1, 2, 3]), jnp.array([4])), jax.random.key(0)
    padded = jnp.array([[1, 2, 3], [4, 0, 0]])
    mask = jnp.array([[True, True, True], [True, False, False]])
    together = generate(model, padded, 5, key, temperature=0.0, mask=mask)
    for row, prompt in zip(together, prompts, strict=True):
        np.testing.assert_array_equal(row, generate(model, prompt, 5, key, temperature=0.0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length must be >= 1, got 0"),
        ({"temperature": -1.0}, r"temperature must be in .*, got -1.0"),
        ({"top_k": 6}, "top_k must be in 1 to 5, got 6"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\], got 0.0; pass 0.9"),
        ({"mask": jnp.array([False])}, "mask must be True at the first token of each prompt"),
        ({"prompt": jnp.zeros((0,), jnp.int32)}, "prompt must have at least one token"),
        ({"key": 0}, r"key must be a random key, got 0; pass jax.random.key\(0\)"),
        ({"prompt": jnp.array([1, 5])}, r"prompt must be token ids in \[0, 5\), got 5 at index"),
        ({"prompt": jnp.int32(1)}, r"got shape \(\); start with a token"),
    ],
)
def test_option_out_of_range_is_refused(model, options, message, unchecked):
    arguments = {"prompt": jnp.array([1]), "length": 3, "key": jax.random.key(0)} | options
    with pytest.raises(ValueError, match=message):
        generate(model, **arguments)


def test_generate_with_a_model_of_values_raises():
    model = ModelConfig(width=4, depth=1).build(5, in_features=5, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="model must read tokens, got one that reads values"):
        generate(model, jnp.array([1]), 3, jax.random.key(0))
