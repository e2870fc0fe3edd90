"""Chorales against the next time step, counting and piano rolls computed by hand."""

import math

import numpy as np
import pytest

from rnnlab.errors import DataError
from rnnlab.tasks.chorales import NUM_KEYS, Chorales, piano_roll, read_mat

PARTS = ("traindata", "validdata", "testdata")


def pieces_of(lengths, seed):
    rng = np.random.default_rng(seed)
    return [(rng.random((length, NUM_KEYS)) < 0.1).astype(np.uint8) for length in lengths]


@pytest.fixture
def write(tmp_path):
    scipy_io = pytest.importorskip("scipy.io")

    def write(**parts):
        arrays = {}
        for name, pieces in parts.items():
            arrays[name] = np.empty((1, len(pieces)), object)
            arrays[name][0] = pieces
        path = tmp_path / "pieces.mat"
        scipy_io.savemat(path, arrays)
        return path

    return write


@pytest.fixture
def pieces():
    lengths = ((5, 9, 4), (3, 6), (7, 2, 8))
    return {name: pieces_of(ls, k) for k, (name, ls) in enumerate(zip(PARTS, lengths, strict=True))}


def real(batches):
    """Inputs and targets of every real row."""
    for batch in batches:
        assert np.isnan(batch.targets[~batch.mask]).all()
        for x, y, mask in zip(*batch[:3], strict=True):
            if mask.any():
                yield x[mask], y[mask]


def test_targets_are_the_next_time_step(write, pieces):
    data = Chorales(write(**pieces), batch_size=2).load(seed=0)
    for name, part in (("valid", "validdata"), ("test", "testdata")):
        for (x, y), piece in zip(real(data.eval_sets[name]()), pieces[part], strict=True):
            np.testing.assert_array_equal(x, piece[:-1])
            np.testing.assert_array_equal(y, piece[1:])
            assert x.dtype == y.dtype == np.float32
    seen = {len(x): (x, y) for x, y in real(data.train_batch(n) for n in range(3))}
    for piece in pieces["traindata"]:
        x, y = seen[len(piece) - 1]
        np.testing.assert_array_equal(x, piece[:-1])
        np.testing.assert_array_equal(y, piece[1:])


def test_baselines_equal_counting(write, pieces):
    floors = Chorales(write(**pieces), batch_size=2).load(seed=0).baselines()
    pairs = [
        (before, after)
        for piece in pieces["traindata"]
        for before, after in zip(piece[:-1].tolist(), piece[1:].tolist(), strict=True)
    ]

    def share(rows, k):
        return (sum(after[k] for _, after in rows) + 1) / (len(rows) + 2)

    alone = given = steps = 0
    for piece in pieces["testdata"]:
        for before, after in zip(piece[:-1].tolist(), piece[1:].tolist(), strict=True):
            steps += 1
            for k in range(NUM_KEYS):
                p = share(pairs, k)
                q = share([pair for pair in pairs if pair[0][k] == before[k]], k)
                alone -= math.log(p if after[k] else 1 - p)
                given -= math.log(q if after[k] else 1 - q)
    assert floors["key frequency"] == pytest.approx(alone / steps, rel=1e-5)
    assert floors["repeat last step"] == pytest.approx(given / steps, rel=1e-5)


def test_read_mat_of_invalid_file_raises(write, pieces, tmp_path):
    def refused(message, **changed):
        with pytest.raises(DataError, match=message) as raised:
            read_mat(write(**(pieces | changed)))
        assert "\n" not in str(raised.value)

    refused(
        r"validdata 0 must have shape .* got \(3, 87\)", validdata=[np.zeros((3, 87), np.uint8)]
    )
    refused(r"testdata 1 must have shape .* got \(1, 88\)", testdata=pieces_of((4, 1), 0))
    refused("traindata 0 must consist of 0 and 1", traindata=[np.full((3, NUM_KEYS), 2)])
    with pytest.raises(DataError, match="got no 'testdata'"):
        read_mat(write(traindata=pieces["traindata"], validdata=pieces["validdata"]))
    text = tmp_path / "text.mat"
    text.write_text("no music here, " * 30)
    with pytest.raises(DataError, match=r"is not a \.mat file"):
        read_mat(text)
    with pytest.raises(DataError, match="cannot be read"):
        read_mat(tmp_path / "none.mat")


def test_piano_roll_has_sounding_keys_at_each_time_step():
    notes = [(0.0, 1.0, 21), (0.5, 1.0, 108), (1 / 3, 2 / 3, 60), (2.0, 0.25, 64)]
    sounding = [
        [k for _, _, k in notes if any(s <= t < s + d for s, d, m in notes if m == k)]
        for t in (0, 0.5, 1, 1.5, 2)
    ]
    roll = piano_roll(notes, 0.5)
    assert [(np.flatnonzero(step) + 21).tolist() for step in roll] == [sorted(s) for s in sounding]
    with pytest.raises(ValueError, match="notes must be in 21 to 108, got 20"):
        piano_roll([(0.0, 1.0, 20)], 0.5)


def test_music21_pieces_are_split_the_same_for_every_seed():
    pytest.importorskip("music21")
    one, two = (Chorales(limit=6, batch_size=2).load(seed) for seed in (0, 1))
    assert one.fingerprint == two.fingerprint
    for name in ("valid", "test"):
        for x, y in zip(one.eval_sets[name](), two.eval_sets[name](), strict=True):
            np.testing.assert_array_equal(x.inputs, y.inputs)
        (x, _), *_ = real(one.eval_sets[name]())
        # Four voices, except for rests and unisons.
        assert 3 < x.sum(axis=1).mean() <= 4.5
    assert one.baselines()["key frequency"] > 5
    with pytest.raises(ValueError, match="limit must be >= 5 to be split, got 4"):
        Chorales(limit=4).load(seed=0)
