"""Weights, balanced batches and augmentation as settings of labelled sequences."""

import numpy as np
import pytest

from rnnlab import Sequences
from rnnlab.tasks.imbalance import class_weights
from rnnlab.tasks.operating_points import metrics_at_chosen_thresholds


def test_weights_of_power_one_give_all_classes_the_same_total():
    targets = np.repeat([0, 1, 2, -1], [90, 9, 3, 50])
    weights = np.array(class_weights(targets, 4, 1.0))
    np.testing.assert_allclose(weights[:3] * [90, 9, 3], 34)
    assert weights[3] == 0
    half = np.array(class_weights(targets, 4, 0.5))
    np.testing.assert_allclose(half**2, weights)
    assert class_weights(targets, 3, 0.0) == (1, 1, 1)


def rare_file(tmp_path):
    rng = np.random.default_rng(0)
    path = tmp_path / "rare.npz"
    labels = np.where(np.arange(200) % 20 == 3, "late", "usual")
    np.savez(path, inputs=rng.normal(size=(200, 6, 2)).astype(np.float32), targets=labels)
    return path


def test_settings_of_labelled_sequences_reach_the_loss_and_the_batches(tmp_path):
    path = rare_file(tmp_path)
    settings = {"class_weights": 1.0, "focusing": 2.0, "balance": 0.5, "augment": ("jitter=0.1",)}
    plain = Sequences(path, batch_size=16).load(0)
    changed = Sequences(path, batch_size=16, **settings).load(0)
    assert not plain.loss_options
    weights = changed.loss_options["class_weights"]
    assert changed.loss_options["focusing"] == 2
    assert weights[0] > 10 * weights[1]  # late, usual
    rates = []
    for data in (plain, changed):
        batches = [data.train_batch(n) for n in range(12)]
        rates.append(np.mean([batch.targets[:, -1] == 0 for batch in batches]))
    assert rates[0] < 0.1
    assert rates[1] > 0.25
    for name in ("valid", "test"):
        for one, other in zip(plain.eval_sets[name](), changed.eval_sets[name](), strict=True):
            np.testing.assert_equal(other, one)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"balance": 0.5, "batching": "bucket"}, "batching must be 'pad' where balance is > 0"),
        ({"class_weights": -1.0}, r"class_weights must be in \[0, 1\]"),
    ],
)
def test_settings_that_do_not_fit_raise_value_error(tmp_path, settings, message):
    with pytest.raises(ValueError, match=message):
        Sequences(rare_file(tmp_path), **settings).load(0)


def test_class_settings_for_values_raise_value_error(tmp_path):
    inputs = np.zeros((20, 3, 1), np.float32)
    np.savez(tmp_path / "values.npz", inputs=inputs, targets=np.linspace(0, 1, 20))
    with pytest.raises(ValueError, match="focusing and balance must be 0 where targets are values"):
        Sequences(tmp_path / "values.npz", focusing=2.0).load(0)


def test_threshold_of_validation_data_is_applied_to_test_data():
    scores = np.array([0.9, 0.6, 0.3, 0.1])
    probabilities = np.stack([1 - scores, scores], 1)
    valid = (probabilities, np.array([1, 1, 0, 0]))
    test = (probabilities, np.array([1, 0, 1, 0]))
    found = metrics_at_chosen_thresholds(valid, test, {"V": 1.0}, ("N", "V"))
    assert found == {"recall_at_threshold/V": 0.5, "precision_at_threshold/V": 0.5}
    without = (probabilities, np.zeros(4, int))
    assert metrics_at_chosen_thresholds(without, test, {"V": 1.0}, ("N", "V")) == {}
