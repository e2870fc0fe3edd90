"""Packing keeps every time step once, without overlap, with resets at starts."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rnnlab.tasks.batching.packing import first_fit_decreasing, pack


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(9, 20))
def test_each_time_step_is_packed_once(lengths, length):
    # Every step of every sequence has a number of its own, from 1.
    ends = np.cumsum(lengths)
    sequences = [np.arange(end - size, end) + 1 for end, size in zip(ends, lengths, strict=True)]
    rows, reset, mask, packing = pack(sequences, length)
    assert rows.shape == reset.shape == mask.shape == (packing.rows, length)
    assert sorted(rows[mask].tolist()) == list(range(1, ends[-1] + 1))
    assert (rows[~mask] == 0).all()
    # Padding is on the right, and each row holds something.
    assert mask[:, 0].all()
    assert (mask[:, :-1] | ~mask[:, 1:]).all()
    # A reset stands exactly where a sequence's first number does.
    assert sorted(rows[reset].tolist()) == [int(sequence[0]) for sequence in sequences]
    for s, sequence in enumerate(sequences):
        start = packing.start[s]
        np.testing.assert_array_equal(rows[packing.row[s], start : start + lengths[s]], sequence)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(9, 20))
def test_packing_is_first_fit_decreasing(lengths, length):
    packing = first_fit_decreasing(lengths, length)
    room, wanted = [], {}
    for s in sorted(range(len(lengths)), key=lambda s: (-lengths[s], s)):
        row = next((r for r, left in enumerate(room) if left >= lengths[s]), len(room))
        if row == len(room):
            room.append(length)
        wanted[s] = row, length - room[row]
        room[row] -= lengths[s]
    placed = zip(packing.row.tolist(), packing.start.tolist(), strict=True)
    assert dict(enumerate(placed)) == wanted
    assert packing.rows == len(room)


def test_targets_are_packed_like_their_inputs():
    rng = np.random.default_rng(0)
    inputs = [rng.normal(size=(size, 2)) for size in (3, 5, 2)]
    targets = [x.sum(axis=-1) for x in inputs]
    rows, _, mask, packing = pack(inputs, 6)
    packed = packing.fill(targets, value=np.nan)
    np.testing.assert_array_equal(np.where(mask, rows.sum(axis=-1), np.nan), packed)


def test_packing_of_invalid_lengths_raises():
    with pytest.raises(ValueError, match=r"lengths\[1\] must be in 1 to 6, got 7"):
        first_fit_decreasing([3, 7], 6)
    with pytest.raises(ValueError, match=r"lengths\[0\] must be in 1 to 6, got 0"):
        first_fit_decreasing([0], 6)
    with pytest.raises(ValueError, match="lengths must have at least one"):
        pack([], 6)
    with pytest.raises(ValueError, match="2 sequences of 5 time steps in total, got 1 of 3"):
        first_fit_decreasing([3, 2], 6).fill([np.zeros(3)])
