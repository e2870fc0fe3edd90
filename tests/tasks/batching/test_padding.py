"""Padding and buckets keep every example once and mask only padding."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnlab.tasks.batch import IGNORE_INDEX, Batch, loss_mask
from rnnlab.tasks.batching.padding import BucketSampler, pad, split_batches

LENGTHS = st.lists(st.integers(1, 12), min_size=1, max_size=25)


@pytest.mark.parametrize("shape", [(), (3,), (2, 2)])
def test_pad_keeps_sequences_and_masks_padding(shape):
    rng = np.random.default_rng(0)
    sequences = [rng.normal(size=(length, *shape)) for length in (3, 0, 5, 1)]
    array, mask = pad(sequences, 6, value=-9, rows=5)
    assert array.shape == (5, 6, *shape)
    for row, sequence in enumerate(sequences):
        np.testing.assert_array_equal(array[row, : len(sequence)], sequence)
        assert (array[row, len(sequence) :] == -9).all()
        assert mask[row].tolist() == [t < len(sequence) for t in range(6)]
    assert (array[4] == -9).all()
    assert not mask[4].any()
    assert pad(sequences)[0].shape == (4, 5, *shape)


def test_pad_with_too_few_rows_or_steps_raises():
    with pytest.raises(ValueError, match=r"sequences\[1\] must have <= 3 time steps, got 4"):
        pad([np.zeros(2), np.zeros(4)], 3)
    with pytest.raises(ValueError, match="sequences must have at least one"):
        pad([])
    with pytest.raises(ValueError, match="rows must be >= 2"):
        pad([np.zeros(2), np.zeros(4)], rows=1)


@pytest.mark.parametrize("values", [True, False])
def test_split_batches_keeps_examples_in_one_shape(values):
    inputs = np.arange(14, dtype=np.int32).reshape(7, 2)
    targets = inputs[..., None].astype(np.float32) if values else inputs
    reset = inputs % 3 == 0
    whole = Batch(inputs, targets, None, reset)
    batches = list(split_batches(whole, 3))
    assert {batch.inputs.shape for batch in batches} == {(3, 2)}
    kept = [batch.inputs[batch.mask.any(axis=1)] for batch in batches]
    np.testing.assert_array_equal(np.concatenate(kept), inputs)
    asked = [batch.targets[loss_mask(batch)] for batch in batches]
    np.testing.assert_array_equal(np.concatenate(asked), targets.ravel())
    np.testing.assert_array_equal(np.concatenate([b.reset for b in batches])[:7], reset)
    last = batches[-1].targets[1:]
    assert np.isnan(last).all() if values else (last == IGNORE_INDEX).all()


@settings(max_examples=40, deadline=None)
@given(LENGTHS, st.integers(1, 6), st.integers(0, 3))
def test_each_example_is_in_one_bucket_batch_per_epoch(lengths, batch_size, seed):
    bounds = (2, 5, 12)
    buckets = BucketSampler(lengths, bounds, batch_size, seed)
    size = buckets.batches_per_epoch
    for epoch in range(2):
        batches = [buckets.indices(epoch * size + n) for n in range(size)]
        rows = [row for taken, _ in batches for row in taken.tolist()]
        assert sorted(rows) == list(range(len(lengths)))
        assert sum(len(taken) < batch_size for taken, _ in batches) <= 1
        for taken, bound in batches:
            assert bound in bounds
            assert all(lengths[row] <= bound for row in taken)
        # A row in a larger bucket than its own is what did not fill a batch of its own.
        for bound in bounds[:-1]:
            promoted = sum(lengths[row] <= bound < to for taken, to in batches for row in taken)
            assert promoted < batch_size


def test_bucket_batches_depend_on_seed_and_number_only():
    lengths = np.random.default_rng(0).integers(1, 12, 60).tolist()

    def batches(seed):
        buckets = BucketSampler(lengths, (4, 8, 12), 7, seed)
        return [(rows.tolist(), bound) for rows, bound in map(buckets.indices, range(18))]

    assert batches(0) == batches(0)
    assert batches(0) != batches(1)
    # Another epoch puts other rows together.
    together = [sorted(rows) for rows, _ in batches(0)]
    assert not any(rows in together[9:] for rows in together[:9])
    # Batches of different lengths come in no order of length.
    bounds = [bound for _, bound in batches(0)]
    assert bounds[:9] != sorted(bounds[:9])


@pytest.mark.parametrize(
    ("lengths", "bounds", "message"),
    [
        ([1, 13], (4, 12), r"lengths\[1\] must be <= 12, the last of bounds, got 13"),
        ([], (4,), "lengths must have at least one"),
        ([1], (4, 4), r"bounds must increase, got \(4, 4\)"),
        ([1], (), r"bounds must increase, got \(\)"),
    ],
)
def test_bucket_sampler_with_invalid_bounds_raises(lengths, bounds, message):
    with pytest.raises(ValueError, match=message):
        BucketSampler(lengths, bounds, 2, 0)
