"""A run loads its data with the settings that its task chose at the start."""

import json

import numpy as np
import pytest
from series_examples import SETTINGS

from rnnlab.atomic_io import write_json
from rnnlab.errors import CheckpointError
from rnnlab.models.config import ModelConfig
from rnnlab.runs.api import Experiment, load_run, load_trained_model, resume, run
from rnnlab.runs.stored_run import load_same_data
from rnnlab.tasks import forecasting
from rnnlab.tasks.forecasting import Forecasting
from rnnlab.train.callbacks import Reporter
from rnnlab.train.config import TrainConfig

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")

SMALL = ModelConfig(width=4, depth=1, expansion=1, conv_kernel_size=None, mlp_expansion=None)


@pytest.fixture
def started(tmp_path, write_series):
    """A run of one update whose task chose its normalization: its path, experiment and choice."""
    values = np.sin(np.arange(100.0)) + np.arange(100) / 10
    experiment = Experiment(
        Forecasting(write_series(values), **SETTINGS | {"normalization": "auto"}),
        SMALL,
        TrainConfig(steps=1),
    )
    run(tmp_path / "run", experiment, Reporter())
    environment = json.loads((tmp_path / "run" / "environment.json").read_text())
    return tmp_path / "run", experiment, environment["chosen_settings"]["normalization"]


def choose_another(monkeypatch, chosen):
    """Changes the rule of `auto`."""
    other = "window" if chosen != "window" else "difference"
    monkeypatch.setattr(forecasting, "choose_normalization", lambda *_: other)
    return other


def test_run_keeps_the_normalization_that_it_chose(started, monkeypatch):
    path, experiment, chosen = started
    assert json.loads((path / "config.json").read_text())["data"]["normalization"] == "auto"
    other = choose_another(monkeypatch, chosen)
    _, data = load_trained_model(path)
    assert data.preparation.normalization == chosen
    (path / "result.json").unlink()
    assert resume(path, Reporter())["chosen_settings"] == {"normalization": chosen}
    assert run(path, experiment, Reporter())["steps"] == 1  # the same run, not a new one
    new = run(path.with_name("new"), experiment, Reporter())
    assert new["chosen_settings"] == {"normalization": other}


def test_run_without_a_stored_choice_chooses_again(started, monkeypatch):
    path, _, chosen = started
    environment = json.loads((path / "environment.json").read_text())
    del environment["chosen_settings"]
    write_json(path / "environment.json", environment)
    run_dir, _, experiment = load_run(path)
    assert load_same_data(run_dir, experiment).preparation.normalization == chosen
    choose_another(monkeypatch, chosen)
    with pytest.raises(CheckpointError, match="has changed: its fingerprint is"):
        load_same_data(run_dir, experiment)


def test_invalid_stored_choice_is_one_line(started):
    path, _, _ = started
    environment = json.loads((path / "environment.json").read_text())
    run_dir, _, experiment = load_run(path)
    for stored, message in (
        ([1], "chosen_settings must be a JSON object, got "),
        ({"normalization": "none"}, "chosen_settings.normalization must be one of"),
        ({"scale": 1}, "chosen_settings.scale is unknown"),
    ):
        write_json(path / "environment.json", environment | {"chosen_settings": stored})
        with pytest.raises(ValueError, match=r"environment\.json: ") as raised:
            load_same_data(run_dir, experiment)
        assert message in str(raised.value)
