"""The transducer: its lattice slice by slice, saving, settings, and both decoders."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import rnnlab
from rnnlab import ModelConfig, transducer_loss
from rnnlab.models.config import count_parameters
from rnnlab.models.decoding.emissions import emission_times, labels_of
from rnnlab.models.decoding.transducer import transducer_decode
from rnnlab.models.decoding.transducer_beam import beam_carry, transducer_beam
from rnnlab.models.decoding.transducer_greedy import transducer_greedy
from rnnlab.models.joint import Joint, node_log_probs
from rnnlab.tasks.batch import Batch
from rnnlab.train.config import TrainConfig
from rnnlab.train.model_call import call_model
from rnnlab.train.step import initial_state, make_train_step

pytestmark = pytest.mark.usefixtures("quick_compile")

RNG = np.random.default_rng(0)
CLASSES = 4


def sharpened(model, factor=6.0):
    """A model whose predictions are not near uniform, as those of a trained one."""
    for part in (model.encoder, model.predictor):
        part.head_kernel[...] = part.head_kernel[...] * 20
    model.joint.kernel[...] = model.joint.kernel[...] * factor
    return model


@pytest.fixture(scope="module")
def model():
    built = ModelConfig(width=8, depth=1, conv_kernel_size=2).build(
        CLASSES, in_features=3, loss="transducer", rngs=nnx.Rngs(1)
    )
    return sharpened(built)


@pytest.fixture(scope="module")
def inputs():
    xs = jnp.asarray(RNG.normal(size=(5, 12, 3)), jnp.float32)
    return xs, jnp.arange(12)[None] < jnp.array([[12], [9], [1], [0], [12]])


def log_prob(model, xs, mask, labels):
    """The model's own log probability of labels, over all alignments."""

    @jax.jit  # one program: without it every operation is compiled on its own
    def run(xs, mask, labels):
        _, nodes = model(xs, labels=labels, mask=mask)
        lengths, counts = mask.sum(-1), (labels >= 0).sum(-1)
        return -transducer_loss(nodes[..., 0], nodes[..., :-1, 1], lengths, counts)

    return np.asarray(run(xs, mask, labels))


@pytest.mark.parametrize("frames", [1, 3, 8])
def test_slices_of_frames_equal_the_full_joint(frames):
    joint = Joint(5, CLASSES, rngs=nnx.Rngs(0))
    encoded, predicted = RNG.normal(size=(2, 7, 5)), RNG.normal(size=(2, 4, 5))
    encoded, predicted = jnp.asarray(encoded, jnp.float32), jnp.asarray(predicted, jnp.float32)
    labels = jnp.array([[3, 1, 2], [2, -1, -1]])

    def full(encoded, predicted):
        logits = joint(encoded[:, :, None], predicted[:, None])
        log_probs = jax.nn.log_softmax(logits)
        chosen = jax.nn.one_hot(jnp.maximum(labels, 0), CLASSES)
        emit = jnp.einsum("btuv,buv->btu", log_probs[:, :, :-1], chosen)
        return transducer_loss(log_probs[..., 0], emit, None, jnp.array([3, 1])).sum()

    def lean(encoded, predicted):
        nodes = node_log_probs(joint, encoded, predicted, labels, frames)
        assert nodes.shape == (2, 7, 4, 2)
        return transducer_loss(nodes[..., 0], nodes[..., :-1, 1], None, jnp.array([3, 1])).sum()

    found = jax.jit(jax.value_and_grad(lean, (0, 1)))(encoded, predicted)
    wanted = jax.jit(jax.value_and_grad(full, (0, 1)))(encoded, predicted)
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(x, y, rtol=2e-5, atol=1e-5)


def test_padding_of_frames_and_labels_does_not_change_the_lattice(model, inputs):
    xs, mask = inputs
    labels = jnp.array([[3, 1, -1, -1]] * 5)
    long = log_prob(model, jnp.where(mask[..., None], xs, jnp.nan), mask, labels)
    short = log_prob(model, xs[1:2, :9], mask[1:2, :9], labels[1:2, :2])
    np.testing.assert_allclose(long[1], short[0], rtol=1e-5)
    assert np.isfinite(long[:3]).all()


def test_model_saves_loads_and_counts_its_parameters(model, inputs, tmp_path):
    rnnlab.save(tmp_path / "model.npz", model)
    loaded = rnnlab.load(tmp_path / "model.npz")
    labels = jnp.array([[1, 2]] * 5)
    found, wanted = (
        jax.jit(lambda xs, m=m: m(xs, labels=labels)[1])(inputs[0]) for m in (loaded, model)
    )
    assert (np.asarray(found) == np.asarray(wanted)).all()
    parts = model.encoder, model.predictor, model.joint
    assert count_parameters(model) == sum(map(count_parameters, parts))


def test_call_of_a_batch_passes_its_labels(model, inputs):
    xs, mask = inputs
    labels = jnp.array([[3, 1]] * 5)
    batch = Batch(xs, None, mask=mask, labels=labels)
    _, found = jax.jit(lambda batch: call_model(model, (), batch))(batch)
    _, wanted = jax.jit(lambda xs: model(xs, mask=mask, labels=labels))(xs)
    np.testing.assert_allclose(found, wanted, atol=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("implicit_promotion")
def test_transducer_learns_to_repeat_its_inputs():
    config = TrainConfig(steps=200, learning_rate=0.02, warmup_steps=1)
    built = ModelConfig(width=16, depth=1).build(
        CLASSES, vocab_size=CLASSES, loss="transducer", rngs=nnx.Rngs(0)
    )
    step = make_train_step(nnx.graphdef(built), "transducer", config, {"fast_emit": 0.01})
    state = initial_state(built, config)
    for n in range(config.steps):
        ids = np.random.default_rng(n).integers(1, CLASSES, size=(1, 16, 6), dtype=np.int32)
        state, metrics = step(state, Batch(ids, None, labels=ids))
    assert metrics["loss"] < 0.2
    nnx.update(built, state.params)
    found = built.decode(jnp.asarray(ids[0]), max_length=8, beam=2)
    errors = (np.asarray(found.labels[:, 0, :6]) != ids[0]).mean()
    assert errors < 0.1


def test_model_in_bfloat16_returns_float32_log_probabilities(inputs):
    built = ModelConfig(width=8, depth=1, dtype="bfloat16").build(
        CLASSES, vocab_size=5, loss="transducer", rngs=nnx.Rngs(1)
    )
    _, nodes = jax.eval_shape(lambda xs: built(xs, labels=jnp.array([[1]])), jnp.array([[1, 2, 4]]))
    assert nodes.dtype == jnp.float32
    assert built.joint.dtype == built.encoder.dtype == jnp.bfloat16


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": None}, "labels must be given to a Transducer"),
        ({"reset": jnp.zeros((5, 12), bool)}, "reset must be None"),
    ],
)
def test_wrong_calls_are_refused_in_one_line(model, inputs, change, message):
    arguments = {"labels": jnp.ones((5, 2), jnp.int32), **change}
    with pytest.raises(ValueError, match=message) as error:
        model(inputs[0], **arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("settings", [{"readout": "mean"}, {"tie_embeddings": True}])
def test_settings_without_a_part_are_refused(settings):
    with pytest.raises(ValueError, match="for the loss 'transducer'"):
        ModelConfig(width=8, depth=1, **settings).build(
            4, in_features=3, loss="transducer", rngs=nnx.Rngs(0)
        )


def greedy_by_hand(model, encoded, max_symbols):
    """Greedy decoding of one sequence as a plain loop, and the log probability of its alignment."""
    step = jax.jit(model.predictor.step)
    joint = jax.jit(lambda *outputs: jax.nn.log_softmax(model.joint(*outputs)))
    state, predicted = step(model.predictor.initial_carry(()), jnp.int32(0))
    found, total = [], 0.0
    for t, frame in enumerate(encoded):
        for emitted in range(max_symbols + 1):
            log_probs = np.asarray(joint(frame, predicted))
            label = int(log_probs.argmax())
            if label == 0 or emitted == max_symbols:
                total += float(log_probs[0])
                break
            total += float(log_probs[label])
            found.append((t, label))
            state, predicted = step(state, jnp.int32(label))
    return found, total


def test_greedy_decoding_equals_a_plain_loop(model, inputs):
    xs, mask = inputs
    carry, emitted = transducer_greedy(model, xs, mask=mask, max_symbols=2)
    labels, times = labels_of(emitted), emission_times(emitted)
    encoded = np.asarray(jax.jit(model.encode)(xs)[1])
    for k, count in enumerate(np.asarray(mask).sum(-1)):
        found, total = greedy_by_hand(model, encoded[k, :count], 2)
        pairs = zip(times[k].tolist(), labels[k].tolist(), strict=True)
        assert [(t, label) for t, label in pairs if label >= 0] == found
        np.testing.assert_allclose(carry.log_prob[k], total, atol=1e-4)
    assert (labels >= 0).sum() > 5


@pytest.mark.parametrize("decoder", [transducer_greedy, transducer_beam])
def test_stream_of_chunks_equals_the_whole_sequence(model, inputs, decoder):
    xs = inputs[0][:2]
    options = {} if decoder is transducer_greedy else {"beam": 3, "max_labels": 36}
    _, whole = decoder(model, xs, **options)
    carry, parts = None, []
    for part in jnp.split(xs, [1, 2, 7], axis=1):
        carry, found = decoder(model, part, carry, **options)
        parts.append(found)
    if decoder is transducer_greedy:
        assert np.concatenate(parts, 1).tolist() == np.asarray(whole).tolist()
    else:
        assert parts[-1].labels.tolist() == whole.labels.tolist()
        assert parts[-1].times.tolist() == whole.times.tolist()
        np.testing.assert_allclose(parts[-1].scores, whole.scores, atol=1e-5)


def test_encoder_of_a_stream_equals_the_whole_sequence(model, inputs):
    encode = jax.jit(model.encode)
    _, whole = encode(inputs[0])
    carry, first = encode(inputs[0][:, :5])
    _, last = encode(carry, inputs[0][:, 5:])
    np.testing.assert_allclose(np.concatenate([first, last], 1), whole, atol=1e-5)


def test_beam_of_1_equals_greedy_decoding(model, inputs):
    xs, mask = inputs
    carry, emitted = transducer_greedy(model, xs, mask=mask)
    _, found = transducer_beam(model, xs, mask=mask, beam=1)
    assert found.labels[:, 0].tolist() == labels_of(emitted).tolist()
    assert found.times[:, 0].tolist() == emission_times(emitted).tolist()
    np.testing.assert_allclose(found.scores[:, 0], carry.log_prob, atol=1e-5)


def test_large_beam_finds_the_probability_of_each_sequence_of_labels(model, inputs):
    xs = inputs[0][0, :3]
    # At most one label per time step: 40 sequences, and every alignment fits into the beam.
    _, found = transducer_beam(model, xs, beam=60, max_symbols=1, max_labels=3)
    used = np.asarray(found.scores) > -np.inf
    assert used.sum() == 1 + 3 + 9 + 27
    assert (np.diff(found.scores[used]) <= 0).all()
    encoded = jax.jit(model.encode)(xs)[1][None].repeat(used.sum(), 0)
    lattices = np.asarray(jax.jit(model.lattice)(encoded, found.labels[used]), np.float64)
    for nodes, labels, score in zip(lattices, found.labels[used], found.scores[used], strict=True):
        own = one_label_per_frame(nodes[:, : 1 + int((labels >= 0).sum())])
        np.testing.assert_allclose(score, own, atol=1e-4)


def one_label_per_frame(nodes):
    """The log probability of the alignments that emit at most one label per time step."""
    alpha = np.full(nodes.shape[1], -np.inf)
    alpha[0] = 0
    for blank, emit in zip(nodes[..., 0], nodes[..., 1], strict=True):
        moved = np.concatenate([[-np.inf], alpha[:-1] + emit[:-1]])
        alpha = np.logaddexp(alpha, moved) + blank
    return alpha[-1]


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_beam_search_is_never_less_likely_than_greedy_decoding(model, count):
    xs = jnp.asarray(np.random.default_rng(1).normal(size=(count, 10, 3)), jnp.float32)
    mask = jnp.ones((count, 10), bool)
    _, emitted = transducer_greedy(model, xs)
    greedy = labels_of(emitted)[:, :20]
    found = transducer_decode(model, xs, beam=4, max_labels=20)
    own = log_prob(model, xs, mask, found.labels[:, 0])
    np.testing.assert_allclose(found.scores[:, 0], own, atol=1e-4)
    assert (own >= log_prob(model, xs, mask, greedy) - 1e-4).all()
    one = transducer_decode(model, xs, beam=1, max_labels=20)
    assert one.labels[:, 0].tolist() == greedy.tolist()
    decoded = model.decode(xs, mask, max_length=20, beam=4)
    assert decoded.labels.tolist() == found.labels.tolist()


def test_decoders_refuse_what_a_transducer_cannot_do(inputs):
    both = ModelConfig(width=8, depth=1, bidirectional=True).build(
        CLASSES, in_features=3, loss="transducer", rngs=nnx.Rngs(0)
    )
    carry, _ = transducer_greedy(both, inputs[0])
    with pytest.raises(ValueError, match="carry must be None where the encoder is bidirectional"):
        transducer_greedy(both, inputs[0], carry)
    with pytest.raises(ValueError, match="begin must be None for a Transducer"):
        both.decode(inputs[0], max_length=3, begin=1)
    with pytest.raises(ValueError, match="beam must be an int >= 1"):
        beam_carry(both, beam=0)
