"""The training loop without runs: it calls back for records, checkpoints and stops."""

from pathlib import Path

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


def training_loop(**callbacks):
    data = Adding(length=8, batch_size=4, evaluation_size=8).load(0)
    model = SMALL.build(data.out_features, in_features=data.in_features, rngs=nnx.Rngs(0))
    config = TrainConfig(steps=4, eval_every=2, log_every=1)
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


def test_train_modules_do_not_import_runs():
    for path in Path(rnnlab.train.__file__).parent.glob("*.py"):
        assert "rnnlab.runs" not in path.read_text(encoding="utf-8"), path
