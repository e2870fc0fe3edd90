"""Text against the text itself: windows, streams and evaluation."""

import hashlib
import random
from pathlib import Path

import numpy as np
import pytest

from rnnlab.errors import DataError
from rnnlab.tasks.batch import loss_mask
from rnnlab.tasks.text import Text, decode, default_text, encode
from rnnlab.train.evaluate import evaluate

STORY = "".join(random.Random(0).choices("abcdefghij klmnop", k=400))


@pytest.fixture
def story(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text(STORY)
    return path


def text_of(data, ids):
    return "".join(data.vocabulary[i] for i in ids)


def test_training_windows_are_pieces_of_the_training_part(story):
    data = Text(story, length=20, batch_size=50).load(seed=1)
    starts = set()
    for n in range(20):
        batch = data.train_batch(n)
        assert batch.inputs.dtype == batch.targets.dtype == np.int32
        for inputs, targets in zip(batch.inputs, batch.targets, strict=True):
            piece = text_of(data, inputs) + data.vocabulary[targets[-1]]
            assert text_of(data, targets) == piece[1:]
            assert piece in STORY[20:360]
            starts.add(STORY.index(piece))
    # The last window ends with the last training symbol.
    assert (min(starts), max(starts)) == (20, 360 - 21)


def test_train_batch_depends_on_seed_and_number_only(story):
    one, other = Text(story, length=20).load(seed=1), Text(story, length=20).load(seed=2)
    np.testing.assert_array_equal(one.train_batch(7).inputs, one.train_batch(7).inputs)
    assert (one.train_batch(7).inputs != one.train_batch(8).inputs).any()
    assert (one.train_batch(7).inputs != other.train_batch(7).inputs).any()


@pytest.mark.parametrize("evaluation_length", [None, 7, 100])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_eval_sets_score_every_symbol_once_given_its_predecessor(
    story, evaluation_length, batch_size
):
    task = Text(story, length=11, batch_size=batch_size, evaluation_length=evaluation_length)
    data = task.load(seed=0)
    assert list(data.eval_sets) == ["valid", "test"]
    # The first symbol of the text has no predecessor.
    for name, start, end in (("valid", 1, 20), ("test", 360, 400)):
        targets, inputs, shapes = [], [], set()
        for batch in data.eval_sets[name]():
            shapes.add(batch.inputs.shape)
            np.testing.assert_array_equal(loss_mask(batch), batch.mask)
            targets += batch.targets[batch.mask].tolist()
            inputs += batch.inputs[batch.mask].tolist()
        assert text_of(data, targets) == STORY[start:end]
        assert text_of(data, inputs) == STORY[start - 1 : end - 1]
        assert shapes == {(batch_size, evaluation_length or 11)}


def test_without_a_validation_part_the_test_part_selects_the_step(story):
    """As in runs that were stored before there was a validation part."""
    data = Text(story, length=11, valid=0).load(seed=0)
    assert list(data.eval_sets) == ["valid"]
    targets = [y for batch in data.eval_sets["valid"]() for y in batch.targets[batch.mask]]
    assert text_of(data, targets) == STORY[360:]
    with_part = Text(story, length=11).load(seed=0)
    assert data.fingerprint == with_part.fingerprint
    # Both parts precede the test part, so both are counted.
    assert data.baselines() == with_part.baselines()


def test_streams_continue_row_by_row_and_begin_with_a_reset(story):
    data = Text(story, length=9, batch_size=4, stateful=True).load(seed=0)
    assert data.stateful
    windows = (339 // 4) // 9
    offsets = set()
    for turn in range(12):
        batches = [data.train_batch(turn * windows + window) for window in range(windows)]
        resets = np.stack([batch.reset for batch in batches])
        assert resets[0, :, 0].all()
        assert resets.sum() == 4
        rows = [
            "".join(text_of(data, batch.inputs[r]) for batch in batches)
            + data.vocabulary[batches[-1].targets[r, -1]]
            for r in range(4)
        ]
        # Each stream opens with the symbol that the stream before asked for last.
        assert [row[0] for row in rows[1:]] == [row[-1] for row in rows[:-1]]
        whole = rows[0] + "".join(row[1:] for row in rows[1:])
        assert whole in STORY[20:360]
        offsets.add(STORY.index(whole))
    assert len(offsets) > 3


def test_decode_inverts_encode(tmp_path):
    path = tmp_path / "words.txt"
    words = "naïve café über 水 " * 30
    path.write_text(words)
    for token, size in (("character", 400), ("byte", 500)):
        data = Text(path, token=token, length=8, batch_size=2).load(seed=0)
        ids = encode(words, data.vocabulary)
        assert len(ids) == len(words if token == "character" else words.encode()) > size
        assert decode(ids, data.vocabulary) == words
        assert data.vocab_size == data.out_features == len(set(ids.tolist()))
        with pytest.raises(ValueError, match=r"symbols of the training text, got .* at index 1"):
            encode("c!", data.vocabulary)
    with pytest.raises(ValueError, match=r"ids\[1\] must be in \[0, 3\), got 99"):
        decode(np.array([0, 99]), ("a", "b", "c"))


def test_decode_of_incomplete_utf8_has_replacement_character():
    assert decode(np.array([0]), ("<0xE6>", "<0xB0>")) == "\ufffd"


def test_fingerprint_of_default_text_is_its_digest():
    data = Text().load(seed=0)
    assert data.fingerprint == hashlib.sha256(default_text().encode()).hexdigest()
    assert decode(data.train_batch(0).inputs[0], data.vocabulary) in default_text()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"length": 400}, r"story.txt must have >= 401 symbols to train on .* got 340, 20 and 40"),
        ({"length": 100, "batch_size": 8, "stateful": True}, "must have >= 801 symbols"),
        ({"valid": 0.001}, "and >= 2 and 1 to evaluate, got 360, 0 and 40"),
        ({"test": 0.0}, r"test must be a fraction in \(0, 1\), got 0.0"),
        ({"test": 1.0}, "test must be a fraction"),
        ({"valid": -0.1}, r"valid must be a fraction in \[0, 1\), got -0.1"),
        ({"valid": 0.5, "test": 0.5}, r"valid \+ test must be < 1, got 0.5 \+ 0.5"),
        ({"length": 0}, "length must be an int >= 1, got 0"),
        ({"evaluation_length": 0}, "evaluation_length must be an int >= 1, got 0"),
    ],
)
def test_text_with_invalid_settings_raises(story, options, message):
    with pytest.raises(ValueError, match=message):
        Text(story, **options).load(seed=0)


def test_text_of_any_file_by_bytes_has_its_bytes(tmp_path):
    raw = np.random.default_rng(0).integers(0, 256, 2000, np.uint8).tobytes()
    (tmp_path / "a.wav").write_bytes(raw)
    data = Text(tmp_path / "a.wav", token="byte", length=16, batch_size=2).load(seed=0)
    assert data.vocab_size == len(set(raw))
    (first, *_) = data.eval_sets["valid"]()
    names = "".join(data.vocabulary[i] for i in first.inputs[0])
    assert names == "".join(f"<0x{byte:02X}>" for byte in raw[:16])
    assert data.fingerprint == hashlib.sha256(raw).hexdigest()


def test_from_texts_writes_a_file_once_and_equals_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    documents = [STORY[:150], STORY[150:300], "é\n" + STORY[300:]]
    task = Text.from_texts(iter(documents), length=8, batch_size=2)
    assert task.path.parent == Path("runs/data")
    (tmp_path / "all.txt").write_text("\n\n".join(documents))
    data, same = task.load(seed=0), Text(tmp_path / "all.txt", length=8, batch_size=2).load(seed=0)
    assert data.fingerprint == same.fingerprint
    written = task.path.stat().st_mtime_ns
    assert Text.from_texts(documents, length=8, batch_size=2) == task
    assert task.path.stat().st_mtime_ns == written
    named = Text.from_texts(documents, path="texts.jsonl")
    assert named.path.read_bytes() == task.path.read_bytes()
    with pytest.raises(ValueError, match=r"texts.jsonl must not exist with other data"):
        Text.from_texts(documents[:1], path="texts.jsonl")
    with pytest.raises(ValueError, match="texts must be strings, got float as number 1"):
        Text.from_texts(["a", float("nan")])
    with pytest.raises(ValueError, match="texts must have at least one symbol, got 2 empty texts"):
        Text.from_texts(["", " "])
    with pytest.raises(ValueError, match="texts must be valid Unicode"):
        Text.from_texts(["a\ud800"])
    with pytest.raises(ValueError, match=r"path must end in .jsonl or .ndjson, got a.txt"):
        Text.from_texts(["a"], path="a.txt")


def guess(batch):
    """Outputs of a fixed model: random weights of the last two inputs."""
    table = np.random.default_rng(5).normal(size=(2, 40, 40))
    previous = np.pad(batch.inputs, ((0, 0), (1, 0)))[:, :-1]
    return (table[0][batch.inputs] + table[1][previous]).astype(np.float32)


def outputs_of(data):
    return lambda batch: guess(batch)[..., : data.out_features]


@pytest.mark.parametrize("token", ["character", "byte"])
def test_predict_of_the_test_part_has_the_metrics_of_the_evaluation(story, token):
    data = Text(story, token=token, length=11, batch_size=4).load(seed=0)
    outputs = outputs_of(data)
    metrics = evaluate(lambda _, batch: outputs(batch), None, data, data.eval_sets["test"]())
    found = data.preparation.predict(outputs, None, None)
    assert found.kind == "symbol"
    assert found.columns["position"].tolist() == list(range(360, 400))
    assert found.columns["nats"].mean() == pytest.approx(metrics["nll"])
    right = found.columns["symbol"] == found.columns["predicted"]
    assert right.mean() == pytest.approx(metrics["accuracy"])
    assert f"40 symbols; {metrics['nll']:.4f} nats ({metrics['bits']:.4f} bits)" in found.summary


def test_predict_of_a_new_text_equals_that_of_its_file(story, tmp_path):
    data = Text(story, length=11, batch_size=4).load(seed=0)
    new = "a cab dab " * 5
    (tmp_path / "new.txt").write_text(new)
    memory = data.preparation.predict(outputs_of(data), new, None)
    file = data.preparation.predict(outputs_of(data), tmp_path / "new.txt", None)
    assert memory.to_csv() == file.to_csv()
    assert "".join(memory.columns["symbol"]) == new[1:]
    assert memory.columns["position"].tolist() == list(range(1, 50))
    lines = Text.from_texts([STORY, "a\nb"], path=tmp_path / "a.jsonl", length=8, batch_size=4)
    preparation = lines.load(seed=0).preparation
    shown = preparation.predict(outputs_of(lines.load(seed=0)), "a\nb", None)
    assert shown.columns["symbol"].tolist() == ["\\n", "b"]
    file = preparation.predict(outputs_of(lines.load(seed=0)), tmp_path / "new.txt", None)
    assert file.columns["symbol"].tolist() == list(new[1:])
    for source, message in (
        ("ab§", "symbols of the training text, got '§' at index 2"),
        ("a", "the text must have >= 2 symbols, .* got 1"),
        (tmp_path / "none.txt", "none.txt: cannot be read"),
    ):
        with pytest.raises(DataError, match=message):
            data.preparation.predict(outputs_of(data), source, None)
    with pytest.raises(ValueError, match=r"horizon must be None for a text, .* got 3"):
        data.preparation.predict(outputs_of(data), None, 3)
