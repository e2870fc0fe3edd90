"""Words by their id and their characters: a NumPy loop, streaming, saving, and invalid ids."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import rnnlab
from rnnlab import MinGRU, SequenceModel
from rnnlab.layers import CharacterEmbedding
from rnnlab.models.config import ModelConfig

WORDS, CHARACTERS, LENGTH = 5, 7, 4
IDS = np.array([[[3, 1, 2, 0, 0], [0, 6, 5, 4, 3], [1, 0, 0, 0, 0]]] * 2)


def embedded_word(layer, ids):
    """Returns one embedded word by a loop over its characters."""
    vectors, kernel = np.asarray(layer.characters[...]), np.asarray(layer.conv_kernel[...])
    real = [vectors[k] for k in ids[1:] if k]
    edge = np.zeros_like(vectors[0])
    padded = [edge, *real, edge]
    best = np.zeros(layer.features)
    for k in range(len(real)):
        near = np.concatenate(padded[k : k + 3])
        best = np.maximum(best, near @ kernel + np.asarray(layer.conv_bias[...]))
    return np.asarray(layer.words[...])[ids[0]] + best @ np.asarray(layer.out_kernel[...])


def test_embedding_equals_a_loop_over_characters():
    layer = CharacterEmbedding(WORDS, CHARACTERS, 6, rngs=nnx.Rngs(0), character_width=3)
    layer.conv_bias[...] = jax.random.normal(jax.random.key(1), (6,))
    found = np.asarray(layer(jnp.asarray(IDS)))
    for index in np.ndindex(IDS.shape[:-1]):
        np.testing.assert_allclose(found[index], embedded_word(layer, IDS[index]), atol=1e-5)
    # Words of the same characters differ by their vectors only, and padding does not count.
    longer = np.concatenate([IDS, np.zeros_like(IDS[..., :2])], -1)
    np.testing.assert_allclose(layer(jnp.asarray(longer)), found, atol=1e-6)
    with pytest.raises(ValueError, match="kernel_size must be odd, got 2; pass 3"):
        CharacterEmbedding(WORDS, CHARACTERS, 6, rngs=nnx.Rngs(0), kernel_size=2)


@pytest.fixture(scope="module")
def model():
    rngs = nnx.Rngs(0)
    sizes = {"in_features": LENGTH + 1, "word_sizes": (WORDS, CHARACTERS)}
    return SequenceModel(MinGRU(6, 6, rngs=rngs), 3, rngs=rngs, **sizes)


def test_model_of_words_streams_and_ignores_padding(model):
    xs, mask = jnp.asarray(IDS), jnp.array([[True, True, True], [True, False, False]])
    carry, ys = model(model.initial_carry((2,)), xs, mask=mask)
    state = model.initial_carry((2,))
    for t in range(3):
        state, y = model.step(state, xs[:, t], mask=mask[:, t])
        np.testing.assert_allclose(ys[:, t], y, atol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), carry, state)
    other = jnp.where(mask[..., None], xs, 1)
    np.testing.assert_array_equal(model(model.initial_carry((2,)), other, mask=mask)[1], ys)
    assert model.predict(model.initial_carry((2,)), model.embed(xs))[1].shape == ys.shape


def test_model_of_words_is_saved_and_built_by_its_settings(model, tmp_path):
    rnnlab.save(tmp_path / "model.npz", model)
    loaded = rnnlab.load(tmp_path / "model.npz")
    xs = jnp.asarray(IDS)
    np.testing.assert_array_equal(model(xs)[1], loaded(xs)[1])
    built = ModelConfig(width=8, depth=1).build(
        9, in_features=5, word_sizes=(WORDS, CHARACTERS), rngs=nnx.Rngs(0)
    )
    assert built.word_sizes == (WORDS, CHARACTERS)
    assert built(xs)[1].shape == (2, 3, 9)


@pytest.mark.parametrize(
    ("xs", "message"),
    [
        (np.zeros((2, 3, 4), np.int32), "integers of shape .* with in_features 5, got shape"),
        (np.zeros((2, 3, 5), np.float32), "must be ids of words and characters"),
        (IDS + np.array([5, 0, 0, 0, 0]), r"xs\[..., 0\] must be token ids in \[0, 5\), got 8"),
        (IDS + np.array([0, 6, 0, 0, 0]), r"xs\[..., 1:\] must be token ids in \[0, 7\), got 7"),
    ],
)
def test_ids_out_of_range_are_refused(model, xs, message, unchecked):
    with pytest.raises(ValueError, match=message):
        model(jnp.asarray(xs))
    with pytest.raises(ValueError, match="word_sizes must be used with in_features"):
        SequenceModel(
            MinGRU(6, 6, rngs=nnx.Rngs(0)), 3, rngs=nnx.Rngs(0), vocab_size=5, word_sizes=(5, 7)
        )
