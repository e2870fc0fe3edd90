"""Predictions of labelled sequences: equal to the evaluation, in the users' names and units."""

import functools
from pathlib import Path

import numpy as np
import pytest

from rnnlab.errors import DataError
from rnnlab.tasks.sequences import Sequences
from rnnlab.train.evaluate import evaluate


def linear(data):
    """Outputs of a fixed model: random weights of the inputs and of the previous inputs."""

    def outputs(batch):
        inputs = batch.inputs
        if inputs.ndim == 2:
            inputs = np.eye(data.vocab_size)[inputs]
        rng = np.random.default_rng(5)
        now, before = rng.normal(size=(2, inputs.shape[-1], data.out_features))
        previous = np.pad(inputs, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        return (inputs @ now + previous @ before).astype(np.float32)

    return outputs


RNG = np.random.default_rng(0)
VALUES = RNG.normal(3, 2, (40, 6, 2))
LENGTHS = RNG.integers(1, 7, 40)
NAMES = np.array(["cat", "dog", "emu"])[np.arange(40) % 3]
KINDS = {
    "a name per sequence": (VALUES, NAMES, "class"),
    "a name per time step": (VALUES[..., 0], np.tile(NAMES[:, None], 6), "class"),
    "a number per sequence": (np.arange(240).reshape(40, 6) % 7, np.arange(40) % 3, "class"),
    "a value per sequence": (VALUES, VALUES.sum(axis=(1, 2)), "value"),
    "a value per time step": (VALUES[..., 0], 100 * VALUES[..., 1], "value"),
}


@pytest.mark.parametrize(("inputs", "targets", "kind"), KINDS.values(), ids=KINDS)
def test_predict_of_the_test_part_has_the_metrics_of_the_evaluation(
    tmp_path, inputs, targets, kind
):
    np.savez(tmp_path / "a.npz", X=inputs, y=targets, lengths=LENGTHS)
    data = Sequences(tmp_path / "a.npz", batch_size=4).load(seed=0)
    outputs = linear(data)
    metrics = evaluate(lambda _, batch: outputs(batch), None, data, data.eval_sets["test"]())
    found = data.preparation.predict(outputs, None, None)
    assert found.kind == kind
    assert ("step" in found.columns) == (targets.ndim == 2)
    steps = found.columns.get("step")
    numbers = found.columns["example"]  # of the sequences in the file
    truth = targets[numbers] if steps is None else targets[numbers, steps]
    if kind == "class":
        right = found.columns["predicted"] == found.columns["actual"]
        assert right.mean() == pytest.approx(metrics["accuracy"])
        assert found.columns["actual"].tolist() == list(map(str, truth))
    else:
        errors = found.columns["predicted"] - found.columns["actual"]
        assert np.sqrt(np.mean(errors**2)) == pytest.approx(metrics["rmse"])
        np.testing.assert_allclose(found.columns["actual"], truth, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("inputs", "targets", "kind"), KINDS.values(), ids=KINDS)
def test_predict_of_new_data_in_memory_equals_that_of_its_file(tmp_path, inputs, targets, kind):
    np.savez(tmp_path / "a.npz", X=inputs, y=targets)
    data = Sequences(tmp_path / "a.npz", batch_size=4).load(seed=0)
    lengths = LENGTHS[:9]
    new, truth = inputs[:9], targets[:9]
    ragged = [x[:n] for x, n in zip(new, lengths, strict=True)]
    np.savez(tmp_path / "new.npz", inputs=new, targets=truth, lengths=lengths)
    np.savez(tmp_path / "unknown.npz", x=new, lengths=lengths)
    predict = functools.partial(data.preparation.predict, linear(data), horizon=None)
    file = predict(source=tmp_path / "new.npz")
    steps = int(lengths.sum()) if targets.ndim == 2 else 9
    assert len(file) == steps
    known = [x[:n] for x, n in zip(truth, lengths, strict=True)] if targets.ndim == 2 else truth
    assert predict(source=(ragged, known)).to_csv() == file.to_csv()
    assert predict(source={"X": new, "y": truth, "lengths": lengths}).to_csv() == file.to_csv()
    unlabelled = predict(source=str(tmp_path / "unknown.npz"))
    assert predict(source=ragged).to_csv() == unlabelled.to_csv()
    np.testing.assert_array_equal(unlabelled.columns["predicted"], file.columns["predicted"])
    assert "known" not in unlabelled.summary


def test_predict_of_an_unknown_class_counts_as_wrong(tmp_path):
    np.savez(tmp_path / "a.npz", X=VALUES, y=NAMES)
    data = Sequences(tmp_path / "a.npz", batch_size=4).load(seed=0)
    new = (VALUES[:4], ["cat", "yak", "dog", "yak"])
    found = data.preparation.predict(linear(data), new, None)
    assert found.columns["actual"].tolist() == ["cat", "yak", "dog", "yak"]
    right = found.columns["predicted"] == found.columns["actual"]
    assert f"{right.sum()} of 4 with a known class are right" in found.summary
    partly = data.preparation.predict(linear(data), (VALUES[:4], ["", "cat", "", "dog"]), None)
    assert partly.columns["actual"].tolist() == ["", "cat", "", "dog"]
    assert "of 2 with a known class" in partly.summary
    np.savez(tmp_path / "b.npz", X=new[0], y=new[1])
    with pytest.raises(DataError, match=r"the classes of a.npz, got 'yak'; use one of cat, dog"):
        Sequences(tmp_path / "a.npz", tmp_path / "b.npz").load(seed=0)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (VALUES[..., :1], r"data in memory: inputs must be float32 of shape \(2,\) per time step"),
        (np.ones((3, 4), int), r"must be float32 of shape \(2,\) .*, got int32 of shape \(\)"),
        ((VALUES, VALUES[:, 0, 0]), r"targets must be int32 of shape \(\) per time step, as in a"),
        ((VALUES, np.tile(NAMES[:, None], 6)), "must have a class per sequence or per time step"),
        ("none.npz", "none.npz: does not exist"),
        ((VALUES,), "data in memory: must be .* if a tuple"),
    ],
)
def test_predict_of_other_data_raises(tmp_path, source, message):
    np.savez(tmp_path / "a.npz", X=VALUES, y=NAMES)
    data = Sequences(tmp_path / "a.npz", batch_size=4).load(seed=0)
    with pytest.raises(DataError, match=message):
        data.preparation.predict(linear(data), source, None)
    with pytest.raises(ValueError, match=r"horizon must be None for labelled .* got 2; remove it"):
        data.preparation.predict(linear(data), None, 2)


@pytest.mark.parametrize("kind", ["class", "step", "value", "wide"])
def test_predict_of_a_table_equals_that_of_a_frame(tmp_path, monkeypatch, kind):
    pandas = pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    rows = np.repeat(np.arange(40), LENGTHS)
    steps = np.concatenate([np.arange(n) for n in LENGTHS])
    frame = pandas.DataFrame({"id": rows, "step": steps, "x": RNG.normal(size=len(rows))})
    frame["label"] = {"class": NAMES[rows], "step": NAMES[(rows + steps) % 3]}.get(kind, rows / 8)
    settings = {}
    if kind == "wide":
        frame = pandas.DataFrame(VALUES[..., 0], columns=list("abcdef")).assign(label=NAMES)
        settings = {"id": None}
    task = Sequences.from_frame(frame, batch_size=4, **settings)
    data = task.load(seed=0)
    assert data.in_features == 1
    if kind != "wide":
        assert "Inputs: 1 value per time step (x)." in data.notes[0]
    predict = functools.partial(data.preparation.predict, linear(data), horizon=None)
    shuffled = frame.sample(frac=1, random_state=0) if kind == "wide" else frame[::-1]
    shuffled.to_csv("new.tsv", sep="\t", index=False)
    found = predict(source=Path("new.tsv"))
    assert len(found) == (len(rows) if kind == "step" else 40)
    assert predict(source=shuffled).to_csv() == found.to_csv()
    ids = found.columns["example"].astype(int)
    if kind in ("class", "value"):
        assert ids.tolist() == list(range(40))[::-1]
        own = predict(source=None)
        assert set(own.columns["example"]) < set(map(str, range(40)))
    unlabelled = predict(source=shuffled.drop(columns="label"))
    np.testing.assert_array_equal(unlabelled.columns["predicted"], found.columns["predicted"])
    renamed = Sequences(task.path, label="y", **settings)
    with pytest.raises(DataError, match=r"has no column 'y'; choose one of "):
        renamed.load(seed=0)


def test_from_arrays_writes_a_file_once_and_equals_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ragged = [x[:n] for x, n in zip(VALUES, LENGTHS, strict=True)]
    task = Sequences.from_arrays(ragged, NAMES.tolist(), batch_size=4)
    assert task.path.parent == Path("runs/data")
    padded = np.where(np.arange(6)[None, :, None] < LENGTHS[:, None, None], VALUES, 0)
    np.savez("same.npz", X=padded, y=NAMES, lengths=LENGTHS)
    data = task.load(seed=0)
    assert data.fingerprint == Sequences(Path("same.npz"), batch_size=4).load(seed=0).fingerprint
    assert data.classes == data.preparation.classes == ("cat", "dog", "emu")
    written = task.path.stat().st_mtime_ns
    assert Sequences.from_arrays(ragged, NAMES, batch_size=4) == task
    assert task.path.stat().st_mtime_ns == written
    assert Sequences.from_arrays(padded, NAMES, LENGTHS, batch_size=4) == task
    with pytest.raises(ValueError, match=r"same.npz must not exist with other data, .*; choose an"):
        Sequences.from_arrays(ragged, NAMES, path="same.npz")
    with pytest.raises(ValueError, match=r"path must end in .npz, got a.csv"):
        Sequences.from_arrays(ragged, NAMES, path="a.csv")
    with pytest.raises(DataError, match=r"data in memory: targets must have shape \(40,\)"):
        Sequences.from_arrays(ragged, NAMES[:3])
    assert len(list(Path("runs/data").iterdir())) == 1


def test_notes_describe_the_file(tmp_path):
    np.savez(tmp_path / "a.npz", X=VALUES, y=NAMES, lengths=np.full(40, 5))
    (note,) = Sequences(tmp_path / "a.npz").load(seed=0).notes
    assert note == (
        "a.npz: 40 sequences of 5 time steps. Inputs: 2 values per time step. "
        "Target: one of 3 classes per sequence: cat, dog, emu."
    )
    np.savez(tmp_path / "b.npz", X=np.ones((40, 6), int), y=np.arange(40) % 2 * 1.0)
    (note,) = Sequences(tmp_path / "b.npz").load(seed=0).notes
    assert "token ids below 2 (store floats if they are values)" in note
    assert "1 value per sequence (store integers or strings if they are classes)" in note


@pytest.mark.parametrize("example", [VALUES[0], VALUES[0, :, 0]])
def test_predict_of_one_example_without_a_batch_axis_names_it(tmp_path, example):
    np.savez(tmp_path / "a.npz", X=VALUES, y=NAMES)
    data = Sequences(tmp_path / "a.npz").load(seed=0)
    with pytest.raises(DataError, match=r"; add a batch axis, as in inputs\[None\]"):
        data.preparation.predict(linear(data), example, None)
    assert len(data.preparation.predict(linear(data), VALUES[:1], None)) == 1


def test_predict_of_a_ts_file_accepts_no_labels_and_other_classes(tmp_path):
    train = tmp_path / "train.ts"
    header = "@univariate false\n@dimensions 2\n@classLabel true a b\n@data\n"
    train.write_text(header + "1,2:0,0:a\n3:4:b\n5,6,7:1,2,3:a\n8,9:5,5:b\n" * 4)
    data = Sequences(train, batch_size=4, valid=0.25, test=0.25).load(seed=0)
    other = tmp_path / "other.ts"
    other.write_text("@classLabel true c b\n@data\n1,2:0,0:c\n3:4:b\n")
    plain = tmp_path / "plain.ts"
    plain.write_text("@classLabel false\n@data\n1,2:0,0\n3:4\n")
    found = data.preparation.predict(linear(data), other, None)
    assert found.columns["actual"].tolist() == ["c", "b"]
    assert "of 2 with a known class" in found.summary
    unlabelled = data.preparation.predict(linear(data), plain, None)
    assert unlabelled.columns["actual"].tolist() == ["", ""]
    assert unlabelled.columns["p(a)"].tolist() == found.columns["p(a)"].tolist()
