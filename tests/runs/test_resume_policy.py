"""The first checks of a resumed process: the best step, the metrics, the files of the run."""

import numpy as np
import pytest

from rnnlab.atomic_io import write_json
from rnnlab.errors import CheckpointError, DataError
from rnnlab.models.config import ModelConfig
from rnnlab.runs.api import Experiment, load_trained_model, resume, run
from rnnlab.runs.checkpoints.store import CheckpointStore
from rnnlab.runs.resume import recover_best
from rnnlab.tasks import Adding
from rnnlab.train.callbacks import Reporter
from rnnlab.train.config import TrainConfig
from rnnlab.train.loop_state import LoopState

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
    return LoopState.initial(0.0)._replace(**{name: np.array(x) for name, x in values.items()})


def test_recover_best_points_to_a_valid_step(checkpoints):
    checkpoints.best_path.unlink()
    lines = []
    assert recover_best(
        checkpoints, 4, progress(best_value=1.0, best_step=2, last_eval_step=4), lines.append
    )
    assert checkpoints.best_step() == 2
    assert lines == []


def test_recover_best_quarantines_a_corrupt_step(checkpoints, tmp_path):
    (checkpoints.directory / "2" / "manifest.json").unlink()
    lines = []
    known = progress(best_value=1.0, best_step=2, last_eval_step=4)
    assert not recover_best(checkpoints, 4, known, lines.append)
    assert "the best checkpoint, step 2, is corrupt" in lines[0]
    assert checkpoints.saved_steps() == [4]
    assert (tmp_path / "corrupt" / "2" / "state").is_dir()


def test_recover_best_accepts_a_pointer_newer_than_the_state(checkpoints):
    """Saved on a signal, evaluated by the next process, which is killed right after that."""
    checkpoints.set_best(4)
    checkpoints.archive_after(
        3, "elsewhere"
    )  # as pruned: step 2 is what the state of 4 holds for best
    (checkpoints.directory / "2").rename(checkpoints.directory / "4")
    lines = []
    assert recover_best(
        checkpoints, 4, progress(best_value=1.0, best_step=2, last_eval_step=2), lines.append
    )
    assert lines == []


@pytest.fixture
def trained(tmp_path):
    run(tmp_path / "run", Experiment(DATA, SMALL, TrainConfig(steps=2)), Reporter())
    return tmp_path / "run"


def test_resume_with_unreadable_metrics_is_an_error_before_training(trained):
    (trained / "result.json").unlink()
    metrics = trained / "metrics.jsonl"
    metrics.write_text("<<<<<<<\n" + metrics.read_text(encoding="utf-8"), encoding="utf-8")
    with pytest.raises(DataError, match=r"metrics\.jsonl, line 1, is not JSON"):
        resume(trained, Reporter())
    assert CheckpointStore(trained, {}).saved_steps() == [0, 2]


def test_resume_without_metrics_loses_only_the_times(trained):
    (trained / "result.json").unlink()
    (trained / "metrics.jsonl").unlink()
    result = resume(trained, Reporter())
    assert result["seconds_to_best"] is None
    assert result["metrics"]["valid"]["mse"] > 0


@pytest.mark.parametrize("name", ["environment.json", "result.json"])
@pytest.mark.parametrize("value", [[], {}, None])
def test_files_with_other_content_are_an_error(trained, name, value):
    write_json(trained / name, value)
    with pytest.raises(
        CheckpointError, match=rf"{name} cannot be read: its content is not what rnnlab writes"
    ):
        load_trained_model(trained) if name == "environment.json" else resume(trained, Reporter())


def test_load_trained_model_uses_a_better_step_saved_meanwhile(trained, monkeypatch):
    """The reader has read the best step's number, and a writer deletes that step."""
    folder = CheckpointStore(trained, {})
    if folder.best_step() == 0:
        folder.set_best(2)
    told = iter([7, 2, 2, 2])
    monkeypatch.setattr(CheckpointStore, "best_step", lambda self: next(told))
    assert load_trained_model(trained, strict=True)
