"""Sequences from files: splits, standardization, labels, baselines and batching."""

import numpy as np
import pytest

from rnnlab.errors import DataError
from rnnlab.tasks.batch import IGNORE_INDEX, loss_mask
from rnnlab.tasks.batching.strategies import training_batches
from rnnlab.tasks.labelled_data import pad_labelled
from rnnlab.tasks.readers.ts import read_ts
from rnnlab.tasks.sequences import Sequences

HEADER = "@univariate false\n@dimensions 2\n@classLabel true a b\n@data\n"


def written(path, lines):
    path.write_text(HEADER + lines)
    return path


def sequences_of(batches):
    for batch in batches:
        for x, y, mask in zip(*batch[:3], strict=True):
            length = int(mask.sum())
            if length:
                assert mask[:length].all()
                assert (y[: length - 1] == IGNORE_INDEX).all()
                assert (y[length:] == IGNORE_INDEX).all()
                assert (x[length:] == 0).all()
                yield x[:length], int(y[length - 1])


def test_two_files_are_standardized_by_the_training_part(tmp_path):
    train = written(tmp_path / "train.ts", "1,2:0,0:a\n3:4:b\n5,6,7:1,2,3:a\n8,9:5,5:b\n")
    test = written(tmp_path / "test.ts", "1:1:b\n10,20:0,0:a\n")
    data = Sequences(train, test, batch_size=1, valid=0.5).load(seed=0)
    read = read_ts(train)
    raw = {
        (len(x), label): x for x, label in zip(read.sequences, read.labels.tolist(), strict=True)
    }
    valid = list(sequences_of(data.eval_sets["valid"]()))
    known = list(sequences_of(data.train_batch(n) for n in range(2)))
    assert sorted(label for _, label in valid) == sorted(label for _, label in known) == [0, 1]
    assert {(len(x), label) for x, label in valid + known} == set(raw)
    steps = np.concatenate([raw[len(x), label] for x, label in known])
    tested = list(sequences_of(data.eval_sets["test"]()))
    assert [label for _, label in tested] == [1, 0]
    expected = [raw[len(x), label] for x, label in valid + known]
    expected += [np.array([[1, 1]]), np.array([[10, 0], [20, 0]])]
    for (x, _), y in zip(valid + known + tested, expected, strict=True):
        np.testing.assert_allclose(x, (y - steps.mean(axis=0)) / steps.std(axis=0), rtol=1e-5)


def test_default_vowels_have_published_sizes():
    pytest.importorskip("sktime", reason="ships the files")
    data = Sequences().load(seed=0)
    assert (data.in_features, data.out_features) == (12, 9)
    test = list(sequences_of(data.eval_sets["test"]()))
    assert len(test) == 370
    assert (min(len(x) for x, _ in test), max(len(x) for x, _ in test)) == (7, 29)
    valid = list(sequences_of(data.eval_sets["valid"]()))
    assert np.bincount([label for _, label in valid]).tolist() == [3] * 9
    train = list(sequences_of(data.train_batch(n) for n in range(9)))[:243]
    assert np.bincount([label for _, label in train]).tolist() == [27] * 9
    steps = np.concatenate([x for x, _ in train]).astype(float)
    np.testing.assert_allclose(steps.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(steps.std(axis=0), 1, atol=1e-5)


def test_baselines_of_labelled_sequences_include_classifiers(tmp_path):
    pytest.importorskip("sklearn")
    values = np.random.default_rng(0).normal(size=(60, 4, 2))
    labels = np.arange(60) % 3
    np.savez(tmp_path / "a.npz", inputs=values + labels[:, None, None], targets=labels)
    baselines = Sequences(tmp_path / "a.npz").load(seed=0).baselines()
    assert set(baselines) == {"majority class", "logistic regression", "linear SVM", "MLP"}
    assert baselines["majority class"] == pytest.approx(1 / 3)
    assert baselines["logistic regression"] > 2 / 3


def test_baseline_of_tokens_is_naive_bayes_on_their_ngrams(tmp_path):
    pytest.importorskip("sklearn")
    rng, labels = np.random.default_rng(0), np.arange(40) % 2
    ids = rng.integers(2, 6, (40, 7))
    # The classes differ in the order of two tokens only.
    ids[:, 3], ids[:, 4] = labels, 1 - labels
    np.savez(tmp_path / "a.npz", inputs=ids, targets=labels)
    baselines = Sequences(tmp_path / "a.npz").load(seed=0).baselines()
    assert set(baselines) == {"majority class", "naive Bayes on n-grams"}
    assert baselines["naive Bayes on n-grams"] == 1.0


def test_token_ids_with_a_class_per_time_step_are_read(tmp_path):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 5, (20, 6))
    ids[0, 0], ids[0, 1] = 7, 0
    np.savez(tmp_path / "a.npz", inputs=ids, targets=ids % 3, lengths=rng.integers(2, 7, 20))
    data = Sequences(tmp_path / "a.npz", batch_size=4, test=0.2).load(seed=0)
    assert (data.vocab_size, data.in_features, data.out_features) == (8, None, 3)
    parts = [data.train_batch(n) for n in range(4)]
    parts += [batch for batches in data.eval_sets.values() for batch in batches()]
    for batch in parts:
        np.testing.assert_array_equal(batch.targets[batch.mask], batch.inputs[batch.mask] % 3)
        assert (batch.targets[~batch.mask] == IGNORE_INDEX).all()
    assert set(data.baselines()) == {"majority class"}


def test_value_errors_are_in_the_units_of_the_data(tmp_path):
    rng = np.random.default_rng(0)
    inputs = np.concatenate([rng.normal(5, 3, (30, 4, 1)), np.ones((30, 4, 1))], axis=-1)
    targets = 100 + 10 * rng.normal(size=(30, 4, 2))
    targets[3, 2, 1] = np.nan
    np.savez(tmp_path / "a.npz", inputs=inputs, targets=targets)
    data = Sequences(tmp_path / "a.npz", batch_size=4).load(seed=0)
    assert (data.loss, data.metrics, data.out_features) == ("squared", ("rmse", "mae"), 2)
    (test,) = data.eval_sets["test"]()
    assert (test.inputs[..., 1] == 0).all()  # constant in training
    assert test.targets.dtype == np.float32
    # Differences between targets come back, times the unit; the shift is the training mean.
    shifts = {
        tuple(np.round(targets[row] - data.target_scale * y, 3)[0])
        for y in test.targets[test.mask.all(axis=1)]
        for row in range(30)
        if np.allclose(
            np.diff(targets[row], axis=0), data.target_scale * np.diff(y, axis=0), atol=1e-3
        )
    }
    assert len(shifts) == 1
    assert np.allclose(shifts.pop(), 100, atol=5)
    floor = data.baselines()["training mean"]
    steps = loss_mask(test)
    assert floor["rmse"] == pytest.approx(
        data.target_scale * np.sqrt(np.mean(test.targets[steps] ** 2))
    )


@pytest.fixture
def whole():
    """40 sequences of numbered steps, the class of each its number modulo 7."""
    rng = np.random.default_rng(0)
    lengths, start = rng.integers(1, 12, 40), 0
    sequences = []
    for length in lengths:
        sequences.append(np.arange(start, start + length, dtype=np.float32)[:, None] + 1)
        start += length
    return pad_labelled(sequences, np.arange(40) % 7)


@pytest.mark.parametrize("batching", ["pad", "bucket", "pack"])
def test_each_sequence_occurs_once_per_epoch_with_its_class(whole, batching):
    take = training_batches(whole, batching, 8, seed=0)
    last = np.cumsum(whole.mask.sum(axis=1))  # the number of each sequence's last step
    ends = dict(zip(last.tolist(), (np.arange(40) % 7).tolist(), strict=True))
    steps = set(whole.inputs[whole.mask].ravel().tolist())
    seen, asked, real, n = set(), {}, 0, 0
    while seen != steps:
        batch = take(n)
        new = batch.inputs[batch.mask].ravel().tolist()
        real, n = real + len(new), n + 1
        seen |= set(new)
        at = loss_mask(batch)
        asked |= dict(
            zip(batch.inputs[at].ravel().tolist(), batch.targets[at].tolist(), strict=True)
        )
        assert (batch.inputs[~batch.mask] == 0).all()
        if batching == "pack":
            assert batch.reset.sum() == at.sum()
    assert asked == ends
    # No more than what an epoch's last batch takes of the next epoch.
    assert real <= len(steps) + 8 * 11


def test_buckets_and_packs_have_less_padding(whole):
    pad_batch = {}
    for batching in ("pad", "bucket", "pack"):
        take = training_batches(whole, batching, 4, seed=0)
        masks = [take(n).mask for n in range(10)]
        pad_batch[batching] = np.mean(np.concatenate([mask.ravel() for mask in masks]))
        assert len({mask.shape for mask in masks}) <= 4
    assert pad_batch["pad"] < pad_batch["bucket"] < pad_batch["pack"]


def test_classes_of_test_file_are_matched_by_name(tmp_path):
    train = written(tmp_path / "train.ts", "1,2:0,0:a\n3:4:b\n5,6,7:1,2,3:a\n8,9:5,5:b\n")
    turned = "@classLabel true b a\n@data\n1:1:b\n10:0:a\n"
    (tmp_path / "test.ts").write_text(turned)
    data = Sequences(train, tmp_path / "test.ts", valid=0.5).load(seed=0)
    assert [label for _, label in sequences_of(data.eval_sets["test"]())] == [1, 0]
    (tmp_path / "other.ts").write_text(turned.replace("true b a", "true b a c"))
    with pytest.raises(
        DataError,
        match=r"only the classes of train.ts, got 'c'; use one of a, b",
    ):
        Sequences(train, tmp_path / "other.ts", valid=0.5).load(seed=0)


def test_standardization_with_large_mean_keeps_the_deviation(tmp_path):
    rng = np.random.default_rng(0)
    inputs = rng.normal(10_000, 1, (2000, 10, 3))
    inputs[..., 2] = 0.1
    targets = rng.normal(1000, 1, (2000, 10, 1))
    np.savez(tmp_path / "a.npz", inputs=inputs, targets=targets)
    data = Sequences(tmp_path / "a.npz", batch_size=2000, valid=0.1).load(seed=0)
    batch = data.train_batch(0)
    np.testing.assert_allclose(batch.inputs[..., :2].mean((0, 1)), 0, atol=1e-3)
    np.testing.assert_allclose(batch.inputs[..., :2].std((0, 1)), 1, atol=1e-3)
    assert (batch.inputs[..., 2] == 0).all()
    assert data.target_scale == pytest.approx(1, rel=0.02)
    assert abs(batch.targets.mean()) < 1e-3


def test_sequences_of_invalid_archives_raise(tmp_path):
    file = tmp_path / "a.npz"
    ids = np.random.default_rng(0).integers(0, 4, (30, 5))
    np.savez(file, inputs=ids, targets=ids)
    np.savez(tmp_path / "more.npz", inputs=ids + 1, targets=ids)
    with pytest.raises(
        DataError, match=r"more.npz, example \d, time step \d: .* in \[0, 4\), got 4"
    ):
        Sequences(file, tmp_path / "more.npz").load(seed=0)
    np.savez(tmp_path / "rows.npz", inputs=ids, targets=ids[:, 0])
    with pytest.raises(
        DataError, match=r"rows.npz: must have a class per sequence or per time step, as a.npz"
    ):
        Sequences(file, tmp_path / "rows.npz").load(seed=0)
    ids[0, 0] = 2**31 - 2
    np.savez(file, inputs=ids, targets=ids % 3)
    with pytest.raises(DataError, match=r"inputs must be in \[0, 1000000\), got 2147483646"):
        Sequences(file).load(seed=0)
    values = np.full((30, 5, 2), np.nan)
    values[..., 0] = 1
    np.savez(file, inputs=values[..., :1], targets=values)
    with pytest.raises(DataError, match=r"target 1 must be scored in the training part"):
        Sequences(file).load(seed=0)
    sparse = np.full((30, 5), IGNORE_INDEX)
    sparse[0] = [0, 1, 0, 1, 0]
    np.savez(file, inputs=np.abs(sparse), targets=sparse)
    with pytest.raises(DataError, match=r"must have a scored target in its \w+ part"):
        Sequences(file).load(seed=0)


def test_sequences_of_invalid_files_raise(tmp_path):
    good = written(tmp_path / "good.ts", "1,2:0,0:a\n3:4:b\n5:6:a\n7:8:b\n")
    with pytest.raises(DataError, match=r"gap.ts, line 5, dimension 2: has a missing value"):
        Sequences(good, written(tmp_path / "gap.ts", "1:?:b\n"), valid=0.5).load(seed=0)
    with pytest.raises(DataError, match="cannot be read"):
        Sequences(tmp_path / "none.ts").load(seed=0)
    for name, message in (
        ("a.txt", r"a.txt: must be an .npz, .ts, .csv, .* file, got '.txt'; save inputs and"),
        ("a.npy", r"a.npy: holds one array; save inputs and targets together: numpy.savez"),
        ("a.wav", r"a.wav: is audio; load it with scipy.io.wavfile.read, cut it into sequences"),
    ):
        with pytest.raises(DataError, match=message):
            Sequences(tmp_path / name).load(seed=0)
    np.savez(tmp_path / "b.npz", inputs=[[1, 2]], targets=[[0, 1]])
    with pytest.raises(DataError, match=r"b.npz: inputs must be float32 .* int32 of shape \(\)"):
        Sequences(good, tmp_path / "b.npz", valid=0.5).load(seed=0)
    np.savez(tmp_path / "c.npz", inputs=[[1, 2]], targets=[[-1, -1]])
    with pytest.raises(DataError, match=r"c.npz: must have a scored target"):
        Sequences(tmp_path / "c.npz").load(seed=0)
    one = written(tmp_path / "one.ts", "1:2:a\n3:4:a\n").read_text().replace("true a b", "true a")
    (tmp_path / "one.ts").write_text(one)
    with pytest.raises(DataError, match=r"one.ts: must have >= 2 classes"):
        Sequences(tmp_path / "one.ts", valid=0.5).load(seed=0)
    few = written(tmp_path / "few.ts", "1:2:a\n3:4:b\n")
    with pytest.raises(DataError, match=r"few.ts: cannot be split: .* of 2 examples in 2 classes"):
        Sequences(few).load(seed=0)
    with pytest.raises(ValueError, match="test_path must be used with path"):
        Sequences(test_path=good)
    with pytest.raises(
        ValueError, match="batching must be one of 'pad', 'bucket', 'pack', got 'heap'"
    ):
        Sequences(good, good, batching="heap", valid=0.5).load(seed=0)
