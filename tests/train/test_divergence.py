"""NaN never reaches the parameters, and a training that fails stops."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.errors import TrainingDivergedError
from rnnlab.models.config import ModelConfig
from rnnlab.runs import api
from rnnlab.runs.api import Experiment, resume
from rnnlab.runs.checkpoints.store import CheckpointStore
from rnnlab.runs.run_dir import RunDirectory
from rnnlab.tasks import Adding
from rnnlab.tasks.batch import Batch
from rnnlab.train.callbacks import Reporter
from rnnlab.train.config import TrainConfig
from rnnlab.train.divergence import LossHistory, check_divergence
from rnnlab.train.step import SPIKE_MIN_HISTORY, initial_state, make_train_step

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")

SMALL = ModelConfig(width=4, depth=1, expansion=1, conv_kernel_size=2, mlp_expansion=None)
LIMIT = 3


def batch(step, value=None, factor=1.0):
    """A batch that has a value in one of its inputs, or whose targets are larger."""
    rng = np.random.default_rng(step)
    inputs = rng.normal(size=(1, 2, 6, 2)).astype(np.float32)
    targets = factor * rng.normal(size=(1, 2, 6, 1)).astype(np.float32)
    if value is not None:
        inputs[0, 1, 2, 0] = value
    return jax.tree.map(jnp.asarray, Batch(inputs, targets))


@pytest.fixture(scope="module")
def stepped():
    """Compiled updates by configuration, and a model's initial state."""
    model = SMALL.build(1, in_features=2, rngs=nnx.Rngs(0))
    graphdef = nnx.graphdef(model)
    made = {}

    def get(**options):
        settings = TrainConfig(learning_rate=1e-2, warmup_steps=2, **options)
        key = tuple(options.items())
        if key not in made:
            made[key] = make_train_step(graphdef, "squared", settings)
        return made[key], initial_state(model, settings)

    return get


def bytes_of(state):
    tree = state.params, state.optimizer, state.carry, state.recent_stats
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


@pytest.mark.parametrize("at", [0, 1, 4, 7])
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_update_with_nan_or_inf_is_skipped_and_later_ones_are_applied(stepped, at, value):
    """At the first update, in the warm-up, in the middle, at the last."""
    step, state = stepped()
    for k in range(8):
        before, number = bytes_of(state), int(state.step)
        state, metrics = step(state, batch(k, value if k == at else None))
        assert bool(metrics["update_applied"]) == (k != at)
        assert (bytes_of(state) == before) == (k == at)
        assert int(state.step) == number + 1
        assert all(jnp.isfinite(x).all() for x in jax.tree.leaves(state.params))


def test_update_that_overflows_is_skipped():
    """The loss and the gradient are finite, and the learning rate is at the limit of float32."""
    model = SMALL.build(1, in_features=2, rngs=nnx.Rngs(0))
    settings = TrainConfig(learning_rate=3e38)
    step = make_train_step(nnx.graphdef(model), "squared", settings)
    state, metrics = step(initial_state(model, settings), batch(0))
    assert jnp.isfinite(metrics["loss"])
    assert jnp.isfinite(metrics["gradient_norm"])
    assert not metrics["update_applied"]
    assert all(jnp.isfinite(x).all() for x in jax.tree.leaves(state.params))


def test_spike_detection_ignores_losses_near_0(stepped):
    """In a solved task the median loss is 0."""
    step, state = stepped(spike_factor=8.0)
    state = state._replace(recent_stats=jnp.zeros_like(state.recent_stats))
    state = state._replace(params=jax.tree.map(jnp.zeros_like, state.params))
    small = jax.tree.map(lambda x: 1e-4 * x, batch(0))
    _, metrics = step(state, small)
    assert metrics["update_applied"]


def test_update_with_nan_parameters_is_skipped(stepped):
    step, state = stepped()
    state = state._replace(params=jax.tree.map(lambda x: x * jnp.nan, state.params))
    state, metrics = step(state, batch(0))
    assert not metrics["update_applied"]


def test_spike_is_skipped_only_with_a_spike_factor(stepped):
    for skip in (None, 8.0):
        step, state = stepped(spike_factor=skip)
        applied = []
        for k in range(SPIKE_MIN_HISTORY + 6):
            factor = 50.0 if k in (3, SPIKE_MIN_HISTORY + 2) else 1.0
            state, metrics = step(state, batch(k, factor=factor))
            applied.append(bool(metrics["update_applied"]))
        # Before there are enough updates to judge by, none is a spike.
        skipped = [k for k, was in enumerate(applied) if not was]
        assert skipped == ([] if skip is None else [SPIKE_MIN_HISTORY + 2])


def losses(factor, steps, seed, start=1.0, noise=0.05):
    rng = np.random.default_rng(seed)
    return [start * factor**k * math.exp(noise * rng.normal()) for k in range(steps)]


def fed(values):
    """The step at which training stopped, None if it did not."""
    history = LossHistory.empty()
    for step, loss in enumerate(values, 1):
        try:
            history = check_divergence(history, step, loss, 1.0, applied=True, max_skips=LIMIT)
        except TrainingDivergedError:
            return step
    return None


@pytest.mark.parametrize("seed", range(10))
def test_slow_divergence_is_detected_before_ten_times_the_best_loss(seed):
    falling = losses(0.97, 30, seed)
    rising = losses(1.15, 40, seed, start=falling[-1])
    stopped = fed(falling + rising)
    assert stopped is not None
    assert (falling + rising)[stopped - 1] < 10 * min(falling)


@pytest.mark.parametrize("seed", range(20))
def test_healthy_training_is_not_stopped(seed):
    """Losses that fall 1000 times with noise and spikes, stay flat, or rise slowly at the end."""
    rng = np.random.default_rng(seed)
    falling = losses(0.98, 350, seed, noise=0.5)
    for k in rng.integers(350, size=10):
        falling[k] *= 50
    assert fed(falling) is None
    assert fed(losses(1.0, 300, seed, noise=0.3)) is None
    assert fed(falling + losses(1.02, 100, seed, start=falling[-1], noise=0.3)) is None


def test_history_window_ignores_skipped_updates():
    history = LossHistory.empty()
    for step in range(1, 20):
        applied = step % 3 != 0
        history = check_divergence(history, step, 1.0 if applied else math.nan, 1.0, applied, LIMIT)
    assert int(history.total_skips) == 6
    assert np.isfinite(history.recent).all()


@pytest.fixture
def broken(monkeypatch):
    """An experiment whose batches are NaN at some updates."""

    def make(*at, **options):
        loaded = Adding.load

        def broken_load(self, seed):
            data = loaded(self, seed)

            def train(n):
                made = data.train_batch(n)
                return made._replace(inputs=made.inputs * np.nan) if n in at else made

            return dataclasses.replace(data, train_batch=train)

        monkeypatch.setattr(Adding, "load", broken_load)
        settings = {"steps": 12, "eval_every": 2, "log_every": 1, "max_consecutive_skips": LIMIT}
        task = Adding(length=8, batch_size=4, evaluation_size=8)
        return Experiment(task, SMALL, TrainConfig(**settings | options))

    return make


def run(path, experiment, log=lambda line: None):
    return api.run(path, experiment, Reporter(log=log))


def test_run_counts_skipped_updates(tmp_path, broken):
    lines = []
    result = run(tmp_path / "run", broken(2, 5, 6), lines.append)
    assert result["skipped"] == 3
    updates = [r for r in RunDirectory(tmp_path / "run").read_metrics() if "loss" in r]
    assert [r["step"] for r in updates if r["loss"] is None] == [3, 6, 7]
    assert [r["skipped"] for r in updates] == [0, 0, 1, 1, 1, 2, 3, 3, 3, 3, 3, 3]
    assert sum("is skipped" in line for line in lines) == 3


def test_run_with_too_many_skips_stops_and_keeps_valid_checkpoints(tmp_path, broken):
    with pytest.raises(TrainingDivergedError) as stopped:
        run(tmp_path / "run", broken(*range(5, 12)))
    message = str(stopped.value)
    assert "step 9: 4 consecutive updates were skipped as NaN, Inf or spikes" in message
    for part in ("gradient norm nan", "learning rate 0.001", "checkpoint is step 8"):
        assert part in message
    checkpoints = CheckpointStore(tmp_path / "run", {})
    for step in checkpoints.saved_steps():
        checkpoints.verify(step)
    assert not RunDirectory(tmp_path / "run").result.exists()
    # Again from the checkpoint: updates skipped before it still count.
    with pytest.raises(TrainingDivergedError, match="step 9: 4 consecutive updates"):
        resume(tmp_path / "run", Reporter())


def test_run_with_a_growing_learning_rate_stops(tmp_path, broken):
    high = {"learning_rate": 300.0, "warmup_steps": 400, "grad_clip_norm": None}
    with pytest.raises(
        TrainingDivergedError, match=r"the loss has risen to .* checkpoint is step 0;"
    ):
        run(tmp_path / "run", broken(**high, steps=400, eval_every=400, log_every=100))
