"""Whole runs: they are reproducible, resume, stop, and write what they report."""

import dataclasses
import json
import os
import shutil
import signal

import jax
import numpy as np
import pytest

from rnnlab.models.config import ModelConfig
from rnnlab.runs import api
from rnnlab.runs import api as experiments
from rnnlab.runs.api import Experiment, load_run, load_trained_model, resume
from rnnlab.runs.checkpoints import manifest
from rnnlab.runs.checkpoints.store import CheckpointStore
from rnnlab.runs.run_dir import RunDirectory
from rnnlab.runs.signals import StopRequested
from rnnlab.tasks import Adding, Text
from rnnlab.train.callbacks import LoopCallbacks, Reporter
from rnnlab.train.config import TrainConfig
from rnnlab.train.loop import TrainingLoop

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")

SMALL = ModelConfig(
    width=4, depth=1, expansion=1, conv_kernel_size=2, mlp_expansion=None, dropout=0.2
)


def adding(**options):
    settings = {"steps": 6, "eval_every": 2, "log_every": 1, "schedule": "plateau"}
    task = Adding(length=8, batch_size=4, evaluation_size=8)
    return Experiment(task, SMALL, TrainConfig(**settings | options))


def stateful(tmp_path, **options):
    path = tmp_path / "text.txt"
    path.write_text("a quick brown fox. " * 40, encoding="utf-8")
    text = Text(path, length=8, batch_size=4, stateful=True)
    return Experiment(text, SMALL, adding(**options).train)


def run(path, experiment, display=None):
    return api.run(path, experiment, display or Reporter())


def parameters(path):
    model, _ = load_trained_model(path)
    return b"".join(np.asarray(p).tobytes() for p in jax.tree.leaves(model))


def state(path):
    """Every array of the newest checkpoint, as its digest."""
    checkpoints = CheckpointStore(path, {})
    newest = checkpoints.directory / str(checkpoints.saved_steps()[-1])
    leaves = manifest.read_verified_manifest(newest).leaves
    return {name: x["sha256"] for name, x in leaves.items() if "seconds" not in name}


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return tmp_path_factory.mktemp("shared")


@pytest.fixture
def finished(shared, implicit_promotion, quick_compile):
    """The directory of a finished run of `adding()`, which tests share and do not change."""
    path = shared / "run"
    if not path.exists():
        lines = []
        result = run(path, adding(), Reporter(log=lines.append))
        (shared / "result.json").write_text(json.dumps(result))
        (shared / "lines.txt").write_text("\n".join(lines))
    return path


@pytest.fixture
def interrupted(shared, implicit_promotion, quick_compile, tmp_path):
    """A copy of a run of `adding()` that SIGTERM stopped after its first update."""
    path = shared / "interrupted"
    if not path.exists():
        with pytest.raises(StopRequested) as stopped:
            run(path, adding(), stop(1, signal.SIGTERM))
        assert stopped.value.exit_code == 143
    return shutil.copytree(path, tmp_path / "run")


def test_run_writes_its_settings_metrics_and_result(finished, shared):
    result = json.loads((shared / "result.json").read_text())
    folder = RunDirectory(finished)
    assert json.loads(folder.result.read_text()) == result
    assert load_run(finished)[2] == adding()
    environment = json.loads(folder.environment.read_text())
    assert {"versions", "cores", "commit", "data_fingerprint", "command"} <= set(environment)
    logged = folder.read_metrics()
    updates = [r for r in logged if "loss" in r]
    assert [r["step"] for r in updates] == [1, 2, 3, 4, 5, 6]
    assert {"gradient_norm/layer 0", "update_ratio/layer 0"} <= set(updates[0])
    evaluations = [r for r in logged if r.get("set") == "valid"]
    assert [r["step"] for r in evaluations] == [0, 2, 4, 6]
    assert 0 <= evaluations[0]["saturated/layer 0/decay"] <= 1
    best = min(evaluations, key=lambda r: r["mse"])
    assert (result["best_step"], result["metrics"]["valid"]["mse"]) == (
        best["step"],
        pytest.approx(best["mse"], rel=1e-6),
    )
    assert result["baselines"] == {"constant": {"mse": pytest.approx(1 / 6)}}
    assert result["parameters"] > 0
    assert result["state_bytes"] == 4 * (4 + 4)
    assert "parameters" in (shared / "lines.txt").read_text()


def test_run_writes_tensorboard_events(tmp_path):
    pytest.importorskip("tensorboardX")
    run(tmp_path / "run", adding(steps=2))
    (file,) = RunDirectory(tmp_path / "run").events.iterdir()
    content = file.read_bytes()
    for name in (b"loss", b"gradient_norm/layer_0", b"valid/mse"):
        assert name in content


def test_run_repeated_has_the_same_bits(finished, tmp_path):
    run(tmp_path / "again", adding())
    assert parameters(finished) == parameters(tmp_path / "again")
    assert state(finished) == state(tmp_path / "again")
    run(tmp_path / "other", adding(seed=1))
    assert parameters(finished) != parameters(tmp_path / "other")


def stop(at, number=signal.SIGINT):
    """Send a signal to this process after an update, as Ctrl-C does."""

    def on_update(step, metrics):
        if step == at:
            os.kill(os.getpid(), number)

    return Reporter(on_update)


@pytest.mark.parametrize(
    ("kind", "at"),
    [
        ("shuffled", 3),
        pytest.param("shuffled", 4, marks=pytest.mark.slow),
        ("stateful", 6),
        ("accumulated", 1),
    ],
)
def test_run_stopped_and_resumed_has_the_same_bits(finished, tmp_path, kind, at):
    options = {"grad_accum_steps": 2} if kind == "accumulated" else {}
    experiment = stateful(tmp_path) if kind == "stateful" else adding(**options)
    whole = finished
    if kind != "shuffled":
        whole = tmp_path / "whole"
        run(whole, experiment)
    with pytest.raises(StopRequested) as stopped:
        run(tmp_path / "parts", experiment, stop(at))
    assert stopped.value.exit_code == 130
    assert not RunDirectory(tmp_path / "parts").result.exists()
    result = resume(tmp_path / "parts", Reporter())
    if at < 6:  # stopped at its last step, a run evaluates that step after its last checkpoint
        assert state(tmp_path / "parts") == state(whole)
    assert parameters(tmp_path / "parts") == parameters(whole)
    assert result["metrics"] == RunDirectory(whole).read_result()["metrics"]
    assert [point[0] for point in result["curve"]] == [0, 2, 4, 6]


def test_run_on_sigterm_stops_between_updates(interrupted):
    assert CheckpointStore(interrupted, {}).saved_steps() == [0, 1]


def test_resume_of_a_finished_run_returns_its_result(finished):
    before = RunDirectory(finished).metrics.read_bytes()
    assert resume(finished, Reporter()) == RunDirectory(finished).read_result()
    assert RunDirectory(finished).metrics.read_bytes() == before


def test_run_without_improvement_stops_early(tmp_path):
    result = run(tmp_path / "run", adding(learning_rate=1e-12, patience=2, steps=50))
    assert result["steps"] <= 8


def test_run_keeps_the_best_and_the_two_latest_checkpoints(tmp_path):
    # With this rate the first evaluations are the best.
    experiment = adding(learning_rate=1e-12, steps=12)
    run(tmp_path / "run", experiment)
    checkpoints = CheckpointStore(tmp_path / "run", {})
    assert set(checkpoints.saved_steps()) == {10, 12, checkpoints.best_step()}
    assert len(list(checkpoints.directory.iterdir())) == len(checkpoints.saved_steps())


def test_run_in_the_directory_of_another_run_is_an_error(finished, tmp_path):
    with pytest.raises(ValueError, match="holds a run of other settings"):
        run(finished, adding(seed=1))
    with pytest.raises(ValueError, match="must be a run's directory"):
        resume(tmp_path / "none", Reporter())


def test_resume_with_changed_data_is_an_error(tmp_path):
    with pytest.raises(StopRequested):
        run(tmp_path / "run", stateful(tmp_path), stop(1))
    (tmp_path / "text.txt").write_text("another text altogether, " * 40, encoding="utf-8")
    with pytest.raises(ValueError, match="has changed: its fingerprint is"):
        resume(tmp_path / "run", Reporter())


def test_run_with_nan_at_every_evaluation_is_an_error(tmp_path):
    broken = type("Adding", (Adding,), {"load": _nan_data})(
        length=8, batch_size=4, evaluation_size=8
    )
    with pytest.raises(ValueError, match="mse must be finite at one evaluation at least"):
        run(tmp_path / "run", Experiment(broken, SMALL, adding().train))


def _nan_data(self, seed):
    data = Adding.load(self, seed)

    def eval_set():
        for batch in data.eval_sets["valid"]():
            yield batch._replace(inputs=np.full_like(batch.inputs, np.nan))

    return dataclasses.replace(data, eval_sets={"valid": eval_set})


def test_resume_of_another_model_names_the_leaves(interrupted):
    config = interrupted / "config.json"
    stored = json.loads(config.read_text())
    for change, message in (
        (
            {"width": 8},
            r"state\.params\.\S+: float32\[\S+\] stored, float32\[\S+\] wanted; .*and \d+ more",
        ),
        ({"depth": 2}, r"layers\.1\S+: nothing stored, float32\[\S+\] wanted"),
        ({"dropout": 0.3}, r"was trained with model.dropout 0.2, got 0.3"),
    ):
        config.write_text(json.dumps(stored | {"model": stored["model"] | change}))
        with pytest.raises(ValueError, match=message):
            resume(interrupted, Reporter())


def test_run_with_token_ids_out_of_range_names_them(tmp_path):
    load_text = Text.load

    def broken(self, seed):
        data = load_text(self, seed)
        return dataclasses.replace(data, vocab_size=data.vocab_size - 1)

    experiment = stateful(tmp_path)
    task = type("Text", (Text,), {"load": broken})(**dataclasses.asdict(experiment.data))
    with pytest.raises(
        ValueError, match=r"inputs must be from .* got \d+ in example \d+ at time step \d+"
    ):
        run(tmp_path / "run", Experiment(task, SMALL, experiment.train))


def test_experiment_seed_determines_the_initial_parameters():
    data = adding().data.load(0)
    one, two = (experiments.build_model(adding(seed=s), data) for s in (0, 0))
    other = experiments.build_model(adding(seed=1), data)
    leaves = [np.concatenate([p.ravel() for p in jax.tree.leaves(m)]) for m in (one, two, other)]
    assert (leaves[0] == leaves[1]).all()
    assert (leaves[0] != leaves[2]).any()


def test_selection_metric_selects_the_best_step():
    task, config = Adding(length=8, batch_size=4, evaluation_size=8), adding().train
    data = dataclasses.replace(task.load(0), metrics=("mae", "mse"), selection_metric="mse")
    records = []
    callbacks = LoopCallbacks(write_record=records.append)
    loop = TrainingLoop(api.build_model(adding(), data), data, config, callbacks)
    loop.run()
    found = {r["step"]: r["mse"] for r in records if "set" in r}
    assert float(loop.progress.best_value) == pytest.approx(min(found.values()))
    assert int(loop.progress.best_step) == min(found, key=found.get)
