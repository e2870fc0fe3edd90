"""Sequence models keep the cell contract, whatever their input, readout and body."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import CELLS, GRU, Bidirectional, MinGRU, Stack
from rnnlab.layers.attention_pooling import AttentionPooling
from rnnlab.layers.running_mean import RunningMean
from rnnlab.models import SequenceModel
from rnnlab.models.config import ModelConfig, count_parameters, state_bytes
from rnnlab.registry import REGISTRY
from rnnlab.testing import CELL_CHECKS, SEQUENCE_CHECKS, assert_close

pytestmark = pytest.mark.usefixtures("quick_compile")

SMALL = {"width": 8, "depth": 2, "expansion": 2, "conv_kernel_size": 3, "mlp_expansion": 2}
TRANSFORMER = {"heads": 2, "window": 16}
BARE = {"width": 4, "depth": 2, "expansion": 1, "conv_kernel_size": None, "mlp_expansion": None}
HYBRID = ModelConfig("mingru+transformer", **BARE, readout="mean", options=TRANSFORMER)
MODELS = {
    "mean of a hybrid": functools.partial(HYBRID.build, 3, in_features=4, rngs=nnx.Rngs(0)),
    "running mean": functools.partial(RunningMean, 4),
    "attention": lambda: sharp_pooling(4),
}


def sharp_pooling(features):
    """Attention whose scores differ by tens, so that one time step outweighs others."""
    pooling = AttentionPooling(features, rngs=nnx.Rngs(0))
    pooling.query[...] = 20 * jax.random.normal(jax.random.key(1), (features,))
    return pooling


@functools.cache
def built(name):
    return MODELS[name]()


CHECKS = {**SEQUENCE_CHECKS, **CELL_CHECKS}
# What a readout could break; the others are slow for the hybrid, whose layers pass all of them.
READOUT_CHECKS = ("sequence_equals_steps", "packed_equals_separate", "padded_equals_unpadded")


@pytest.mark.parametrize(
    ("name", "check"),
    [
        *(("running mean", check) for check in CHECKS),
        *(("attention", check) for check in CHECKS),
        *(("mean of a hybrid", check) for check in READOUT_CHECKS),
        *(
            pytest.param("mean of a hybrid", check, marks=pytest.mark.slow)
            for check in CHECKS
            if check not in READOUT_CHECKS
        ),
    ],
)
def test_contract(name, check):
    CHECKS[check](built(name), jax.random.key(2))


@pytest.mark.parametrize("check", SEQUENCE_CHECKS)
def test_bidirectional_contract(check):
    model = ModelConfig(**BARE | {"depth": 1}, bidirectional=True, readout="mean").build(
        3, in_features=4, rngs=nnx.Rngs(0)
    )
    SEQUENCE_CHECKS[check](model, jax.random.key(2))


def token_model(**settings):
    return ModelConfig().override(SMALL | settings).build(5, vocab_size=5, rngs=nnx.Rngs(0))


@pytest.mark.parametrize(
    "cell",
    [
        pytest.param(name, marks=() if name == "transformer" else pytest.mark.slow)
        for name in REGISTRY
    ],
)
def test_contract_of_every_layer_holds_on_tokens(cell):
    options = {"heads": 2, "window": 6} if cell == "transformer" else {}
    model = token_model(cell=cell, readout="mean", depth=1, mlp_expansion=None, **options)
    ids = jax.random.randint(jax.random.key(0), (2, 9), 0, 5)
    run = jax.jit(lambda carry, ids, reset, mask: model(carry, ids, reset=reset, mask=mask))
    reset = jnp.zeros((2, 9), bool).at[0, 4].set(True)
    mask = jnp.arange(9)[None] < jnp.array([[9], [6]])
    carry = model.initial_carry((2,))
    after, ys = run(carry, ids, reset, mask)
    middle, left = run(carry, ids[:, :5], reset[:, :5], mask[:, :5])
    end, right = run(middle, ids[:, 5:], reset[:, 5:], mask[:, 5:])
    assert_close((end, jnp.concatenate([left, right], 1)), (after, ys), "cut")

    @jax.jit
    def fold(carry):
        def body(carry, row):
            x, reset, mask = row
            return model.step(carry, x, reset=reset, mask=mask)

        return jax.lax.scan(body, carry, (ids.T, reset.T, mask.T))

    streamed, steps = fold(carry)
    assert_close((streamed, jnp.moveaxis(steps, 0, 1)), (after, ys), "steps")
    alone = run(model.initial_carry((1,)), ids[:1, 4:], reset[:1, 4:], mask[:1, 4:])[1]
    assert_close(ys[:1, 4:], alone, "after a reset")
    assert not ys[1, 6:].any()


def test_mean_readout_at_the_last_step_is_the_mean_over_the_sequence(getkey):
    body = Bidirectional(MinGRU(4, 3, rngs=nnx.Rngs(0)), MinGRU(4, 3, rngs=nnx.Rngs(1)))
    model = SequenceModel(body, 2, in_features=5, readout="mean", rngs=nnx.Rngs(2))
    xs = jax.random.normal(getkey(), (2, 6, 5))
    mask = jnp.arange(6)[None] < jnp.array([[6], [4]])
    ys = model(model.initial_carry((2,)), xs, mask=mask)[1]
    hidden = model.norm(body(body.initial_carry((2,)), model.project(xs), mask=mask)[1])
    for row, length in enumerate((6, 4)):
        mean = hidden[row, :length].mean(0)
        wanted = mean @ model.head_kernel[...] + model.head_bias[...]
        assert_close(ys[row, length - 1], wanted)


def test_attention_over_a_sequence_equals_a_softmax_over_its_time_steps(getkey):
    pooling = sharp_pooling(4)
    xs = 3 * jax.random.normal(getkey(), (2, 9, 4))
    reset = jnp.zeros((2, 9), bool).at[1, 4].set(True)
    ys = pooling(None, xs, reset=reset)[1]
    for row, start in ((0, 0), (1, 4)):
        weights = pooling.attention(xs[row, start:])
        assert weights.max() > 0.9
        assert_close(ys[row, -1], weights @ xs[row, start:])
        scores = pooling.query[...] @ jnp.tanh(xs[row, start:] @ pooling.kernel[...]).T
        assert_close(weights, jnp.exp(scores) / jnp.exp(scores).sum())


def test_attention_of_huge_scores_is_finite(getkey):
    pooling = sharp_pooling(4)
    pooling.query[...] *= 1e4
    graphdef, params = nnx.split(pooling)
    xs = jax.random.normal(getkey(), (9, 4))

    def loss(params, xs):
        return jnp.sum(nnx.merge(graphdef, params, copy=True)(xs)[1])

    assert all(jnp.isfinite(x).all() for x in jax.tree.leaves(jax.grad(loss, (0, 1))(params, xs)))


def test_call_without_a_carry_starts_from_the_initial_one():
    model, ids = token_model(), jnp.array([[0, 1, 2]])
    expected = model(model.initial_carry((1,)), ids)
    for found in (model(ids), model(None, ids), model(model.initial_carry(1), ids), model(xs=ids)):
        assert_close(found, expected)


def test_token_out_of_range_raises_where_its_value_is_known():
    model, ids = token_model(), jnp.array([[0, 1, -1]])
    with pytest.raises(ValueError, match=r"xs must be token ids in \[0, 5\), got -1 at index \(0"):
        model(ids)
    with pytest.raises(ValueError, match=r"x must be token ids in \[0, 5\), got 5; correct"):
        model.step(model.initial_carry(), jnp.int32(5))
    model(ids, mask=ids >= 0)
    clipped = jax.jit(lambda ids: model(ids)[1])
    assert_close(clipped(ids), clipped(jnp.maximum(ids, 0)))


def test_tied_embeddings_are_one_parameter():
    free, tied = token_model(), token_model(tie_embeddings=True)
    assert count_parameters(free) - count_parameters(tied) == 5 * 8
    assert tied.head_kernel is None
    ids = jnp.array([[1, 2, 3]])
    before = tied(tied.initial_carry((1,)), ids)[1]
    tied.head_bias[...] += 1
    assert_close(tied(tied.initial_carry((1,)), ids)[1], before + 1)


def test_variational_dropout_with_a_key_drops_the_same_features_at_all_steps(getkey):
    ids = jnp.zeros((1, 6), jnp.int32)
    plain, same = token_model(), token_model(dropout=0.5, variational=True)
    call = functools.partial(plain, plain.initial_carry((1,)), ids)
    assert_close(call(key=getkey())[1], call()[1])
    block = same.body.layers[0]
    block.project.kernel[...] *= 0
    block.project.bias[...] += 1
    block.mlp.layers[-1].kernel[...] *= 0
    xs = jnp.zeros((1, 6, 8))
    dropped = block(block.initial_carry((1,)), xs, key=getkey())[1]
    assert set(np.unique(dropped)) == {0.0, 2.0}
    assert (dropped == dropped[:, :1]).all()


def test_gradients_with_rematerialization_are_unchanged(getkey):
    ids = jax.random.randint(getkey(), (2, 6), 0, 5)
    key = getkey()

    def gradient(model):
        graphdef, params = nnx.split(model)

        def loss(params):
            built = nnx.merge(graphdef, params, copy=True)
            return jnp.sum(jnp.sin(built(built.initial_carry((2,)), ids, key=key)[1]))

        return jax.jit(jax.grad(loss))(params)

    one, other = (gradient(token_model(dropout=0.2, remat=r)) for r in (True, False))
    assert_close(one, other, "gradients")


def test_bfloat16_model_has_float32_parameters_and_predictions():
    model = token_model(dtype="bfloat16")
    ids = jnp.array([[1, 2, 3]])
    carry, ys = model(model.initial_carry((1,)), ids)
    assert ys.dtype == jnp.float32
    assert {p.dtype for p in jax.tree.leaves(nnx.state(model, nnx.Param))} == {jnp.dtype("float32")}
    assert {leaf.dtype for leaf in jax.tree.leaves(carry)} == {jnp.dtype("float32")}
    wide = token_model()
    difference = ys - wide(wide.initial_carry((1,)), ids)[1]
    assert 0 < jnp.abs(difference).max() < 0.05


# The paper's formulas, without biases: 2 dx dh of 3 dh (dx + dh), and 3 dx dh of 4 dh (dx + dh).
@pytest.mark.parametrize(
    ("expansion", "gru", "lstm"),
    [(1, 0.33, 0.38), (2, 0.22, 0.25), (3, 0.17, 0.19), (4, 0.13, 0.15)],
)
def test_parameters_of_minimal_cells_are_the_papers_fraction(expansion, gru, lstm):
    width = 32
    sizes = {}
    for name, cell in CELLS.items():
        built = cell(width, expansion * width, rngs=nnx.Rngs(0))
        params = jax.tree.leaves(nnx.state(built, nnx.Param))
        sizes[name] = sum(p.size for p in params if p.ndim == 2)
    assert sizes["mingru"] == 2 * width * expansion * width
    assert sizes["gru"] == 3 * expansion * width * (width + expansion * width)
    assert sizes["minlstm"] == 3 * width * expansion * width
    assert sizes["lstm"] == 4 * expansion * width * (width + expansion * width)
    assert sizes["mingru"] / sizes["gru"] == pytest.approx(2 / (3 * (1 + expansion)))
    assert round(sizes["mingru"] / sizes["gru"], 2) == gru
    assert abs(sizes["minlstm"] / sizes["lstm"] - lstm) <= 0.005 + 1e-9


def test_state_bytes_of_recurrent_cells_are_those_of_the_carry():
    stream = token_model(cell="mingru")
    # Of each block: a window of two inputs of the convolution, and the cell's state.
    assert state_bytes(stream) == 2 * 4 * (2 * 8 + 16)
    assert state_bytes(token_model(cell="lstm")) == 2 * 4 * (2 * 8 + 2 * 16)
    near, far = (state_bytes(token_model(cell="transformer", heads=2, window=c)) for c in (16, 32))
    assert 1.9 < far / near < 2.2


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ModelConfig("mingur"), "'mingur' is unknown; did you mean 'mingru'"),
        (lambda: ModelConfig("gru+"), "'' is unknown; choose one of rnn, gru"),
        (lambda: token_model(depth=0), "depth must be >= 1 for cell 'mingru', got 0"),
        (
            lambda: token_model(tie_embeddings=True, candidate="none"),
            "candidate must be .* got 'none'",
        ),
        (
            lambda: SequenceModel(MinGRU(4, 4, rngs=nnx.Rngs(0)), 5, rngs=nnx.Rngs(0)),
            "exactly one of vocab_size",
        ),
        (
            lambda: SequenceModel(
                Stack([GRU(4, 6, rngs=nnx.Rngs(0))]),
                5,
                vocab_size=5,
                tie_embeddings=True,
                rngs=nnx.Rngs(0),
            ),
            "got 4, 6, 5, 5; set tie_embeddings=False",
        ),
        (
            lambda: token_model()(token_model().initial_carry((1,)), jnp.ones((1, 3))),
            "must be token ids, integers of shape",
        ),
        (
            lambda: token_model()(token_model().body.initial_carry((1,)), jnp.zeros((1, 3), int)),
            "carry must have the structure of .*, a ModelCarry, got a tuple",
        ),
    ],
)
def test_invalid_settings_or_inputs_raise_value_error(make, message, unchecked):
    with pytest.raises(ValueError, match=message):
        make()
