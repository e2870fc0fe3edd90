"""What a sitting finds of the run before it: the best step, the metrics, what is in its way."""

import numpy as np
import pytest

from rnnlab.models.config import ModelConfig
from rnnlab.errors import (CheckpointError, DataError)
from rnnlab.runs.api import (Experiment, resume, run, load_trained_model)
from rnnlab.atomic_io import write_json
from rnnlab.tasks import Adding
from rnnlab.runs.checkpoints.store import CheckpointStore
from rnnlab.train.loop_state import (Reporter, LoopState)
from rnnlab.runs.resume import best_is_kept
from rnnlab.train.config import TrainConfig

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")

SMALL = ModelConfig(width=4, depth=1, expansion=1, conv_kernel_size=2, mlp_expansion=None)
DATA = Adding(length=8, batch_size=4, evaluation_size=8)


@pytest.fixture
def checkpoints(tmp_path):
    """Steps 2 and 4, of which 2 is the best."""
    found = CheckpointStore(tmp_path, {})
    for step in (2, 4):
        found.save(step, {"x": np.ones(3, np.float32)}, best=step == 2)
    return found


def progress(**values):
    return LoopState.fresh(0.0)._replace(**{name: np.array(x) for name, x in values.items()})


def test_the_best_step_is_named(checkpoints):
    checkpoints.best.unlink()
    said = []
    assert best_is_kept(checkpoints, 4, progress(best=1.0, best_step=2, evaluated=4), said.append)
    assert checkpoints.best_step() == 2
    assert said == []


def test_a_best_step_that_is_damaged_is_put_away_and_kept(checkpoints, tmp_path):
    (checkpoints.folder / "2" / "integrity.json").unlink()
    said = []
    known = progress(best=1.0, best_step=2, evaluated=4)
    assert not best_is_kept(checkpoints, 4, known, said.append)
    assert "the best step so far, 2, is lost" in said[0]
    assert checkpoints.steps() == [4]
    assert (tmp_path / "damaged" / "2" / "state").is_dir()


def test_a_step_that_was_found_better_than_it_knows_of_is_no_loss(checkpoints):
    """Saved by a signal, evaluated by the next sitting, which is killed after it."""
    checkpoints.mark_best(4)
    checkpoints.retire(3, "elsewhere")  # as pruned: step 2 is what the state of 4 holds for best
    (checkpoints.folder / "2").rename(checkpoints.folder / "4")
    said = []
    assert best_is_kept(checkpoints, 4, progress(best=1.0, best_step=2, evaluated=2), said.append)
    assert said == []


@pytest.fixture
def trained(tmp_path):
    run(tmp_path / "run", "x", "cpu", Experiment(DATA, SMALL, TrainConfig(steps=2)), {}, Reporter())
    return tmp_path / "run"


def test_metrics_that_cannot_be_read_are_found_out_before_the_work(trained):
    (trained / "result.json").unlink()
    metrics = trained / "metrics.jsonl"
    metrics.write_text("<<<<<<<\n" + metrics.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(DataError, match=r"metrics\.jsonl, line 1, is not JSON"):
        resume(trained, Reporter())
    assert CheckpointStore(trained, {}).steps() == [0, 2]


def test_metrics_that_are_gone_cost_the_times_alone(trained):
    (trained / "result.json").unlink()
    (trained / "metrics.jsonl").unlink()
    result = resume(trained, Reporter())
    assert result["seconds_to_best"] is None
    assert result["metrics"]["valid"]["mse"] > 0


@pytest.mark.parametrize("name", ["environment.json", "result.json"])
@pytest.mark.parametrize("value", [[], {}, None])
def test_files_of_another_shape_are_refused(trained, name, value):
    write_json(trained / name, value)
    with pytest.raises(
        CheckpointError, match=rf"{name} cannot be read: it is not what was written"
    ):
        load_trained_model(trained) if name == "environment.json" else resume(trained, Reporter())


def test_a_better_step_that_is_saved_meanwhile_is_taken(trained, monkeypatch):
    """The reader knows the best by its number, and by then a writer has pruned it."""
    folder = CheckpointStore(trained, {})
    if folder.best_step() == 0:
        folder.mark_best(2)
    told = iter([7, 2, 2, 2])
    monkeypatch.setattr(CheckpointStore, "best_step", lambda self: next(told))
    assert load_trained_model(trained, strict=True)
