"""The training loop without runs: it calls back for records, checkpoints and stops."""

from pathlib import Path

import numpy as np
import pytest
from flax import nnx

import rnnlab.train
from rnnlab.models.config import ModelConfig
from rnnlab.tasks import Adding
from rnnlab.train.callbacks import LoopCallbacks, Reporter, TrainingStopped
from rnnlab.train.config import TrainConfig
from rnnlab.train.loop import TrainingLoop

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")

SMALL = ModelConfig(width=4, depth=1, expansion=1, conv_kernel_size=None, mlp_expansion=None)


CONFIG = TrainConfig(steps=4, eval_every=2, log_every=1)


def training_loop(config=CONFIG, **callbacks):
    data = Adding(length=8, batch_size=4, evaluation_size=8).load(0)
    model = SMALL.build(data.out_features, in_features=data.in_features, rngs=nnx.Rngs(0))
    return TrainingLoop(model, data, config, LoopCallbacks(**callbacks))


def test_loop_calls_back_for_records_and_checkpoints(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    records, saved, lines = [], [], []
    loop = training_loop(
        write_record=records.append,
        save_checkpoint=lambda step, tree, *, best: saved.append((step, best)),
        reporter=Reporter(log=lines.append),
    )
    loop.run()
    assert [r["step"] for r in records if "loss" in r] == [1, 2, 3, 4]
    evaluations = {r["step"]: r["mse"] for r in records if r.get("set") == "valid"}
    assert list(evaluations) == [step for step, _ in saved] == [0, 2, 4]
    best = int(loop.progress.best_step)
    assert evaluations[best] == min(evaluations.values()) == float(loop.progress.best_value)
    assert max(step for step, is_best in saved if is_best) == best
    assert sum("saved step" in line for line in lines) == 3
    assert list(tmp_path.iterdir()) == []


def test_loop_stops_where_asked_and_saves_its_state():
    updates, saved = [], []
    loop = training_loop(
        save_checkpoint=lambda step, tree, *, best: saved.append(step),
        should_stop=lambda: len(updates) == 3,
        reporter=Reporter(on_update=lambda step, metrics: updates.append(step)),
    )
    with pytest.raises(TrainingStopped):
        loop.run()
    assert saved == [0, 2, 3]
    loop.callbacks = LoopCallbacks()
    loop.run()
    assert int(loop.state.step) == 4


def test_update_is_read_while_the_next_one_is_queued():
    events, states = [], []
    loop = training_loop(
        reporter=Reporter(on_update=lambda step, metrics: events.append(f"read {step}")),
        save_checkpoint=lambda step, tree, *, best: states.append(tree),
        config=TrainConfig(steps=5, eval_every=5, log_every=3),
    )
    train_step = loop.train_step

    def recorded(state, batches):
        events.append(f"queue {sum(e.startswith('queue') for e in events) + 1}")
        return train_step(state, batches)

    loop.train_step = recorded
    loop.run()
    assert " ".join(events) == (
        "queue 1 queue 2 read 1 queue 3 read 2 read 3 queue 4 queue 5 read 4 read 5"
    )
    recent = states[-1]["progress"].loss_history.recent
    assert np.isfinite(recent).sum() == 5, "a checkpoint has the losses of all updates"


def test_train_modules_do_not_import_runs():
    for path in Path(rnnlab.train.__file__).parent.glob("*.py"):
        assert "rnnlab.runs" not in path.read_text(encoding="utf-8"), path
