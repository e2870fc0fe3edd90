"""Epoch samplers draw each example once per epoch, from the batch number only."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnlab.tasks.batching.sampler import EpochSampler


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 20), st.data(), st.integers(0, 5), st.booleans())
def test_each_epoch_is_a_permutation(size, data, seed, shuffle):
    batch_size = data.draw(st.integers(1, size))
    order = EpochSampler(size, batch_size, seed, shuffle)
    rows = [row for n in range(3 * size) for row in order.indices(n).tolist()]
    for epoch in range(3 * batch_size):
        assert sorted(rows[epoch * size : (epoch + 1) * size]) == list(range(size))


def test_batch_depends_on_seed_and_number_only():
    order = EpochSampler(50, 8, seed=3)
    batches = [order.indices(n).tolist() for n in range(30)]
    again = EpochSampler(50, 8, seed=3)
    assert [again.indices(n).tolist() for n in reversed(range(30))] == batches[::-1]
    assert batches != [EpochSampler(50, 8, seed=4).indices(n).tolist() for n in range(30)]
    assert sorted(order.indices(0)) != order.indices(0).tolist()


def test_epochs_differ():
    order = EpochSampler(50, 50, seed=0)
    assert order.indices(0).tolist() != order.indices(1).tolist()


def test_indices_are_copies():
    order = EpochSampler(6, 6, seed=0)
    kept = order.indices(0).copy()
    order.indices(0)[:] = 0
    assert (order.indices(0) == kept).all()


def test_epoch_sampler_with_invalid_sizes_raises():
    with pytest.raises(ValueError, match="batch_size must be <= 5, the number of examples, got 6"):
        EpochSampler(5, 6, seed=0)
    with pytest.raises(ValueError, match="size must be an int >= 1, got 0"):
        EpochSampler(0, 1, seed=0)
