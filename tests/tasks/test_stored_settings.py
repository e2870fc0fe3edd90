"""Settings and fingerprints that the first version of rnnlab stored."""

import json

import pytest

from rnnlab.runs import serialization
from rnnlab.runs.api import load_run
from rnnlab.tasks import MQAR, TASKS, ListOps, Text
from rnnlab.tasks.stored_settings import RENAMED, current_settings, stored_repr
from rnnlab.train.config import TrainConfig


@pytest.mark.parametrize("name", RENAMED)
def test_stored_settings_with_former_names_are_read(name):
    task = TASKS[name]()
    settings = serialization.dump(task)
    former = {new: old for old, new in RENAMED[name].items()}
    stored = {former.get(key, key): value for key, value in settings.items()}
    if name == "Text":
        del stored["valid"]
        task = Text(valid=0)
    assert serialization.load(TASKS[name], current_settings(name, stored)) == task
    assert current_settings(name, settings) == settings


def test_stored_run_without_validation_part_keeps_its_split(tmp_path):
    data = {"path": None, "unit": "byte", "length": 16, "heldout": 0.2, "stateful": True}
    config = {
        **{"experiment": "old", "preset": "cpu", "varied": {}, "task": "Text", "data": data},
        "model": {"cell": "mingru"},
        "train": serialization.dump(TrainConfig()),
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    experiment = load_run(tmp_path)[2]
    assert experiment.data == Text(None, "byte", 16, valid=0, test=0.2, stateful=True)


def test_fingerprints_do_not_depend_on_renamed_settings():
    assert stored_repr(ListOps(pad_to_multiple=16)) == repr(ListOps(pad_to_multiple=16)).replace(
        "pad_to_multiple", "multiple"
    )
    # As computed by the first version.
    assert MQAR(gap_exponent=0.5).load(0).fingerprint.startswith("dd1546756b35168f")
    assert ListOps(pad_to_multiple=16).load(0).fingerprint.startswith("3adb789526104a89")
