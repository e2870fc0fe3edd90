"""The encoder-decoder: masks, streaming, decoding, settings, saving."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import rnnlab
from rnnlab import ModelConfig
from rnnlab.models.config import count_parameters, state_bytes
from rnnlab.train.step import layer_of

SIZES = {"vocab_size": 7, "source_vocab_size": 5}
SOURCE = jnp.array([[1, 4, 0, 2], [3, 2, 0, 0]])
SOURCE_MASK = jnp.array([[1, 1, 1, 1], [1, 1, 0, 0]], bool)
XS = jnp.array([[0, 3, 3], [0, 5, 2]])
CLASSIC = {"conv_kernel_size": None, "mlp_expansion": None, "attention_heads": 1}


def build(cell="mingru", seed=0, sizes=SIZES, **settings):
    config = ModelConfig(cell, **{"width": 8, "depth": 1, **settings})
    return config.build(7, **sizes, rngs=nnx.Rngs(seed))


@pytest.fixture(scope="module", params=["parallel", "input feeding"])
def model(request):
    """A model with decisive predictions, as of a trained one."""
    feeding = request.param == "input feeding"
    model = build("gru", **CLASSIC, input_feeding=True) if feeding else build(encoder_depth=2)
    model.head_kernel[...] = 100 * model.head_kernel[...]
    model.eval()
    return model


def test_steps_after_encode_equal_the_call(model):
    _, wanted = model(XS, source=SOURCE, source_mask=SOURCE_MASK)
    carry = model.encode(SOURCE, SOURCE_MASK)
    for t in range(XS.shape[1]):
        carry, y = model.step(carry, XS[:, t])
        np.testing.assert_allclose(y, wanted[:, t], atol=2e-5)
    assert carry.memory[0].keys.shape == (2, 4, 8)


def test_call_in_two_parts_equals_the_whole(model):
    whole = model(XS, source=SOURCE, source_mask=SOURCE_MASK)[1]
    carry, first = model(XS[:, :2], source=SOURCE, source_mask=SOURCE_MASK)
    second = model(carry, XS[:, 2:])[1]
    np.testing.assert_allclose(np.concatenate([first, second], 1), whole, atol=2e-5)


def test_padding_of_source_and_targets_changes_nothing(model):
    wanted = model(XS[1:, :2], source=SOURCE[1:, :2])[1]
    mask = jnp.array([[1, 1, 0]], bool)
    carry, ys = model(XS[1:], source=SOURCE[1:], source_mask=SOURCE_MASK[1:], mask=mask)
    np.testing.assert_allclose(ys[:, :2], wanted, atol=2e-5)
    assert not np.asarray(ys[:, 2]).any()
    after = model(XS[1:, :2], source=SOURCE[1:], source_mask=SOURCE_MASK[1:])[0]
    for a, b in zip(jax.tree.leaves(carry.layers), jax.tree.leaves(after.layers), strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)


def test_alignments_are_weights_over_the_source(model):
    found = model.alignments(XS, source=SOURCE, source_mask=SOURCE_MASK)
    assert len(found) == len(model.encode(SOURCE).memory)
    for weights in found:
        assert weights.shape[-2:] == (3, 4)
        np.testing.assert_allclose(np.sum(weights, -1), 1, atol=1e-5)
        assert not np.asarray(weights)[1, ..., 2:].any()


def test_decode_takes_the_tokens_that_calls_predict(model):
    found = model.decode(SOURCE, SOURCE_MASK, max_length=6, begin=0, end=1)
    for n, length in enumerate(found.lengths[:, 0].tolist()):
        labels = found.labels[n, 0, :length].tolist()
        xs = jnp.array([[0, *labels]])
        logits = model(xs, source=SOURCE[n : n + 1], source_mask=SOURCE_MASK[n : n + 1])[1]
        path = np.argmax(logits[0], -1).tolist()
        assert path[:length] == labels
        scores = np.asarray(jax.nn.log_softmax(logits[0]))
        total = scores[np.arange(length + 1), [*labels, 1]].sum()
        assert float(found.scores[n, 0]) == pytest.approx(total, abs=1e-3)


def test_beam_search_of_a_model_never_scores_worse_than_greedy(model):
    rng = np.random.default_rng(0)
    source = jnp.int32(rng.integers(5, size=(200, 6)))
    mask = jnp.asarray(np.arange(6) < rng.integers(1, 7, size=(200, 1)))
    settings = {"max_length": 5, "begin": 0, "end": 1}
    greedy = model.decode(source, mask, **settings)
    found = model.decode(source, mask, **settings, beam=3)
    gain = np.asarray(found.scores[:, 0] - greedy.scores[:, 0])
    assert gain.min() >= -1e-4
    assert gain.max() > 0.01


def test_gradients_reach_all_parameters():
    model = build(depth=2, dropout=0.1, tie_embeddings=True)
    model.train()
    graphdef, params = nnx.split(model, nnx.Param)

    def loss(params):
        model = nnx.merge(graphdef, params, copy=True)
        options = {"source": SOURCE, "source_mask": SOURCE_MASK, "key": jax.random.key(0)}
        return jnp.mean(jnp.square(model(XS, **options)[1] - 1))

    for path, gradient in jax.tree.leaves_with_path(jax.jit(jax.grad(loss))(params)):
        assert np.isfinite(gradient).all(), path
        assert np.asarray(gradient).any(), path


def test_source_and_targets_may_be_values():
    model = build(sizes={"in_features": 2, "source_features": 3})
    source, xs = jnp.ones((2, 4, 3)), jnp.ones((2, 3, 2))
    assert model(xs, source=source)[1].shape == (2, 3, 7)
    with pytest.raises(ValueError, match="predict the tokens that it reads, got vocab_size None"):
        model.decode(source, max_length=2, begin=0, end=1)


def test_saved_model_equals_the_loaded_one(model, tmp_path):
    rnnlab.save(tmp_path / "model.npz", model)
    loaded = rnnlab.load(tmp_path / "model.npz")
    wanted = model(XS, source=SOURCE)[1]
    np.testing.assert_array_equal(loaded(XS, source=SOURCE)[1], wanted)


def test_state_of_a_stream_does_not_count_the_source():
    model = build("lstm", conv_kernel_size=None, expansion=1)
    assert state_bytes(model) == 2 * 8 * 4
    gru = build("gru", conv_kernel_size=None, expansion=1)
    assert count_parameters(model) > count_parameters(gru)


def test_computation_in_bfloat16_predicts_in_float32():
    model = build(dtype="bfloat16")
    assert model(XS, source=SOURCE)[1].dtype == jnp.float32
    assert model.encode(SOURCE).memory[0].keys.dtype == jnp.float32


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"bidirectional": True}, "bidirectional must be False for data with a source"),
        ({"readout": "mean"}, "readout must be 'last' for data with a source"),
        ({"options": {"gap_decay": True}}, "must not use the time between inputs"),
        ({"cell": "mingru+gru"}, "depth must be >= 2"),
        ({"attention_heads": 3}, "multiple of heads, 3, got 8"),
    ],
)
def test_setting_that_an_encoder_decoder_lacks_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


@pytest.mark.parametrize("name", ["encoder_depth", "attention_heads", "input_feeding"])
def test_setting_of_an_encoder_decoder_is_refused_without_a_source(name):
    with pytest.raises(ValueError, match=f"{name} must be .* for data without a source"):
        build(sizes={"vocab_size": 7}, **{name: True if name == "input_feeding" else 2})


def test_call_that_does_not_fit_is_refused(model):
    with pytest.raises(ValueError, match="reset must be None for EncoderDecoder"):
        model(XS, source=SOURCE, reset=jnp.zeros((2, 3), bool))
    for call in (model, model.step):
        with pytest.raises(ValueError, match="source must be given"):
            call(model.initial_carry(2), XS if call is model else XS[:, 0])
    with pytest.raises(ValueError, match="source must be token ids"):
        model(XS, source=SOURCE + 1)
    with pytest.raises(ValueError, match="end must be a token id in 0 to 6, got 7"):
        model.decode(SOURCE, max_length=2, begin=0, end=7)


def test_layers_of_gradients_are_named_by_their_stack():
    names = {layer_of(("decoder", "decoder", "layers", "1", "norm", "scale"))}
    names |= {layer_of(("encoder", "layers", "0", "mlp", "layers", "1", "kernel"))}
    assert names == {"decoder layer 1", "encoder layer 0"}
