"""Balanced batches: rates of rare classes, and batches by their number only."""

import numpy as np
import pytest

from rnnlab.tasks.batching.balanced import BalancedSampler
from rnnlab.tasks.batching.sampler import EpochSampler


def contains(size=1000, rare=3):
    found = np.zeros((size, 3), bool)
    found[:, 0] = True
    found[:rare, 2] = True  # class 1 occurs nowhere
    return found


@pytest.mark.parametrize("share", [0.1, 0.5, 1.0])
def test_rare_class_appears_at_the_wanted_rate(share):
    sampler = BalancedSampler(contains(), batch_size=7, seed=1, share=share)
    drawn = np.concatenate([sampler.indices(n) for n in range(200)])
    assert abs((drawn < 3).mean() - share / 2) < 0.01 + 3 / 1000
    assert len(set(drawn[drawn < 3])) == 3


def test_share_of_zero_is_an_epoch_sampler():
    sampler = BalancedSampler(contains(), batch_size=7, seed=1, share=0.0)
    expected = EpochSampler(1000, 7, 1)
    assert all((sampler.indices(n) == expected.indices(n)).all() for n in range(5))


def test_batch_depends_on_seed_and_number_only():
    one, other = (BalancedSampler(contains(), 7, seed=1, share=0.5) for _ in range(2))
    first = [one.indices(n).tolist() for n in range(4)]
    assert [other.indices(n).tolist() for n in (3, 2, 1, 0)] == first[::-1]
    assert BalancedSampler(contains(), 7, seed=2, share=0.5).indices(0).tolist() != first[0]


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_share_out_of_range_raises_value_error(share):
    with pytest.raises(ValueError, match=r"balance must be in \[0, 1\]"):
        BalancedSampler(contains(), 7, seed=1, share=share)


def test_examples_without_a_class_raise_value_error():
    with pytest.raises(ValueError, match="an example with a class, got none"):
        BalancedSampler(np.zeros((4, 2), bool), 2, seed=0, share=0.5)
