"""Augmented examples: a function of seed and number; padding, targets and masks stay valid."""

import dataclasses

import numpy as np
import pytest

from rnnlab.tasks.augment import Augmentation, augmented
from rnnlab.tasks.batch import Batch, last_steps

ALL = Augmentation(
    jitter=0.1, scale=0.2, time_warp=0.5, window_slice=0.4, time_mask=0.3, feature_mask=0.5
)
LENGTHS = np.array([12, 1, 7])


def batch(targets="steps"):
    mask = np.arange(12)[None] < LENGTHS[:, None]
    steps = np.broadcast_to(np.arange(12), (3, 12))
    inputs = np.where(mask[..., None], steps[..., None] + 1 + np.zeros(4), np.nan)
    known = mask if targets == "steps" else last_steps(mask)
    return Batch(
        inputs.astype(np.float32),
        np.where(known, steps, -1).astype(np.int32),
        mask,
        gaps=np.where(mask & (steps > 0), 2.0, 0).astype(np.float32),
    )


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Augmentation)])
def test_change_depends_on_seed_and_number_only(name):
    change = Augmentation(**{name: 0.5})
    task = augmented(lambda n: batch(), change, seed=3)
    first = task(5)
    task(6)
    np.testing.assert_equal(task(5), first)
    drawn = [change.apply(batch(), seed, n).inputs for seed in range(3) for n in range(3)]
    assert len({x.tobytes() for x in drawn}) > 5


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(Augmentation)])
def test_change_leaves_its_argument_and_its_kinds_of_arrays(name):
    given = batch()
    changed = Augmentation(**{name: 0.5}).apply(given, 0, 1)
    np.testing.assert_equal(given, batch())
    for before, after in zip(given, changed, strict=True):
        assert (before is None) == (after is None)
        if before is not None:
            assert (after.dtype, after.shape) == (before.dtype, before.shape)


@pytest.mark.parametrize("n", range(8))
def test_all_changes_keep_masks_to_the_right_and_padding_without_targets(n):
    changed = ALL.apply(batch(), 0, n)
    kept = changed.mask.sum(1)
    assert (kept >= 1).all()
    assert (kept >= np.floor(0.6 * LENGTHS)).all()
    np.testing.assert_array_equal(changed.mask, np.arange(12)[None] < kept[:, None])
    assert np.isfinite(changed.inputs[changed.mask]).all()
    assert (changed.targets[~changed.mask] == -1).all()
    assert (changed.gaps[~changed.mask] == 0).all()
    assert (changed.gaps[:, 0] == 0).all()


def test_padding_keeps_its_values_where_lengths_stay():
    change = dataclasses.replace(ALL, window_slice=0.0)
    changed = change.apply(batch(), 0, 0)
    np.testing.assert_array_equal(changed.inputs[~changed.mask], batch().inputs[~changed.mask])


@pytest.mark.parametrize("n", range(5))
def test_targets_move_with_the_time_steps_they_belong_to(n):
    for change in (Augmentation(time_warp=0.5), Augmentation(window_slice=0.5)):
        changed = change.apply(batch(), 0, n)
        steps = changed.inputs[..., 0][changed.mask] - 1
        assert np.abs(changed.targets[changed.mask] - steps).max() <= 0.5 + 1e-5


@pytest.mark.parametrize("n", range(5))
def test_label_of_a_sequence_stays_its_only_one_at_the_last_step(n):
    changed = ALL.apply(batch("sequence"), 0, n)
    at = last_steps(changed.mask)
    assert changed.targets[at].tolist() == (LENGTHS - 1).tolist()
    assert (changed.targets[~at] == -1).all()


def test_warp_keeps_both_ends_and_the_total_time():
    changed = Augmentation(time_warp=0.5).apply(batch(), 0, 2)
    ends = last_steps(changed.mask)
    np.testing.assert_allclose(changed.inputs[:, 0], 1)
    np.testing.assert_allclose(changed.inputs[ends][:, 0], LENGTHS)
    np.testing.assert_allclose(changed.gaps.sum(1), batch().gaps.sum(1), rtol=1e-6)
    assert (np.diff(changed.inputs[0, :, 0]) > 0).all()


def test_masks_set_adjacent_values_to_the_mean_and_keep_targets():
    many = [Augmentation(time_mask=0.5).apply(batch(), 0, n) for n in range(60)]
    hidden = np.stack([(x.inputs[0] == 0).all(-1) for x in many])
    assert hidden.sum(1).max() == 6
    assert hidden.sum(1).min() < 3
    assert (np.abs(np.diff(hidden.astype(int), axis=1)).sum(1) <= 2).all()
    np.testing.assert_array_equal(many[0].targets, batch().targets)
    chosen = Augmentation(feature_mask=0.9, jitter=1.0).apply(batch(), 0, 0, features=slice(1, 3))
    np.testing.assert_array_equal(chosen.inputs[..., [0, 3]], batch().inputs[..., [0, 3]])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["jitters=1"], "each of jitter, scale, .* got 'jitters=1'; write"),
        (["jitter=1", "jitter=2"], "at most once, got 'jitter=2'"),
        (["jitter"], "augment jitter must have a number, got 'jitter'"),
        (["scale=-1"], "augment scale must be a number >= 0, got -1.0"),
        (["jitter=nan"], "augment jitter must be a number >= 0, got nan"),
        (["time-mask=1"], r"augment time_mask must be in \[0, 1\), a share, got 1.0"),
    ],
)
def test_invalid_change_raises_value_error(changes, message):
    with pytest.raises(ValueError, match=message):
        Augmentation.parse(changes)


def test_batches_that_cannot_be_changed_raise_value_error():
    tokens = Batch(np.zeros((1, 2), np.int32), np.zeros((1, 2), np.int32))
    with pytest.raises(ValueError, match="inputs that are values, got token ids"):
        Augmentation(jitter=1.0).apply(tokens, 0, 0)
    packed = batch()._replace(reset=np.zeros((3, 12), bool))
    with pytest.raises(ValueError, match="one sequence per row"):
        Augmentation(time_warp=1.0).apply(packed, 0, 0)
    Augmentation(jitter=1.0).apply(packed, 0, 0)
