"""Entities: words as ids of words and characters, tags of a model, baselines, and new text."""

import itertools

import numpy as np
import pytest

from rnnlab.datasets import DATASETS, dataset_files
from rnnlab.errors import DataError
from rnnlab.heads import LinearChain
from rnnlab.tasks import Entities
from rnnlab.tasks.readers.iob2 import Sentence

NAMES = ("Kjeld", "Anne", "Bo", "Karen")


def write_sentences(path, count, names=NAMES):
    """Writes sentences in which the word behind `hr.` is a person of two words."""
    lines = []
    for k in range(count):
        name = names[k % len(names)]
        rows = [("hr.", "O"), (name, "B-PER"), (f"{name}sen", "I-PER"), ("sover", "O")]
        rows = rows[: 3 + k % 2] if k % 3 else [("nu", "O"), ("sover", "O")]
        lines += ["\t".join(row) for row in rows] + [""]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture
def task(tmp_path):
    return Entities(write_sentences(tmp_path / "a.conll", 60), batch_size=8, word_length=6)


def test_batches_have_ids_of_words_and_of_their_characters(task):
    data = task.load(seed=0)
    batch = data.train_batch(0)
    words, characters = data.word_sizes
    preparation = data.preparation
    assert batch.inputs.shape[2] == data.in_features == 7
    assert batch.inputs.shape[:2] == batch.targets.shape == batch.mask.shape
    assert words == 1 + len(preparation.words)
    encoded = preparation.encode([Sentence(("Kjeld", "xKjeldsen"), ("B-PER", "B-ORG"))])
    known = preparation.characters
    assert preparation.words[encoded.inputs[0, 0, 0] - 1] == "kjeld"
    spelled = [known[k - 2] for k in encoded.inputs[0, 0, 1:6]]
    assert ("".join(spelled), encoded.inputs[0, 0, 6]) == ("Kjeld", 0)
    # An unknown word by its first and last characters, of which one is unknown.
    assert encoded.inputs[0, 1, :2].tolist() == [0, 1]
    assert [known[k - 2] for k in encoded.inputs[0, 1, 2:]] == list("Kjsen")
    assert encoded.targets.tolist() == [[1, -1]]
    assert characters == 2 + len(known)


def test_word_dropout_replaces_rare_words_more_often_and_is_repeatable(task):
    data = task.load(seed=0)
    counts = {"hr.": 0, "kjeld": 0}
    dropped = dict.fromkeys(counts, 0)
    for n in range(200):
        batch = data.train_batch(n)
        same = data.train_batch(n)
        np.testing.assert_array_equal(batch.inputs, same.inputs)
        is_second = batch.inputs[..., 0] == 0
        first = data.preparation.characters.index("h") + 2
        for word, letter in (("hr.", first), ("kjeld", data.preparation.characters.index("K") + 2)):
            rows = (batch.inputs[..., 1] == letter) & batch.mask
            counts[word] += rows.sum()
            dropped[word] += (rows & is_second).sum()
    share = {word: dropped[word] / counts[word] for word in counts}
    assert 0 < share["hr."] < share["kjeld"] < 0.2


def test_decoding_is_legal_and_compares_with_the_tags_of_the_file(task):
    data = task.load(seed=0)
    assert isinstance(data.loss, LinearChain)
    assert data.out_features == 9
    (batch, *_) = data.eval_sets["test"]()
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(*batch.mask.shape, 9)).astype(np.float32)
    pairs = list(data.decode(outputs, batch))
    for tags, actual in pairs:
        assert len(tags) == len(actual)
        assert tags[0] != "I-PER"
        assert not any(a == "O" and b == "I-PER" for a, b in itertools.pairwise(tags))
    # Scores of the right tags give them back, by a chain and by single tags.
    right = np.eye(3)[np.maximum(batch.targets, 0)] * 9
    assert all(x == y for x, y in data.decode(np.tile(right, 3), batch))
    single = Entities(task.path, output="softmax", batch_size=8).load(seed=0)
    assert (single.loss, single.out_features) == ("categorical", 3)
    (batch, *_) = single.eval_sets["valid"]()
    right = np.eye(3)[np.maximum(batch.targets, 0)] * 9
    assert all(x == y for x, y in single.decode(right, batch))


def test_parts_of_files_and_baselines(task, tmp_path):
    names = (*NAMES[:2], "Ulla")
    test = write_sentences(tmp_path / "test.conll", 12, names)
    data = Entities(task.path, test_path=test, batch_size=8).load(seed=0)
    assert "54 sentences to train on, 6 to validate on, 12 to test on" in data.notes[0]
    scores = data.baselines()
    assert scores["all O"]["entity_f1"] == 0
    assert scores["most common tag of the word"]["entity_f1"] < 1
    if "CRF, features of words" in scores:
        assert scores["CRF, features of words"]["entity_f1"] == 1
    unknown = tmp_path / "unknown.conll"
    unknown.write_text("hos\tO\nIBM\tB-ORG\n")
    with pytest.raises(DataError, match="got none of 'ORG'"):
        Entities(task.path, test_path=unknown).load(seed=0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"word_dropout": -1.0}, "word_dropout must be finite and >= 0, got -1.0"),
        ({"output": "softmax", "constraints": "training"}, "whose training has no pairs of tags"),
        ({"test_path": "a.conll"}, "must be used with a file as path, got no path"),
    ],
)
def test_setting_out_of_range_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        Entities(**settings)


def test_official_parts_have_the_published_sizes():
    try:
        dataset_files("uner-danish")
    except DataError:
        pytest.skip(f"{DATASETS['uner-danish'].name} is not here")
    data = Entities().load(seed=0)
    assert "4,383 sentences to train on, 564 to validate on, 565 to test on" in data.notes[0]
    assert data.preparation.tags == ("O", "B-LOC", "B-ORG", "B-PER", "I-LOC", "I-ORG", "I-PER")
