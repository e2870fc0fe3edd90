"""Fingerprints and settings of runs that earlier versions of rnnlab stored."""

import dataclasses
import json

import numpy as np
import pytest

from rnnlab.legacy_names import TASK_SETTINGS, current_record
from rnnlab.runs import serialization
from rnnlab.runs.api import load_run
from rnnlab.tasks import MQAR, TASKS, Adding, ListOps, Text
from rnnlab.tasks.fingerprint import fingerprint, settings_fingerprint


def config(task, data):
    return {"experiment": "old", "preset": "cpu", "varied": {}, "task": task, "data": data} | {
        section: {} for section in ("model", "train")
    }


@pytest.mark.parametrize("name", TASK_SETTINGS)
def test_settings_with_earlier_names_are_read(name):
    task = TASKS[name]()
    settings = serialization.dump(task)
    earlier = {new: old for old, new in TASK_SETTINGS[name].items()}
    stored = {earlier.get(key, key): value for key, value in settings.items()}
    if name == "Text":
        del stored["valid"]
        task = Text(valid=0)
    data = current_record(config(name, stored))["data"]
    assert serialization.load(TASKS[name], data) == task
    assert current_record(config(name, settings))["data"] == settings


def test_grid_with_earlier_names_is_read():
    record = config("Digits", {"share": 0.1}) | {"varied": {"data.share": 0.1, "train.seed": 1}}
    assert current_record(record)["grid"] == {"data.train_fraction": 0.1, "train.seed": 1}


def test_run_without_validation_part_keeps_its_split(tmp_path):
    data = {"path": None, "unit": "byte", "length": 16, "heldout": 0.2, "stateful": True}
    (tmp_path / "config.json").write_text(json.dumps(config("Text", data)))
    experiment = load_run(tmp_path)[2]
    assert experiment.data == Text(None, "byte", 16, valid=0, test=0.2, stateful=True)


def test_settings_fingerprint_does_not_depend_on_renamed_settings():
    # As computed by the first version.
    assert settings_fingerprint(MQAR(gap_exponent=0.5)).startswith("dd1546756b35168f")
    assert settings_fingerprint(ListOps(pad_to_multiple=16)).startswith("3adb789526104a89")
    assert settings_fingerprint(Adding()) == fingerprint(repr(Adding()))
    assert Adding().load(0).fingerprint == settings_fingerprint(Adding())
    other = dataclasses.replace(Adding(), length=5)
    assert settings_fingerprint(other) != settings_fingerprint(Adding())


def test_fingerprint_depends_on_values_dtype_and_shape():
    one = np.zeros((2, 3))
    digests = {fingerprint(x) for x in (one, one.T, one.astype(np.float32), one + 1)}
    assert len(digests) == 4
    assert fingerprint(one[:, ::2]) == fingerprint(one[:, ::2].copy())
