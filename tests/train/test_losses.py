"""Losses and metrics against plain loops, with targets that do not count."""

import math
from importlib.util import find_spec

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from rnnlab.heads import Quantiles
from rnnlab.tasks.batch import IGNORE_INDEX, Batch
from rnnlab.train.accumulate import MetricAccumulator
from rnnlab.train.losses import LOSSES, binary, categorical, loss_function, squared_error_loss
from rnnlab.train.metrics import METRICS


def plain_categorical(outputs, targets, mask):
    total, count = 0.0, 0
    for at in np.ndindex(targets.shape):
        if targets[at] != IGNORE_INDEX and mask[at]:
            logits = [float(v) for v in outputs[at]]
            total -= logits[targets[at]] - math.log(sum(math.exp(v) for v in logits))
            count += 1
    return total / count


def plain_binary(outputs, targets, mask):
    total, steps = 0.0, 0
    for at in np.ndindex(mask.shape):
        if not mask[at] or np.isnan(targets[at]).all():
            continue
        steps += 1
        for x, y in zip(outputs[at], targets[at], strict=True):
            if not math.isnan(y):
                p = 1 / (1 + math.exp(-float(x)))
                total -= y * math.log(p) + (1 - y) * math.log(1 - p)
    return total / steps


def plain_squared(outputs, targets, mask):
    terms = [
        (float(outputs[place]) - targets[place]) ** 2
        for place in np.ndindex(targets.shape)
        if mask[place[:2]] and not math.isnan(targets[place])
    ]
    return sum(terms) / len(terms)


@pytest.fixture
def example():
    rng = np.random.default_rng(3)
    outputs = rng.normal(size=(3, 5, 4)).astype(np.float32)
    mask = np.arange(5) < np.array([[5], [3], [4]])
    classes = rng.integers(-1, 4, (3, 5)).astype(np.int32)
    labels = rng.integers(0, 2, (3, 5, 4)).astype(np.float32)
    labels[rng.random(labels.shape) < 0.3] = np.nan
    labels[0, 1] = np.nan
    return outputs, mask, classes, labels


def test_losses_match_plain_loops(example):
    outputs, mask, classes, labels = example
    pairs = [
        (categorical, plain_categorical, classes),
        (binary, plain_binary, labels),
        (squared_error_loss, plain_squared, labels),
    ]
    for loss, plain, targets in pairs:
        value = float(loss(jnp.array(outputs), jnp.array(targets), jnp.array(mask)))
        assert value == pytest.approx(plain(outputs, targets, mask), rel=1e-6)
        everywhere = np.ones_like(mask)
        unmasked = float(loss(jnp.array(outputs), jnp.array(targets)))
        assert unmasked == pytest.approx(plain(outputs, targets, everywhere), rel=1e-6)


@pytest.mark.parametrize("name", LOSSES)
def test_loss_gradient_is_0_where_there_is_no_target(example, name):
    outputs, mask, classes, labels = example
    targets = classes if name == "categorical" else labels
    gradient = jax.grad(LOSSES[name])(jnp.array(outputs), jnp.array(targets), jnp.array(mask))
    scored = classes != IGNORE_INDEX if name == "categorical" else ~np.isnan(labels)
    scored = scored & (mask if name == "categorical" else mask[..., None])
    assert np.isfinite(gradient).all()
    assert not np.asarray(gradient)[~scored].any()
    assert np.asarray(gradient)[scored].any()


@pytest.mark.parametrize("name", LOSSES)
def test_loss_without_targets_is_0(name):
    targets = (
        jnp.full((2, 3), IGNORE_INDEX) if name == "categorical" else jnp.full((2, 3, 4), jnp.nan)
    )
    assert float(LOSSES[name](jnp.ones((2, 3, 4)), targets)) == 0


def test_weighted_categorical_loss_matches_a_plain_loop(example):
    outputs, mask, classes, _ = example
    weights = (0.5, 2.0, 1.0, 3.0)
    total, weight = 0.0, 0.0
    for at in np.ndindex(classes.shape):
        if classes[at] != IGNORE_INDEX and mask[at]:
            p = np.exp(outputs[at]) / np.exp(outputs[at]).sum()
            total -= weights[classes[at]] * (1 - p[classes[at]]) ** 2 * math.log(p[classes[at]])
            weight += weights[classes[at]]
    arrays = map(jnp.array, (outputs, classes, mask))
    found = categorical(*arrays, class_weights=weights, focusing=2.0)
    assert float(found) == pytest.approx(total / weight, rel=1e-5)


def test_focal_binary_loss_equals_that_of_optax(example):
    outputs, mask, _, labels = example
    known = ~np.isnan(labels) & mask[..., None]
    terms = optax.sigmoid_focal_loss(
        jnp.array(outputs), jnp.array(np.where(known, labels, 0)), gamma=2.0
    )
    wanted = np.where(known, terms, 0).sum() / known.any(-1).sum()
    found = binary(jnp.array(outputs), jnp.array(labels), jnp.array(mask), focusing=2.0)
    assert float(found) == pytest.approx(wanted, rel=1e-5)


def test_binary_loss_with_a_positive_weight_counts_positives_more():
    outputs, labels = jnp.zeros((1, 2, 1)), jnp.array([[[1.0], [0.0]]])
    found = binary(outputs, labels, positive_weight=3.0)
    assert float(found) == pytest.approx(2 * math.log(2), rel=1e-6)


def test_loss_options_out_of_range_are_an_error():
    outputs, targets = jnp.zeros((1, 2, 3)), jnp.zeros((1, 2), jnp.int32)
    with pytest.raises(ValueError, match="class_weights must be 3 numbers"):
        categorical(outputs, targets, class_weights=(1.0, 2.0))
    with pytest.raises(ValueError, match="focusing must be 0, or 1 or more, got"):
        categorical(outputs, targets, focusing=0.5)


def test_loss_function_reads_targets_and_mask_of_a_batch(example):
    outputs, mask, classes, labels = map(jnp.array, example)
    options = {"class_weights": (1.0, 2.0, 1.0, 1.0)}
    batch = Batch(outputs, classes, mask)
    found = loss_function("categorical", options)(outputs, batch)
    assert found == categorical(outputs, classes, mask, **options)
    head = Quantiles(4, (0.5,))
    batch = batch._replace(targets=labels)
    assert loss_function(head)(outputs, batch) == head.loss(outputs, labels, mask)


def test_loss_function_with_an_unknown_name_is_an_error():
    with pytest.raises(ValueError, match=r"loss must be one of 'categorical'.* got 'hinge'"):
        loss_function("hinge")


def test_metrics_agree_with_the_losses(example):
    outputs, _, classes, labels = example
    steps, targets = outputs[classes >= 0], classes[classes >= 0]
    everywhere = np.ones(classes.shape, bool)
    nll = METRICS["nll"].value(steps, targets)
    assert nll == pytest.approx(plain_categorical(outputs, classes, everywhere))
    assert METRICS["bits"].value(steps, targets) == pytest.approx(nll / math.log(2))
    kept = ~np.isnan(labels).all(-1)
    nll = METRICS["nll"].value(outputs[kept], labels[kept])
    assert nll == pytest.approx(plain_binary(outputs, labels, everywhere))
    mse = METRICS["mse"].value(outputs[kept], labels[kept])
    assert mse == pytest.approx(plain_squared(outputs, labels, everywhere))
    assert METRICS["rmse"].value(outputs[kept], labels[kept]) == pytest.approx(math.sqrt(mse))


def test_metrics_match_known_cases():
    outputs = np.array([[2.0, 0], [0, 1], [3, 0], [0, 5]])
    targets = np.array([0, 0, 1, 1])
    assert METRICS["accuracy"].value(outputs, targets) == 0.5
    values, wanted = np.array([[1.0, 9.0], [3.0, 1.0]]), np.array([[2.0, np.nan], [1.0, 1.0]])
    assert METRICS["mae"].value(values, wanted) == 1.0
    labels, logits = np.array([[1.0, 0.0], [np.nan, 1.0]]), np.array([[3.0, 2.0], [9.0, 1.0]])
    assert METRICS["accuracy"].value(logits, labels) == pytest.approx(2 / 3)


def test_f1_and_roc_auc_match_known_cases():
    pytest.importorskip("sklearn")
    outputs = np.array([[2.0, 0], [0, 1], [3, 0], [0, 5]])
    targets = np.array([0, 0, 1, 1])
    assert METRICS["f1"].value(outputs, targets) == pytest.approx(0.5)
    # Pairs of one step of each class that the difference of logits orders right: 2 of 4.
    assert METRICS["roc_auc"].value(outputs, targets) == pytest.approx(0.5)
    assert math.isnan(METRICS["roc_auc"].value(outputs, np.zeros(4, int)))
    labels = np.array([[1.0, 0.0], [np.nan, 1.0]])
    assert METRICS["roc_auc"].value(np.array([[3.0, 2.0], [0, 2.5]]), labels) == 1.0


def accumulate(names, outputs, targets, target_scale):
    """The metrics of a set in two batches."""
    accumulator = MetricAccumulator(names, target_scale)
    for part in (slice(0, 1), slice(1, None)):
        accumulator.add(outputs[part], targets[part])
    return accumulator.result()


def test_accumulated_batches_equal_the_whole_set(example):
    outputs, _, classes, labels = example
    steps, targets = outputs[classes >= 0], classes[classes >= 0]
    names = ("nll", "bits", "accuracy", *(["f1", "roc_auc"] if find_spec("sklearn") else []))
    whole = {name: METRICS[name].value(steps, targets) for name in names}
    assert accumulate(names, steps, targets, 1.0) == pytest.approx(whole)
    kept = ~np.isnan(labels).all(-1)
    whole = {name: METRICS[name].value(outputs[kept], labels[kept]) for name in names[:3]}
    assert accumulate(names[:3], outputs[kept], labels[kept], 1.0) == pytest.approx(whole)


def test_metrics_of_nan_outputs_are_nan():
    outputs, targets = np.array([[np.nan, 0.0], [1.0, 0.0]]), np.array([0, 0])
    values = accumulate(("accuracy", "nll"), outputs, targets, 1.0)
    assert all(math.isnan(value) for value in values.values())


def test_target_scale_applies_to_errors_only():
    outputs, targets = np.array([[1.0], [2.0]]), np.array([[0.0], [0.0]])
    values = accumulate(("rmse", "mae", "mse"), outputs, targets, 10.0)
    assert values == pytest.approx({"rmse": 10 * math.sqrt(2.5), "mae": 15.0, "mse": 2.5})
    with pytest.raises(ValueError, match="must have at least one target"):
        accumulate(("mse",), outputs[:0], targets[:0], 1.0)
