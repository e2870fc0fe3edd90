"""Metrics of rare classes and of decoded sequences, and the names by which they are found."""

from importlib.util import find_spec

import numpy as np
import pytest

from rnnlab.tasks.operating_points import threshold_for_recall
from rnnlab.train.accumulate import MetricAccumulator
from rnnlab.train.metrics import METRICS, DecodedMetric, find_metric, higher_is_better, is_metric

needs_sklearn = pytest.mark.skipif(not find_spec("sklearn"), reason="scikit-learn is missing")
RNG = np.random.default_rng(0)
LOGITS, CLASSES = RNG.normal(size=(400, 3)), RNG.choice(3, 400, p=(0.9, 0.07, 0.03))


def plain_average_precision(scores, positive):
    order = np.argsort(-scores)
    precision = np.cumsum(positive[order]) / np.arange(1, len(order) + 1)
    return float(precision[positive[order]].mean())


@needs_sklearn
def test_average_precision_of_one_class_and_of_all():
    p = np.exp(LOGITS) / np.exp(LOGITS).sum(-1, keepdims=True)
    wanted = [plain_average_precision(p[:, c], c == CLASSES) for c in range(3)]
    names = ("a", "b", "c")
    metric = find_metric("average_precision/c", names)
    assert metric.value(LOGITS, CLASSES) == pytest.approx(wanted[2])
    assert find_metric("average_precision/1").value(LOGITS, CLASSES) == pytest.approx(wanted[1])
    assert METRICS["average_precision"].value(LOGITS, CLASSES) == pytest.approx(np.mean(wanted))
    assert np.isnan(metric.value(LOGITS, np.zeros(400, int)))


@needs_sklearn
def test_sensitivity_precision_is_the_best_of_all_thresholds():
    logits, labels = RNG.normal(size=(60, 1)), (RNG.random((60, 1)) < 0.2).astype(float)
    best = 0.0
    for threshold in logits[:, 0]:
        found, actual = logits[:, 0] >= threshold, labels[:, 0] == 1
        best = max(best, min(actual[found].mean(), found[actual].mean()))
    assert METRICS["sensitivity_precision"].value(logits, labels) == pytest.approx(best)
    two = np.concatenate([np.zeros_like(logits), logits], -1)
    found = METRICS["sensitivity_precision"].value(two, labels[:, 0].astype(int))
    assert found == pytest.approx(best)


def test_brier_score_of_labels_and_of_two_classes_agree():
    logits, labels = np.array([[0.0], [np.log(3)]]), np.array([[1.0], [0.0]])
    wanted = (0.5**2 + 0.75**2) / 2
    assert METRICS["brier"].value(logits, labels) == pytest.approx(wanted)
    two = np.concatenate([np.zeros_like(logits), logits], -1)
    assert METRICS["brier"].value(two, labels[:, 0].astype(int)) == pytest.approx(wanted)


def test_recall_and_precision_of_a_class():
    logits = np.eye(3)[[0, 1, 1, 2]]
    targets = np.array([0, 1, 0, 1])
    assert find_metric("recall/1").value(logits, targets) == 0.5
    assert find_metric("precision/1").value(logits, targets) == 0.5
    assert find_metric("precision/2").value(logits, targets) == 0.0
    assert np.isnan(find_metric("recall/2").value(logits, targets))


def test_threshold_for_recall_is_the_highest_that_finds_the_wanted_share():
    scores, actual = RNG.random(500), RNG.random(500) < 0.1
    threshold = threshold_for_recall(scores, actual, 0.9)
    assert (scores[actual] >= threshold).mean() >= 0.9
    assert (scores[actual] > threshold).mean() < 0.9
    with pytest.raises(ValueError, match="at least one positive"):
        threshold_for_recall(scores, np.zeros(500, bool), 0.9)


def test_metric_names_of_classes_are_checked():
    assert higher_is_better("average_precision/x")
    assert is_metric("recall/V")
    assert not is_metric("hinge")
    assert not is_metric("nll/V")
    with pytest.raises(ValueError, match="must name one of the classes N, V"):
        find_metric("average_precision/S", ("N", "V"))
    with pytest.raises(ValueError, match="metric must be one of nll"):
        find_metric("hinge")


def test_metrics_of_decoded_sequences_read_all_examples(monkeypatch):
    def share_equal(predictions, references):
        return float(np.mean([a == b for a, b in zip(predictions, references, strict=True)]))

    monkeypatch.setitem(METRICS, "exact", DecodedMetric(share_equal, higher_is_better=True))
    accumulator = MetricAccumulator(("exact",))
    accumulator.add_decoded([("ab", "ab")])
    accumulator.add_decoded(pair for pair in [("a", "b"), ("", "")])
    assert accumulator.result() == {"exact": pytest.approx(2 / 3)}
