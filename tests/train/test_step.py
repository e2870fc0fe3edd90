"""The update: padding, packing, gradient accumulation, stateful data, dropout, the optimizer."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import GRU, Block, MinLSTM
from rnnlab.models import SequenceModel
from rnnlab.models.config import ModelConfig
from rnnlab.tasks.batch import IGNORE_INDEX, Batch
from rnnlab.train.config import TrainConfig
from rnnlab.train.losses import categorical
from rnnlab.train.optimizer import named_parameters, optimizer, schedule, weight_decay_mask
from rnnlab.train.step import initial_state, make_train_step, reduce_lr_on_plateau

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")

SMALL = {"width": 8, "depth": 1, "expansion": 2, "conv_kernel_size": 3, "mlp_expansion": None}
VOCABULARY = 5


def model(cell="mingru", **options):
    config = ModelConfig(cell).override(SMALL | options)
    return config.build(VOCABULARY, vocab_size=VOCABULARY, rngs=nnx.Rngs(0))


def tokens(rows, length, seed=0):
    ids = np.random.default_rng(seed).integers(VOCABULARY, size=(rows, length + 1), dtype=np.int32)
    return Batch(ids[:, :-1], ids[:, 1:].copy())


def loss_and_gradient(of, batch):
    graphdef, params = nnx.split(of)
    batch = jax.tree.map(jnp.asarray, batch)

    def loss(params):
        built = nnx.merge(graphdef, params, copy=True)
        flags = {"reset": batch.reset, "mask": batch.mask}
        outputs = built(built.initial_carry(batch.inputs.shape[:1]), batch.inputs, **flags)[1]
        return categorical(outputs, batch.targets, batch.mask)

    return jax.jit(jax.value_and_grad(loss))(params)


def assert_near(one, other, limit):
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        assert np.abs(x - y).max() <= limit * max(np.abs(y).max(), 1e-3)


def pieces():
    """Two sequences: separate, padded in a batch, and packed into one row."""
    alone = [tokens(1, length, seed=length) for length in (4, 7)]
    longest = 7
    inputs = np.zeros((2, longest), np.int32)
    targets = np.full((2, longest), IGNORE_INDEX, np.int32)
    mask = np.zeros((2, longest), bool)
    for row, piece in enumerate(alone):
        length = piece.inputs.shape[1]
        inputs[row, :length], targets[row, :length] = piece.inputs[0], piece.targets[0]
        mask[row, :length] = True
    reset = np.zeros((1, 11), bool)
    reset[0, [0, 4]] = True
    packed = Batch(
        np.concatenate([p.inputs for p in alone], 1),
        np.concatenate([p.targets for p in alone], 1),
        None,
        reset,
    )
    return alone, Batch(inputs, targets, mask), packed


def check_padding_and_packing(of, limit):
    alone, padded, packed = pieces()
    count = sum(p.inputs.shape[1] for p in alone)
    parts = [loss_and_gradient(of, p) for p in alone]
    weights = [p.inputs.shape[1] / count for p in alone]
    value = sum(w * part[0] for w, part in zip(weights, parts, strict=True))
    gradient = jax.tree.map(
        lambda *g: sum(w * x for w, x in zip(weights, g, strict=True)), *[p[1] for p in parts]
    )
    for batch in (padded, packed):
        assert_near(loss_and_gradient(of, batch), (value, gradient), limit)


def some_slow(everyday, slow):
    return [*everyday, *(pytest.param(value, marks=pytest.mark.slow) for value in slow)]


@pytest.mark.parametrize("cell", some_slow(["mingru", "gru"], ["transformer", "mamba", "tcn"]))
def test_loss_and_gradient_of_padded_and_packed_equal_separate(cell):
    check_padding_and_packing(model(cell), 1e-5)


# Not for attention: `jax.nn.dot_product_attention` computes its softmax in float32.
@pytest.mark.parametrize("cell", some_slow([MinLSTM], [GRU]))
def test_loss_and_gradient_of_padded_and_packed_equal_separate_in_float64(cell, x64):
    options = {"rngs": nnx.Rngs(0), "param_dtype": jnp.float64}
    block = Block(8, cell, conv_kernel_size=3, **options)
    of = SequenceModel(block, VOCABULARY, vocab_size=VOCABULARY, **options)
    check_padding_and_packing(of, 1e-11)


def step_of(of, settings):
    return make_train_step(nnx.graphdef(of), "categorical", settings)


def stacked(*batches):
    return jax.tree.map(lambda *x: jnp.stack(x), *batches)


def test_runs_of_several_seeds_share_a_program_and_other_settings_do_not():
    of, settings = model(), TrainConfig()
    shared = step_of(of, settings)
    assert step_of(model(), replace(settings, seed=1)) is shared
    assert step_of(model("gru"), settings) is not shared
    faster = step_of(of, replace(settings, learning_rate=1e-2))
    large = stacked(tokens(4, 6))
    slow_update, fast_update = (
        step(initial_state(of, settings), large)[0].params for step in (shared, faster)
    )
    moved = jax.tree.leaves(nnx.state(of, nnx.Param))[0]
    slow_change, fast_change = (
        np.abs(jax.tree.leaves(x)[0] - moved).max() for x in (slow_update, fast_update)
    )
    assert fast_change > 2 * slow_change > 0


def test_accumulated_batches_equal_one_large_batch():
    large = tokens(4, 6)
    halves = [Batch(large.inputs[k : k + 2], large.targets[k : k + 2]) for k in (0, 2)]
    of, settings = model(), TrainConfig()
    one, metrics = step_of(of, settings)(initial_state(of, settings), stacked(large))
    two, others = step_of(of, settings)(initial_state(of, settings), stacked(*halves))
    assert_near(two.params, one.params, 1e-5)
    assert float(others["loss"]) == pytest.approx(float(metrics["loss"]), rel=1e-6)
    assert int(two.step) == 1


@pytest.mark.parametrize("cell", some_slow(["mingru", "lstm"], ["transformer"]))
def test_stateful_carry_passes_values_but_no_gradient(cell):
    """Two windows of a stream: the second starts from the first's state, cut off the gradient."""
    of = model(cell)
    settings = TrainConfig(learning_rate=1e-9)
    stream = tokens(2, 12)
    windows = [
        Batch(x.inputs, x.targets, None, None)
        for x in (
            Batch(stream.inputs[:, :6], stream.targets[:, :6]),
            Batch(stream.inputs[:, 6:], stream.targets[:, 6:]),
        )
    ]
    step = step_of(of, settings)
    state = initial_state(of, settings, of.initial_carry((2,)))
    state, first = step(state, stacked(windows[0]))
    state, second = step(state, stacked(windows[1]))
    whole = loss_and_gradient(of, stream)[0]
    mean = (float(first["loss"]) + float(second["loss"])) / 2
    assert mean == pytest.approx(float(whole), rel=1e-5)
    fresh = loss_and_gradient(of, windows[1])[0]
    assert float(second["loss"]) != pytest.approx(float(fresh), rel=1e-4)


def test_learned_initial_state_is_updated():
    of = model(learn_initial_state=True)
    settings = TrainConfig()
    before = of.body.layers[0].cell.carry[...]
    state, _ = step_of(of, settings)(initial_state(of, settings), stacked(tokens(2, 6)))
    after = state.params["body"]["layers"][0]["cell"]["carry"][...]
    assert (before != after).all()


def test_reset_clears_the_stateful_carry():
    of, settings = model(), TrainConfig(learning_rate=1e-9)
    window = tokens(2, 6)
    reset = np.zeros((2, 6), bool)
    reset[:, 0] = True
    step = step_of(of, settings)
    state = initial_state(of, settings, of.initial_carry((2,)))
    state, _ = step(state, stacked(tokens(2, 6, seed=1)._replace(reset=reset)))
    _, metrics = step(state, stacked(window._replace(reset=reset)))
    fresh = float(loss_and_gradient(of, window)[0])
    assert float(metrics["loss"]) == pytest.approx(fresh, rel=1e-5)


def test_dropout_depends_on_the_seed_and_the_step():
    of, batch = model(dropout=0.5), stacked(tokens(2, 6))
    step = step_of(of, TrainConfig(learning_rate=1e-9))

    def losses(seed):
        state, values = initial_state(of, TrainConfig(seed=seed)), []
        for _ in range(3):
            state, metrics = step(state, batch)
            values.append(float(metrics["loss"]))
        return values

    assert losses(0) == losses(0)
    assert losses(0) != losses(1)
    assert len(set(losses(0))) == 3


def test_update_compiles_once_donates_its_state_and_learns():
    of, settings = model(), TrainConfig(learning_rate=1e-2)
    step, batch = step_of(of, settings), stacked(tokens(4, 6))
    initial = state = initial_state(of, settings)
    losses = []
    for _ in range(60):
        state, metrics = step(state, batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.3 * losses[0]
    assert step._cache_size() == 1
    assert initial.params["head_bias"][...].is_deleted()


def test_recurrent_regularizer_changes_only_recurrent_kernels():
    of, batch = model("gru"), stacked(tokens(2, 6))
    plain, l2 = (
        TrainConfig(grad_clip_norm=None),
        TrainConfig(grad_clip_norm=None, recurrent_l2=0.5, recurrent_l1=0.25),
    )
    differences = []
    for settings in (plain, l2):
        state, _ = step_of(of, settings)(initial_state(of, settings), batch)
        differences.append(state.optimizer)
    # Adam's first moment is a tenth of the gradient: the penalty's share is 2 l2 w + l1 sign(w).
    kernels = {p: w for p, w in named_parameters(nnx.state(of)) if p[-1] == "recurrent_kernel"}
    moments = [
        {p: m for p, m in named_parameters(d[0].mu) if p[-1] == "recurrent_kernel"}
        for d in differences
    ]
    for path, w in kernels.items():
        share = 10 * (moments[1][path] - moments[0][path])
        np.testing.assert_allclose(share, w + 0.25 * np.sign(w), atol=1e-5)
    minimal = model()
    step, state = step_of(minimal, l2), initial_state(minimal, l2)
    with pytest.raises(ValueError, match="must be 0 in a model without recurrent kernels"):
        step(state, batch)


def test_weight_decay_mask_selects_matrices():
    params = nnx.state(model("mingru+mamba", depth=2), nnx.Param)
    for gates in (True, False):
        for (path, p), (_, yes) in zip(
            named_parameters(params),
            named_parameters(weight_decay_mask(params, gates)),
            strict=True,
        ):
            name = path[-1]
            if "bias" in name or name in ("scale", "carry", "log_rate", "skip") or p.ndim < 2:
                assert not yes, path
            elif name in ("update_kernel", "candidate_kernel"):
                assert yes == gates, path
            else:
                assert yes, path


@pytest.mark.parametrize("name", ["adamw", "adam", "rmsprop"])
def test_every_optimizer_moves_against_the_gradient(name):
    settings = TrainConfig(optimizer=name, grad_clip_norm=None)
    rule, params = optimizer(settings), {"w": jnp.ones((2, 2))}
    updates, _ = rule.update({"w": jnp.full((2, 2), 3.0)}, rule.init(params), params)
    assert (updates["w"] < 0).all()


def test_schedule_warms_up_and_decays():
    settings = TrainConfig(steps=100, warmup_steps=10, schedule="cosine", end_lr_fraction=0.1)
    rate = schedule(settings)
    values = [float(rate(k)) for k in (0, 5, 10, 55, 100)]
    assert values == pytest.approx([0, 5e-4, 1e-3, 5.5e-4, 1e-4])
    constant = schedule(TrainConfig(steps=100, warmup_steps=10))
    assert float(constant(99)) == pytest.approx(1e-3)


def test_learning_rate_is_reduced_on_a_plateau():
    of = model()
    settings = TrainConfig(schedule="plateau", plateau_patience=2)
    state = initial_state(of, settings)
    scales = []
    for value in (1.0, 0.5, 0.6, 0.7, 0.4, 0.3):
        state = reduce_lr_on_plateau(settings, state, value)
        scales.append(float(state.plateau.scale))
    assert scales == [1, 1, 1, 0.5, 0.5, 0.5]
    # Accuracies come as their negatives.
    state = initial_state(of, settings)
    for value in (-0.7, -0.8, -0.8, -0.8):
        state = reduce_lr_on_plateau(settings, state, value)
    assert float(state.plateau.scale) == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"learning_rate": 0.0}, "learning_rate must be a finite number > 0, got 0.0"),
        ({"beta1": 1.0}, r"beta1 must be in \[0, 1\), got 1.0"),
        ({"weight_decay": -1.0}, "weight_decay must be >= 0, got -1.0"),
        (
            {"weight_decay": 0.1, "optimizer": "adam"},
            "weight_decay must be 0 with optimizer 'adam'",
        ),
        ({"patience": 0}, "patience must be a finite number > 0, got 0"),
    ],
)
def test_settings_out_of_range_are_an_error(options, message):
    with pytest.raises(ValueError, match=message):
        TrainConfig(**options)
