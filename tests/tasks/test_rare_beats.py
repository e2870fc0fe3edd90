"""Heartbeats by patient: features, parts, and what the training part must not know."""

import dataclasses

import numpy as np
import pytest
from ecg_files import ecg_arrays
from fitted_estimators import assert_fitted_to_the_same

from rnnlab.errors import DataError
from rnnlab.tasks import RareBeats, rare_beats
from rnnlab.tasks.batch import arrays
from rnnlab.tasks.batching.balanced import contained_classes
from rnnlab.tasks.heartbeats import SHAPE, VALIDATION, heartbeats
from rnnlab.tasks.readers.ecg import DS2, EcgRecord, read_ecg


@pytest.fixture
def file(tmp_path):
    def write(name="beats.npz", **changes):
        np.savez(tmp_path / name, **ecg_arrays(**changes))
        return tmp_path / name

    return write


def batches(data, name):
    return [x for batch in data.eval_sets[name]() for x in arrays(batch)]


def test_parts_are_the_patients_of_ds1_and_ds2(file):
    task = RareBeats(file(), length=8, batch_size=4)
    train, valid, test = rare_beats._parts(task.path, "patients", 8)
    names = [{beats.record for beats in part} for part in (train, valid, test)]
    assert list(map(len, names)) == [18, 4, 22]
    assert names[2] == set(DS2)
    assert not names[0] & names[1]
    data = task.load(0)
    batch = data.train_batch(0)
    assert batch.inputs.shape == (4, 8, 74)
    assert set(np.unique(batch.targets)) <= {-1, 0, 1, 2, 3}
    features = np.concatenate([beats.features for beats in train])
    np.testing.assert_allclose(features.std(0), 1, atol=1e-3)


@pytest.mark.usefixtures("implicit_promotion")
@pytest.mark.parametrize("part", ["valid", "test"])
def test_planted_constant_in_an_evaluated_part_changes_no_training_number(
    file, part, fitted_arrays
):
    settings = {
        "length": 8,
        "batch_size": 4,
        "class_weights": 0.5,
        "balance": 0.5,
        "augment": ("jitter=0.1", "time-warp=0.1"),
    }
    names = {"valid": VALIDATION, "test": DS2}[part]
    paths = file(), file("planted.npz", planted=names)
    plain, planted = (RareBeats(path, **settings).load(seed=3) for path in paths)
    for n in range(4):
        np.testing.assert_equal(planted.train_batch(n), plain.train_batch(n))
    assert planted.loss_options == plain.loss_options
    inputs = [batches(data, part)[0] for data in (plain, planted)]
    assert np.abs(inputs[1][:, :8] - inputs[0][:, :8]).max() > 1  # the constant is in the part
    other = {"valid": "test", "test": "valid"}[part]
    np.testing.assert_equal(batches(planted, other), batches(plain, other))
    assert_fitted_to_the_same(plain.baselines, planted.baselines, fitted_arrays)


def test_changed_label_of_the_test_part_changes_no_training_number(file, tmp_path):
    changed = ecg_arrays() | {f"code_{name}": ecg_arrays()["code_100"][::-1] for name in DS2}
    np.savez(tmp_path / "changed.npz", **changed)
    settings = {"length": 8, "batch_size": 4, "class_weights": 1.0, "balance": 1.0}
    plain, other = (
        RareBeats(path, **settings).load(0) for path in (file(), tmp_path / "changed.npz")
    )
    np.testing.assert_equal(other.train_batch(1), plain.train_batch(1))
    assert other.loss_options == plain.loss_options


def test_features_of_a_beat_do_not_read_the_signal_two_beats_later(file):
    record = next(r for r in read_ecg(file(beats=30)) if r.name == "100")
    beats = heartbeats(record)
    assert len(beats.classes) == 450
    changed = record.signal.copy()
    changed[record.samples[400] // 3 - 40 :] += 5
    later = record._replace(signal=changed)
    before = np.flatnonzero(record.samples[record.codes != 28] < record.samples[399])
    np.testing.assert_array_equal(heartbeats(later).features[before], beats.features[before])
    assert not np.array_equal(heartbeats(later).features, beats.features)


def test_features_are_the_same_for_a_lead_of_half_the_amplitude(file):
    record = read_ecg(file())[0]
    half = record._replace(signal=record.signal / 2 + 0.25)
    np.testing.assert_allclose(
        heartbeats(half).features, heartbeats(record).features, rtol=1e-4, atol=1e-4
    )


def test_premature_beat_has_a_negative_interval_before_and_a_positive_one_after():
    seconds = np.cumsum([1.0, 1.0, 1.0, 0.5, 1.5, 1.0])
    record = EcgRecord(
        "x", "MLII", np.zeros(900, np.float32), (360 * seconds).astype(int), np.full(6, 1)
    )
    rhythm = heartbeats(record).features[:, slice(2)]
    np.testing.assert_allclose(rhythm[3], np.log([0.5, 1.5]), rtol=1e-5)
    assert rhythm[0].tolist() == [0, 0]
    assert rhythm[-1, 1] == 0


def test_augmentation_changes_the_signal_and_neither_rhythm_nor_classes(file):
    task = RareBeats(file(), length=8, batch_size=4)
    changed = dataclasses.replace(task, augment=("time-warp=0.3", "scale=0.3"))
    before, after = (t.load(0).train_batch(2) for t in (task, changed))
    np.testing.assert_array_equal(after.inputs[..., slice(2)], before.inputs[..., slice(2)])
    assert np.abs(after.inputs[..., SHAPE] - before.inputs[..., SHAPE]).max() > 0.1
    np.testing.assert_array_equal(after.targets, before.targets)


def test_rare_class_is_in_as_many_examples_as_wanted(file):
    task = RareBeats(file(), length=4, batch_size=8, balance=1.0)
    data = task.load(0)
    found = np.concatenate([contained_classes(data.train_batch(n), 4) for n in range(10)])
    assert found.mean(0).min() >= 0.25


def test_random_split_has_windows_of_one_patient_in_several_parts(file):
    train, _, test = rare_beats._parts(file(beats=2), "random", 4)
    assert {beats.record for beats in train} & {beats.record for beats in test}


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ({"split": "beats"}, "split must be one of"),
        ({"class_weights": 2.0}, r"class_weights must be in \[0, 1\]"),
        ({"balance": -1.0}, r"balance must be in \[0, 1\]"),
        ({"recall": 0.0}, r"wanted must be in \(0, 1\]"),
        ({"augment": ("flip=1",)}, "augment must have each of"),
    ],
)
def test_invalid_setting_raises_value_error(setting, message):
    with pytest.raises(ValueError, match=message):
        RareBeats(**setting)


def test_file_without_the_test_part_raises_data_error(tmp_path):
    kept = {k: v for k, v in ecg_arrays().items() if k.rpartition("_")[2] not in DS2}
    np.savez(tmp_path / "part.npz", **kept)
    with pytest.raises(DataError, match="a record of the test part, got none"):
        RareBeats(tmp_path / "part.npz").load(0)
