"""Irregular records: inputs against a Python loop, splits, and what the training part fixes."""

import math
from importlib.util import find_spec

import numpy as np
import pytest
from fitted_estimators import assert_fitted_to_the_same

from rnnlab.tasks.batch import arrays, last_steps
from rnnlab.tasks.irregular_records import IrregularRecords
from rnnlab.tasks.readers.events import Events
from rnnlab.tasks.record_data import record_data
from rnnlab.tasks.record_features import RecordFeatures, Scale
from rnnlab.tasks.record_parts import icu_layout, read_icu_part
from rnnlab.tasks.record_steps import record_steps
from rnnlab.train.evaluate import evaluate

needs_sklearn = pytest.mark.skipif(not find_spec("sklearn"), reason="scikit-learn is missing")


def random_events(rng, records=7, variables=3, most=12):
    counts = rng.integers(0, most, records)
    counts[0] = 0
    offsets = np.concatenate([[0], np.cumsum(counts)])
    times = [np.sort(rng.integers(0, 8, n) / 4) for n in counts]
    return Events(
        tuple(map(str, range(records))),
        tuple("ABC"[:variables]),
        offsets,
        np.concatenate(times),
        rng.integers(0, variables, offsets[-1]).astype(np.int32),
        rng.normal(5, 2, offsets[-1]),
    )


def test_steps_of_distinct_times_are_the_records_of_the_reader():
    events = random_events(np.random.default_rng(0))
    steps = record_steps(events, None)
    for number in range(1, len(events.ids)):
        part = slice(*steps.offsets[number : number + 2])
        record = events.record(number)
        if len(record.times):
            np.testing.assert_array_equal(steps.times[part], record.times)
            np.testing.assert_array_equal(steps.values[part], record.values.astype(np.float32))
    assert steps.lengths[0] == 1
    assert np.isnan(steps.values[0]).all()


def loop_inputs(steps, number, features, constants):
    """The inputs of one record, time step by time step."""
    first, stop = steps.offsets[number : number + 2]
    known, seen, rows, gaps = {}, {}, [], []
    for t in range(first, stop):
        observed = [not math.isnan(x) for x in steps.values[t]]
        for k, is_observed in enumerate(observed):
            if is_observed:
                known[k], seen[k] = steps.values[t, k], steps.times[t]
        values = []
        for k in range(len(observed)):
            scale = features.values
            x = min(max(known.get(k, scale.mean[k]), scale.low[k]), scale.high[k])
            values.append((x - scale.mean[k]) / scale.deviation[k])
        since = [steps.times[t] - seen.get(k, steps.times[first]) for k in range(len(observed))]
        gap = 0 if t == first else steps.times[t] - steps.times[t - 1]
        clock = features.time.apply(steps.times[[t], None])[0]
        rows.append([*values, *observed, *np.log1p(since), math.log1p(gap), *clock, *constants])
        gaps.append(gap)
    return np.array(rows), np.array(gaps)


@pytest.mark.parametrize("max_steps", [99, 3])
def test_inputs_and_gaps_equal_those_of_a_loop(max_steps):
    rng = np.random.default_rng(1)
    steps = record_steps(random_events(rng, records=9), 0.5)
    descriptors = np.stack([rng.normal(60, 9, 9), rng.integers(1, 4, 9)], axis=1)
    descriptors[2, 0], descriptors[3, 1] = np.nan, np.nan
    train = np.arange(6)
    features = RecordFeatures.of(steps.select(train), descriptors[train], (1,))
    constants = features.constants(descriptors)
    records = np.array([8, 0, 3, 2])
    inputs, mask, gaps = features.encode(steps, constants, records, max_steps)
    assert inputs.shape[2] == features.in_features
    for row, number in enumerate(records):
        expected, expected_gaps = loop_inputs(steps, number, features, constants[number])
        expected, expected_gaps = expected[-max_steps:], expected_gaps[-max_steps:]
        expected_gaps[0] = 0
        assert mask[row].sum() == len(expected)
        np.testing.assert_allclose(inputs[row][mask[row]], expected, rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(gaps[row][mask[row]], expected_gaps, rtol=1e-6)
    assert constants[2, :2].tolist() == [0, 0]  # an unknown number: the mean, and not known
    assert not constants[3, 2:].any()


def test_scale_of_values_with_an_outlier_is_that_of_the_others():
    values = np.concatenate([np.linspace(6.8, 7.6, 400), [735.0]])[:, None]
    scaled = Scale.of(values).apply(values)
    assert 1.5 < scaled.max() < 2
    constant = Scale.of(np.array([[3.0], [3.0], [np.nan]])).apply(np.array([[3.0], [9.0]]))
    assert constant.tolist() == [[0], [0]]


HEAD = "Time,Parameter,Value\n00:00,RecordID,{}\n00:00,Age,{}\n00:00,Gender,1\n00:00,Height,-1\n"


def write_icu_set(folder, name, first, planted=None):
    """Writes eight stays in the format of PhysioNet 2012, every third of which ends in death.

    Args:
      folder: of the files.
      name: `a`, `b` or `c`.
      first: the id of the first stay.
      planted: a value in place of all others.

    Returns:
      The files by name.
    """
    rng = np.random.default_rng(first)
    (folder / f"set-{name}").mkdir(parents=True)
    rows = ["RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death"]
    for stay in range(first, first + 8):
        lines = [HEAD.format(stay, planted or 40 + stay % 8), f"00:00,ICUType,{1 + stay % 4}\n"]
        for hour in np.sort(rng.choice(48, 5, replace=False)):
            lines.append(f"{hour:02}:07,HR,{planted or rng.integers(50, 120)}\n")
            lines.append(f"{hour:02}:40,Temp,{planted or 36 + rng.random():.4g}\n")
        (folder / f"set-{name}" / f"{stay}.txt").write_text("".join(lines))
        rows.append(f"{stay},{stay % 9},8,8,-1,{int(stay % 3 == 0)}")
    (folder / f"Outcomes-{name}.txt").write_text("\n".join(rows))
    return {part: folder / part for part in (f"set-{name}", f"Outcomes-{name}.txt")}


def icu_data(folder, planted):
    """The data of three small sets; values of b and c are `planted`."""
    files = {}
    for number, name in enumerate("abc"):
        of_set = planted if name != "a" else None
        files |= write_icu_set(folder, name, 1000 * (number + 1), of_set)
    layout = icu_layout(None)
    train, valid, test = (read_icu_part(files, name, layout.interval) for name in "abc")
    features = RecordFeatures.of(train.steps, train.descriptors, layout.category_positions)
    return features, record_data(
        train,
        {"valid": valid, "test": test},
        features,
        classes=("survived", "died"),
        batch_size=4,
        max_steps=96,
        seed=0,
    )


def test_training_data_do_not_depend_on_values_of_the_other_sets(tmp_path, fitted_arrays):
    features, data = icu_data(tmp_path / "first", None)
    planted_features, planted = icu_data(tmp_path / "second", 777777)
    for scale in ("values", "time", "numbers"):
        for name, found in vars(getattr(features, scale)).items():
            np.testing.assert_array_equal(found, vars(getattr(planted_features, scale))[name])
    for n in range(4):
        batches = data.train_batch(n), planted.train_batch(n)
        for found, other in zip(*map(arrays, batches), strict=True):
            np.testing.assert_array_equal(found, other)
    assert data.fingerprint != planted.fingerprint
    assert planted.in_features == data.in_features == 3 * 37 + 2 + 2 * 3 + 4
    assert_fitted_to_the_same(data.baselines, planted.baselines, fitted_arrays)


@needs_sklearn
def test_baselines_of_intensive_care_have_all_metrics(tmp_path):
    baselines = icu_data(tmp_path, None)[1].baselines()
    assert list(baselines)[:2] == ["share of training", "SAPS-I score"]
    assert {"logistic regression", "SVM", "MLP", "boosted trees"} <= set(baselines)
    assert set(baselines["boosted trees"]) == {
        *("roc_auc", "average_precision", "sensitivity_precision", "brier")
    }
    assert "brier" not in baselines["SAPS-I score"]


def write_tables(folder, records=40):
    """Writes an event table with an age and a ward of each record, and its labels."""
    lines = ["patient;when;what;number"]
    rows = ["patient,label,clinic"]
    rng = np.random.default_rng(3)
    for k in range(records):
        lines += [f"p{k};0;age;{30 + k}", f"p{k};0;ward;{k % 2}"]
        lines += [f"p{k};{t};HR;{60 + 20 * (k % 2) + rng.integers(9)}" for t in range(1 + k % 4)]
        rows.append(f"p{k},{'ill' if k % 2 else 'healthy'},c{k // 4}")
    lines.append("p999;0;HR;70")  # has no label
    (folder / "events.csv").write_text("\n".join(lines))
    (folder / "labels.csv").write_text("\n".join(rows))
    return {
        "path": folder / "events.csv",
        "labels": folder / "labels.csv",
        "id": "patient",
        "time": "when",
        "variable": "what",
        "value": "number",
    }


def test_tables_of_a_user_become_parts_with_descriptors(tmp_path):
    settings = write_tables(tmp_path)
    task = IrregularRecords(**settings, descriptors="age, ward", categories="ward", batch_size=8)
    data = task.load(seed=0)
    assert data.classes == ("healthy", "ill")
    assert data.in_features == 3 + 2 + 2 + 2
    batch = data.train_batch(0)
    ends = last_steps(batch.mask)
    wards = batch.inputs[ends][:, -2:].argmax(axis=1)
    assert wards.tolist() == batch.targets[ends].tolist()
    assert (batch.gaps[:, 1:][batch.mask[:, 1:]] == 1).all()
    assert data.notes[-1] == (
        "events.csv: 40 records of 1 to 4 time steps, 1 variable and 2 descriptors. Classes: 20 "
        "healthy, 20 ill."
    )
    assert "1 of 41 records have no label and are omitted." in data.notes


def test_groups_of_a_user_are_not_split(tmp_path):
    task = IrregularRecords(**write_tables(tmp_path), group="clinic", batch_size=8)
    parts, *_ = task._read()
    clinics = [{int(name[1:]) // 4 for name in part.ids.tolist()} for part in parts]
    assert sum(map(len, clinics)) == len(set.union(*clinics)) == 10


@needs_sklearn
def test_predictions_have_the_metrics_of_the_evaluation(tmp_path):
    task = IrregularRecords(**write_tables(tmp_path), batch_size=4)
    data = task.load(seed=0)
    weights = np.random.default_rng(0).normal(size=(data.in_features, 2)).astype(np.float32)

    def outputs(batch):
        return batch.inputs @ weights

    metrics = evaluate(lambda _, batch: outputs(batch), None, data, data.eval_sets["test"]())
    found = data.preparation.predict(outputs, None, None)
    died = found.columns["actual"] == "ill"
    errors = (found.columns["p(ill)"] - died) ** 2
    assert errors.mean() == pytest.approx(metrics["brier"])
    again = data.preparation.predict(outputs, task.path, None)
    probability = dict(zip(again.columns["example"], again.columns["p(ill)"], strict=True))
    assert len(probability) == 41
    same = [probability[name] for name in found.columns["example"]]
    np.testing.assert_allclose(same, found.columns["p(ill)"], rtol=1e-6)
    with pytest.raises(ValueError, match="horizon must be None"):
        data.preparation.predict(outputs, None, 3)


def refused(settings, reason, **changes):
    with pytest.raises(ValueError, match=reason) as caught:
        IrregularRecords(**{**settings, **changes}).load(seed=0)
    assert "\n" not in str(caught.value)


def test_settings_and_tables_that_do_not_fit_are_refused(tmp_path):
    settings = write_tables(tmp_path)
    refused(settings, "has no variable 'sex'; choose descriptors from", descriptors="sex")
    refused(settings, "categories must be descriptors, got 'ward'", categories="ward")
    refused(settings, "labels must be given with an event table", labels=None)
    refused(settings, "labels must be used with an event table", path=tmp_path)
    refused(settings, "interval must be > 0", interval=0)
    few = "patient,label\n" + "".join(f"p{k},{'ill' if k < 2 else 'healthy'}\n" for k in range(40))
    (tmp_path / "few.csv").write_text(few)
    reason = "must have >= 2 classes in the validation part, got only 'healthy'"
    refused(settings, reason, labels=tmp_path / "few.csv")
    (tmp_path / "one.csv").write_text("id,label\np1,ill\n")
    refused(settings, "has no column 'patient'", labels=tmp_path / "one.csv")
    (tmp_path / "one.csv").write_text("patient,label\np1,ill\n")
    refused(settings, "must have >= 2 classes, got 1", labels=tmp_path / "one.csv")
    (tmp_path / "one.csv").write_text("patient,label\nx,ill\ny,healthy\n")
    refused(settings, "must have ids of events.csv, such as p0", labels=tmp_path / "one.csv")
