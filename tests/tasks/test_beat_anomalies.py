"""Anomalous beats by the error of a forecast, on small generated records."""

from importlib.util import find_spec

import jax.numpy as jnp
import numpy as np
import pytest
from ecg_files import ecg_arrays
from fitted_estimators import assert_fitted_to_the_same

from rnnlab.tasks import beat_anomalies
from rnnlab.tasks.beat_anomalies import HOURS, BeatAnomalies
from rnnlab.tasks.heartbeats import VALIDATION
from rnnlab.tasks.masked_beats import PERIOD, hidden_beats
from rnnlab.tasks.readers.ecg import CLASSES, DS2
from rnnlab.tasks.reference import anomaly_scores
from rnnlab.tasks.reference.anomaly_scores import METRICS, NORMAL, ScoredBeats

needs_sklearn = pytest.mark.skipif(not find_spec("sklearn"), reason="scikit-learn is missing")


METHODS = ("forecast", "reconstruction")


@pytest.fixture
def task_of(tmp_path):
    """Returns a function that writes records and returns the task of them."""

    def make(name="a", method="forecast", **changes):
        path = tmp_path / f"{name}.npz"
        np.savez(path, **ecg_arrays(beats=2, **changes))
        return BeatAnomalies(path, length=8, batch_size=4, method=method)

    return make


def test_targets_are_the_next_beats_where_they_are_normal(task_of):
    task = task_of()
    train, *_ = beat_anomalies._parts(task.path)
    inputs, targets = beat_anomalies._next_beats(train[0])
    known = ~np.isnan(targets).any(1)
    np.testing.assert_array_equal(known, train[0].classes[1:] == NORMAL)
    np.testing.assert_array_equal(targets[known], train[0].features[1:][known])
    np.testing.assert_array_equal(inputs, train[0].features[:-1])


def test_training_batches_have_normal_targets_only(task_of):
    data = task_of().load(0)
    batch = data.train_batch(0)
    known = ~np.isnan(batch.targets).all(-1)
    assert known.any()
    assert not known[~batch.mask].any()
    # Ventricular beats of the example have twice the height of others.
    assert np.abs(batch.targets[known][:, 1:]).max() < np.abs(batch.inputs[..., 1:]).max()


def test_scores_are_the_error_of_the_shape_and_how_early_a_beat_comes(task_of):
    task = task_of()
    _, _, test = beat_anomalies._parts(task.path)
    record = test[0]
    location = jnp.zeros((len(record.classes) - 1, record.features.shape[1]))
    forecasts = {"location": location, "scale": location + 2, "freedom": location + 3}
    beats = np.arange(1, len(record.classes))
    scored = beat_anomalies._scored(forecasts, record, beats)
    np.testing.assert_allclose(scored.scores["S"], -record.features[1:, 0] / 2, rtol=1e-6)
    wanted = np.square(record.features[1:, 1:]).mean(1)
    np.testing.assert_allclose(scored.scores["V"], wanted, rtol=1e-5)
    early = scored.scores["S"][scored.classes == CLASSES.index("S")]
    assert early.min() > np.median(scored.scores["S"])


def test_forecast_nll_is_the_loss_of_the_head_on_normal_beats(task_of):
    data = task_of().load(0)
    outputs = np.random.default_rng(0).normal(size=(1, 1, data.out_features)).astype(np.float32)
    pairs, targets = [], []
    for batch in data.eval_sets["test"]():
        pairs += data.decode(np.broadcast_to(outputs, (*batch.mask.shape, outputs.size)), batch)
        targets.append(batch.targets[batch.mask])
    found = METRICS["forecast_nll"][0]([scored for scored, _ in pairs], ())
    targets = jnp.asarray(np.concatenate(targets))
    wanted = data.loss.loss(jnp.broadcast_to(outputs[0], (len(targets), outputs.size)), targets)
    assert found == pytest.approx(float(wanted), rel=1e-5)
    assert data.selection_metric == "forecast_nll"


def test_decoded_records_are_those_of_the_evaluation_set(task_of):
    task = task_of()
    data = task.load(0)
    _, valid, test = beat_anomalies._parts(task.path)
    for name, part in (("valid", valid), ("test", test)):
        pairs = []
        for batch in data.eval_sets[name]():
            shape = (*batch.inputs.shape[:2], data.out_features)
            pairs += data.decode(np.zeros(shape, np.float32), batch)
        assert len(pairs) == len(part)
        for (scored, _), record in zip(pairs, part, strict=True):
            np.testing.assert_array_equal(scored.classes, record.classes[1:])


@needs_sklearn
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("part", ["valid", "test"])
def test_a_constant_in_an_evaluated_part_changes_no_training_number(
    task_of, method, part, fitted_arrays
):
    names = {"valid": VALIDATION, "test": DS2}[part]
    tasks = task_of(method=method), task_of("b", method, planted=names)
    clean, planted = (task.load(0) for task in tasks)
    for n in range(3):
        np.testing.assert_equal(planted.train_batch(n), clean.train_batch(n))
    inputs = [next(iter(data.eval_sets[part]())).inputs for data in (clean, planted)]
    assert np.abs(inputs[1][:, 3] - inputs[0][:, 3]).max() > 1  # the constant is in the part
    assert_fitted_to_the_same(clean.baselines, planted.baselines, fitted_arrays)


def test_reconstructed_beats_are_hidden_and_each_is_scored_once(task_of):
    task = task_of(method="reconstruction")
    data = task.load(0)
    *_, test = beat_anomalies._parts(task.path)
    found = {}
    for batch in data.eval_sets["test"]():
        hidden = hidden_beats(batch)
        assert not batch.inputs[hidden][:, :-1].any()
        assert np.isnan(batch.targets[~hidden]).all()
        outputs = np.zeros((*hidden.shape, data.out_features), np.float32)
        real = batch.example[batch.example >= 0]
        for number, (scored, _) in zip(real, data.decode(outputs, batch), strict=True):
            found.setdefault(int(number), []).append(scored)
    assert len(found) == len(test)
    for scored, record in zip([found[k] for k in sorted(found)], test, strict=True):
        assert sum(x.hours for x in scored) == pytest.approx(HOURS)
        assert len(scored) == PERIOD
        wanted = np.square(record.features[1:, 1:]).mean(1)
        values = np.sort(np.concatenate([x.scores["V"] for x in scored]))
        np.testing.assert_allclose(values, np.sort(wanted), rtol=1e-5)


def test_hidden_beats_of_training_depend_on_the_seed_and_the_batch(task_of):
    task = task_of(method="reconstruction")
    one, same, other = task.load(0), task.load(0), task.load(1)
    assert one.in_features == task_of("b").load(0).in_features + 1
    hidden = [[hidden_beats(x.train_batch(n)) for n in range(4)] for x in (one, same, other)]
    assert all((a == b).all() for a, b in zip(*hidden[:2], strict=True))
    assert any((a != b).any() for a, b in zip(hidden[0], hidden[2], strict=True))
    assert any((hidden[0][0] != x).any() for x in hidden[0][1:])
    batch = one.train_batch(0)
    known = ~np.isnan(batch.targets).any(-1)
    assert known.any()
    assert not (known & ~hidden_beats(batch)).any()


def test_false_alarms_are_counted_at_the_recall_of_the_class():
    rng = np.random.default_rng(0)
    classes = rng.choice([NORMAL, CLASSES.index("V"), CLASSES.index("S")], 300, p=(0.8, 0.15, 0.05))
    scores = rng.normal(size=300) + 2 * (classes == CLASSES.index("V"))
    records = [
        ScoredBeats({"V": scores[part]}, classes[part], HOURS)
        for part in (slice(100), slice(100, 300))
    ]
    positive = np.sort(scores[classes == CLASSES.index("V")])[::-1]
    threshold = positive[int(np.ceil(0.9 * len(positive))) - 1]
    wanted = (scores[classes == NORMAL] >= threshold).sum() / (2 * HOURS)
    found, higher_is_better = METRICS["false_alarms_per_hour/V"]
    assert found(records, ()) == wanted
    assert not higher_is_better


@needs_sklearn
def test_ranking_metrics_leave_out_other_classes():
    classes = np.array([NORMAL, CLASSES.index("V"), CLASSES.index("S"), NORMAL])
    records = [ScoredBeats({"V": np.array([0.1, 0.9, 5.0, 0.2])}, classes, HOURS)]
    for kind in ("anomaly_precision", "anomaly_roc_auc"):
        assert METRICS[f"{kind}/V"][0](records, ()) == 1.0
    alone = [records[0]._replace(classes=np.full(4, NORMAL))]
    for kind in anomaly_scores.KINDS:
        assert np.isnan(METRICS[f"{kind}/V"][0](alone, ()))


@needs_sklearn
def test_detectors_are_scored_by_every_metric(task_of):
    data = task_of().load(0)
    found = data.baselines()
    assert list(found)[:2] == ["distance from the usual beat", "how early a beat comes"]
    for scores in found.values():
        assert set(scores) == set(data.metrics) - {"forecast_nll"}
    assert found["how early a beat comes"]["anomaly_precision/S"] > 0.9
    assert found["distance from the usual beat"]["anomaly_precision/V"] > 0.9
