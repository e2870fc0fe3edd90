"""Parts by group and by time: nothing of one part may be known from another."""

import numpy as np
import pytest

from rnnlab.errors import DataError
from rnnlab.tasks.splits import by_group, by_time, stratified

SPLITS = (by_group, by_time)


@pytest.mark.parametrize("split", SPLITS)
def test_parts_have_every_example_once(split):
    values = np.random.default_rng(0).integers(0, 40, 200)
    parts = split(values, [0.2, 0.1])
    assert sorted(np.concatenate(parts).tolist()) == list(range(200))
    for part in parts:
        assert (np.diff(part) > 0).all()


def test_by_group_keeps_each_group_whole():
    groups = np.random.default_rng(0).choice([f"patient {k}" for k in range(30)], 500)
    train, valid, test = by_group(groups, [0.2, 0.1])
    sets = [set(groups[part]) for part in (train, valid, test)]
    assert not sets[0] & sets[1]
    assert not sets[0] & sets[2]
    assert not sets[1] & sets[2]
    assert 0.2 <= len(valid) / 500 < 0.3
    assert 0.1 <= len(test) / 500 < 0.2


def test_by_time_tests_on_the_latest_and_keeps_equal_times_together():
    times = np.array(["2024-01-03", "2024-01-01", "2024-01-02", "2024-01-03"], "datetime64[D]")
    train, test = by_time(times, [0.5])
    assert train.tolist() == [1, 2]
    assert test.tolist() == [0, 3]
    times = np.random.default_rng(1).integers(0, 40, 300)
    parts = [times[part] for part in by_time(times, [0.2, 0.2])]
    assert parts[0].max() < parts[1].min()
    assert parts[1].max() < parts[2].min()


@pytest.mark.parametrize("split", [*SPLITS, stratified])
def test_fractions_out_of_range_are_an_error(split):
    with pytest.raises(ValueError, match="fractions must be in"):
        split(np.arange(10), [0.6, 0.5])


@pytest.mark.parametrize("split", SPLITS)
def test_a_part_without_examples_is_an_error(split):
    with pytest.raises(DataError, match="must leave no part empty"):
        split(np.zeros(10, int), [0.5])
