"""Generation: the compiled loop equals a plain loop; temperature, top_k and errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.models.config import ModelConfig
from rnnlab.models.generate import generate, sample_token


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 0}, "length must be >= 1, got 0"),
        ({"temperature": -1.0}, r"temperature must be in .*, got -1.0"),
        ({"top_k": 6}, "top_k must be in 1 to 5, got 6"),
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
