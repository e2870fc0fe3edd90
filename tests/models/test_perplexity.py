"""Perplexity of a text in chunks against one call of the model on the whole text."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.models.config import ModelConfig
from rnnlab.models.perplexity import likelihood


@pytest.fixture(scope="module")
def model():
    config = ModelConfig(width=8, depth=1, conv_kernel_size=3, mlp_expansion=None)
    made = config.build(5, vocab_size=5, rngs=nnx.Rngs(0))
    made.head_kernel[...] *= 30
    return made


def test_likelihood_in_chunks_equals_one_call(model):
    ids = np.random.default_rng(0).integers(0, 5, 20)
    _, logits = model(model.initial_carry(()), jnp.asarray(ids[:-1]))
    logs = np.asarray(jax.nn.log_softmax(logits), np.float64)
    wanted = -logs[np.arange(19), ids[1:]].sum()
    for chunk in (8, 512):
        found = likelihood(model, ids, chunk=chunk)
        assert found.tokens == 19
        np.testing.assert_allclose(found.nats, wanted, rtol=1e-5)
    np.testing.assert_allclose(found.perplexity, np.exp(wanted / 19), rtol=1e-5)


def test_likelihood_of_what_a_model_cannot_predict_raises(model, unchecked):
    with pytest.raises(ValueError, match="ids must have >= 2 tokens"):
        likelihood(model, np.array([1]))
    with pytest.raises(ValueError, match=r"ids must be token ids in \[0, 5\), got 7"):
        likelihood(model, np.array([1, 7]))
    classes = ModelConfig(width=4, depth=1).build(3, vocab_size=5, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="model must read tokens and predict the next one"):
        likelihood(classes, np.array([1, 2]))
