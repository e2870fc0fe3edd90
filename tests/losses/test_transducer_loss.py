"""The transducer's loss against all paths, a forward-backward pass and closed forms."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from label_oracles import log_softmax, transducer_by_paths, transducer_forward_backward

import rnnlab


def transducer_loss(*arrays, **options):
    """The loss of NumPy arrays."""
    arrays = [None if x is None else jnp.asarray(x) for x in arrays]
    return rnnlab.transducer_loss(*arrays, **options)


def lattice(*shape, seed=0):
    """Returns log probabilities of the blank and of the next label at each node."""
    logits = np.random.default_rng(seed).normal(size=(*shape, 4)) * 2
    logits[..., 1] += 1
    log_probs = log_softmax(logits)
    return log_probs[..., 0], log_probs[..., :-1, 1]


@pytest.fixture
def x64():
    with jax.enable_x64(True):
        yield


def loss_and_gradients(blank, emit, lengths=None, label_lengths=None, **options):
    def total(blank, emit):
        nats = transducer_loss(blank, emit, lengths, label_lengths, **options)
        return nats.sum(), nats

    gradients, nats = jax.jit(jax.grad(total, (0, 1), has_aux=True))(
        jnp.asarray(blank), jnp.asarray(emit)
    )
    return (np.asarray(nats), *map(np.asarray, gradients))


@pytest.mark.parametrize("shape", [(5, 5), (8, 2), (1, 4), (6, 1)])
def test_loss_and_gradients_equal_the_sum_over_all_paths(x64, shape):
    blank, emit = lattice(*shape)
    nats, dblank, demit = loss_and_gradients(blank, emit)
    expected, by_blank, by_emit = transducer_by_paths(blank, emit)
    np.testing.assert_allclose(nats, expected, rtol=1e-12)
    np.testing.assert_allclose(dblank, -by_blank, atol=1e-12)
    np.testing.assert_allclose(demit, -by_emit, atol=1e-12)


def test_ragged_batch_equals_a_forward_backward_pass_of_each_example(x64):
    lengths, label_lengths = np.array([[19, 7], [12, 1]]), np.array([[4, 6], [0, 3]])
    blank, emit = lattice(2, 2, 19, 7)
    inside = np.arange(19)[:, None] < lengths[..., None, None]
    inside = inside & (np.arange(7) <= label_lengths[..., None, None])
    blank = np.where(inside, blank, np.nan)  # what is in padding must not matter
    emit = np.where(inside[..., 1:], emit, np.nan)
    nats, dblank, demit = loss_and_gradients(blank, emit, lengths, label_lengths)
    for k in np.ndindex(2, 2):
        t, u = lengths[k], label_lengths[k]
        expected, by_blank, by_emit = transducer_forward_backward(
            blank[k][:t, : u + 1], emit[k][:t, :u]
        )
        np.testing.assert_allclose(nats[k], expected, rtol=1e-10)
        np.testing.assert_allclose(dblank[k][:t, : u + 1], -by_blank, atol=1e-10)
        np.testing.assert_allclose(demit[k][:t, :u], -by_emit, atol=1e-10)
        np.testing.assert_allclose(-dblank[k].sum(), t)  # a path has one blank per time step
        np.testing.assert_allclose(-demit[k].sum(), u, atol=1e-12)
        assert not dblank[k][t:].any()
        assert not demit[k][:, u:].any()


@pytest.mark.parametrize(
    "shape", [(2, 60, 11), pytest.param((8, 400, 51), marks=pytest.mark.slow)], ids=str
)
def test_float32_and_bfloat16_inputs_keep_the_precision_of_float32(shape):
    blank, emit = lattice(*shape)
    narrow = [jnp.asarray(x, jnp.bfloat16) for x in (blank, emit)]
    exact = [np.asarray(x, np.float64) for x in narrow]
    expected = [transducer_forward_backward(b, e) for b, e in zip(*exact, strict=True)]
    single = [x.astype(jnp.float32) for x in narrow]
    for inputs, tolerance in ((single, 2e-5), (narrow, 4e-3)):
        nats, dblank, demit = loss_and_gradients(*inputs)
        assert nats.dtype == np.float32
        assert dblank.dtype == inputs[0].dtype
        np.testing.assert_allclose(nats, [x[0] for x in expected], rtol=1e-6)
        for found, k in ((dblank, 1), (demit, 2)):
            wanted = -np.stack([x[k] for x in expected])
            np.testing.assert_allclose(found.astype(np.float64), wanted, atol=tolerance)


def test_loss_of_equal_nodes_is_the_number_of_paths_times_their_probability(x64):
    time, labels, p = 30, 9, 0.3
    blank = np.full((time, labels + 1), math.log(p))
    emit = np.full((time, labels), math.log(1 - p))
    paths = math.comb(time + labels - 1, labels)
    expected = -math.log(paths) - time * math.log(p) - labels * math.log(1 - p)
    np.testing.assert_allclose(transducer_loss(blank, emit), expected, rtol=1e-13)
    np.testing.assert_allclose(transducer_loss(blank[:, :1], emit[:, :0]), -blank[:, 0].sum())


def test_examples_without_a_path_are_infinite_and_get_no_gradient():
    blank, emit = map(np.float32, lattice(4, 3, 3))
    emit[1, :, 0] = -np.inf  # the first label cannot be emitted
    lengths, label_lengths = np.array([3, 3, 0, 0]), np.array([2, 2, 1, 0])
    nats, dblank, demit = loss_and_gradients(blank, emit, lengths, label_lengths)
    assert np.isfinite(nats).tolist() == [True, False, False, True]
    assert nats[3] == 0
    assert np.isfinite(dblank).all()
    assert np.isfinite(demit).all()
    assert not dblank[1:].any()
    assert not demit[1:].any()
    assert demit[0].any()
    assert transducer_loss(blank[0, :0], emit[0, :0]) == np.inf


def test_fast_emit_scales_the_gradient_of_labels_only():
    blank, emit = map(np.float32, lattice(2, 6, 4))
    plain = loss_and_gradients(blank, emit)
    fast = loss_and_gradients(blank, emit, fast_emit=0.25)
    for found, wanted in zip(fast, (plain[0], plain[1], 1.25 * plain[2]), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6)


def test_second_derivatives_equal_those_of_the_sum_over_all_paths(x64):
    blank, emit = lattice(3, 3)

    def posterior(x):  # of one arc, by enumeration
        return transducer_by_paths(blank + x, emit)[1][1, 1]

    def gradient(x):
        return jax.grad(transducer_loss)(blank + x, jnp.asarray(emit))[1, 1]

    found = jax.grad(lambda x: gradient(x))(jnp.zeros_like(blank))
    for k in np.ndindex(blank.shape):
        h = np.zeros_like(blank)
        h[k] = 1e-5
        numeric = -(posterior(h) - posterior(-h)) / 2e-5
        np.testing.assert_allclose(found[k], numeric, atol=1e-9)


def test_loss_inside_shard_map_equals_one_device():
    blank, emit = map(np.float32, lattice(2, 5, 3))
    spec = jax.sharding.PartitionSpec("data")
    mesh = jax.sharding.Mesh(jax.devices()[:1], "data")
    sharded = jax.shard_map(
        lambda b, e: jax.grad(lambda b: transducer_loss(b, e).sum())(b),
        mesh=mesh,
        in_specs=(spec, spec),
        out_specs=spec,
    )
    np.testing.assert_allclose(sharded(blank, emit), loss_and_gradients(blank, emit)[1], atol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"emit": np.zeros((3, 3))}, "emit must have shape"),
        ({"lengths": np.int32(4)}, "lengths must be in 0 to 3, got 4"),
        ({"label_lengths": np.int32(-1)}, "label_lengths must be in 0 to 2, got -1"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(change, message):
    arguments = {"blank": np.zeros((3, 3)), "emit": np.zeros((3, 2)), **change}
    with pytest.raises(ValueError, match=message) as error:
        rnnlab.transducer_loss(**{name: jnp.asarray(x) for name, x in arguments.items()})
    assert "\n" not in str(error.value)


def test_negative_fast_emit_is_refused():
    with pytest.raises(ValueError, match="fast_emit must be >= 0, got -1"):
        transducer_loss(np.zeros((3, 3)), np.zeros((3, 2)), fast_emit=-1.0)


def test_forward_mode_is_refused():
    blank, emit = map(np.float32, lattice(3, 2))
    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(lambda b: transducer_loss(b, emit), (jnp.asarray(blank),), (jnp.asarray(blank),))
