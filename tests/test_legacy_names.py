"""Files of earlier versions are read with current names."""

import json
from pathlib import Path

import pytest

from rnnlab import records
from rnnlab.errors import DataError
from rnnlab.legacy_names import (
    LEAVES,
    MODEL_SETTINGS,
    TASK_SETTINGS,
    TRAIN_SETTINGS,
    current_leaf,
    current_record,
)
from rnnlab.runs import serialization
from rnnlab.runs.api import load_model_config
from rnnlab.runs.result_schema import is_result
from rnnlab.tasks import TASKS
from rnnlab.train.config import TrainConfig
from rnnlab.train.loop_state import LoopState

ROOT = Path(__file__).parent.parent
GOLDEN = ROOT / "tests" / "data" / "checkpoint_v1"
FILES = sorted((ROOT / "experiments" / "results").glob("*/rows.jsonl"))
RESULTS = [path for path in FILES if '"varied"' in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.parent.name)
def test_committed_results_have_current_names_and_valid_settings(path):
    settings = set()
    for record in records.read(path):
        assert is_result(record)
        # The settings of most records are the same: load each combination once.
        key = json.dumps([record["task"], record["data"], record["model"], record["train"]])
        if key not in settings:
            settings.add(key)
            serialization.load(TASKS[record["task"]], record["data"], "data")
            serialization.load(TrainConfig, record["train"], "train")
            load_model_config(record["model"], "model")
        old = {"data": TASK_SETTINGS.get(record["task"], {}), "model": MODEL_SETTINGS}
        old["train"] = TRAIN_SETTINGS
        for name in record["grid"]:
            section, _, setting = name.partition(".")
            assert setting not in old[section], name


def test_golden_config_is_translated_to_current_settings():
    stored = json.loads((GOLDEN / "config.json").read_text(encoding="utf-8"))
    config = current_record(stored)
    assert config["grid"] == {}
    assert config["train"]["eval_every"] == stored["train"]["evaluate_every"]
    assert serialization.load(TrainConfig, config["train"]).steps == 4


def test_current_record_leaves_current_names_unchanged():
    train = serialization.dump(TrainConfig())
    record = {"grid": {"train.eval_every": 2}, "baselines": {}, "train": train}
    assert current_record(record) == record


def test_forecasting_without_normalization_keeps_the_scaling_of_its_version():
    record = {"grid": {}, "train": {}, "data": {"horizon": 3}, "task": "Forecasting"}
    assert current_record(record)["data"] == {"horizon": 3, "normalization": "series"}
    chosen = record | {"data": {"horizon": 3, "normalization": "window"}}
    assert current_record(chosen) == chosen


def test_current_leaf_maps_every_old_leaf_of_the_loop_to_a_field():
    state = LoopState.initial(0.0)
    fields = {f"progress.{name}" for name in state._fields}
    fields |= {f"progress.loss_history.{name}" for name in state.loss_history._fields}
    assert {new for new in LEAVES.values() if new.startswith("progress.")} <= fields
    assert current_leaf("state.params.head_kernel.value") == "state.params.head_kernel.value"


@pytest.mark.parametrize(
    "both",
    [
        {"varied": {}},
        {"train": {"l2": 0.5, "recurrent_l2": 0.1}},
        {"grid": {"train.l2": 0.5, "train.recurrent_l2": 0.1}},
        {"model": {"cell": "mingru", "gate_range": [0, 1], "decay_range": [-1, 1]}},
        {"task": "Text", "data": {"heldout": 0.1, "test": 0.2}},
    ],
    ids=lambda both: next(iter(both)),
)
def test_old_and_current_name_of_one_setting_is_an_error(both, tmp_path):
    record = {"grid": {}, "train": {}, "data": {}, "task": "Adding"} | both
    with pytest.raises(ValueError, match=r"must occur once, got also its old name"):
        current_record(record)
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps(record) + "\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"rows.jsonl, line 1: .* must occur once"):
        list(records.read(path))
