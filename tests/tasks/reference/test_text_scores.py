"""Scores of decoded texts against edit distances by brute force and values computed by hand."""

import functools
import itertools
import math

import numpy as np
import pytest

from rnnlab.tasks.reference import text_scores
from rnnlab.tasks.reference.text_scores import Pronunciations

pytest.importorskip("jiwer")
pytest.importorskip("sacrebleu")


def edit_distance(one, other):
    """Fewest insertions, deletions and substitutions, by the definition."""

    @functools.cache
    def of_suffixes(i, j):
        if i == len(one) or j == len(other):
            return len(one) - i + len(other) - j
        return min(
            of_suffixes(i + 1, j) + 1,
            of_suffixes(i, j + 1) + 1,
            of_suffixes(i + 1, j + 1) + (one[i] != other[j]),
        )

    return of_suffixes(0, 0)


@pytest.fixture
def sentences():
    rng = np.random.default_rng(0)
    texts = [" ".join(rng.choice(["a", "be", "cab"], rng.integers(1, 7))) for _ in range(40)]
    return texts[::2], texts[1::2]


def test_word_and_character_error_rates_equal_brute_force(sentences):
    predictions, references = sentences
    pairs = list(zip(predictions, references, strict=True))
    words = sum(edit_distance(x.split(), y.split()) for x, y in pairs)
    characters = sum(edit_distance(x, y) for x, y in pairs)
    assert text_scores.wer(*sentences) == words / sum(len(y.split()) for y in references)
    assert text_scores.cer(*sentences) == characters / sum(map(len, references))


def test_phone_error_takes_the_nearest_pronunciation():
    rng = np.random.default_rng(1)
    predictions, references, edits, length = [], [], 0, 0
    for _ in range(30):
        prediction, *choices = (
            tuple(rng.choice(["AA", "B", "K", "T"], rng.integers(1, 6))) for _ in range(4)
        )
        distances = [edit_distance(prediction, choice) for choice in choices]
        nearest = [x for x, d in zip(choices, distances, strict=True) if d == min(distances)]
        edits, length = edits + min(distances), length + max(map(len, nearest))
        predictions.append(prediction)
        references.append(Pronunciations(tuple(choices)))
    assert text_scores.phone_error(predictions, references) == edits / length


def test_word_error_accepts_any_pronunciation():
    choices = (("R", "IY", "D"), ("R", "EH", "D"))
    predictions = [*choices, ("R", "AE", "D"), ()]
    assert text_scores.word_error(predictions, [Pronunciations(choices)] * 4) == 0.5


def test_pronunciation_scores_are_split_by_known_stems():
    references = [Pronunciations((("K",),), known) for known in (True, True, False)]
    predictions = [("K",), ("B",), ("K",)]
    scores = {name: score(predictions, references) for name, (score, _) in SCORES_OF_PHONES}
    assert scores == {
        "phone_error": 1 / 3,
        "word_error": 1 / 3,
        "phone_error_known_stem": 0.5,
        "word_error_known_stem": 0.5,
        "phone_error_new_stem": 0.0,
        "word_error_new_stem": 0.0,
    }
    only_new = references[2:]
    assert math.isnan(text_scores.SCORES["word_error_known_stem"][0](predictions[2:], only_new))


SCORES_OF_PHONES = [
    (name, entry)
    for name, entry in text_scores.SCORES.items()
    if name.startswith(("phone", "word_error"))
]


def test_bleu_equals_the_value_by_hand():
    # 5 of 6 words, 3 of 5 pairs, 2 of 4 triples, 1 of 3 quadruples, no brevity penalty.
    expected = 100 * (5 / 6 * 3 / 5 * 2 / 4 * 1 / 3) ** 0.25
    found = text_scores.bleu(["the cat is on the mat"], ["the cat is on a mat"])
    assert found == pytest.approx(expected)


def test_chrf_equals_the_value_by_hand():
    prediction, reference = "abcab", "abcb"
    scores = []
    for n in range(1, 7):
        grams = [
            [text[k : k + n] for k in range(len(text) - n + 1)] for text in (prediction, reference)
        ]
        if not all(grams):
            continue
        shared = sum(min(x.count(g) for x in grams) for g in set(itertools.chain(*grams)))
        scores.append((shared / len(grams[0]), shared / len(grams[1])))
    precision, recall = np.mean(scores, axis=0)
    expected = 100 * 5 * precision * recall / (4 * precision + recall)
    assert text_scores.chrf([prediction], [reference]) == pytest.approx(expected)


def test_translation_scores_accept_several_references():
    references = [("je vais bien ce soir", "ca va bien ce soir"), "merci a vous tous"]
    predictions = ["ca va bien ce soir", "merci a vous tous"]
    assert text_scores.bleu(predictions, references) == pytest.approx(100)
    assert text_scores.chrf(predictions, references) == pytest.approx(100)
    assert "nrefs:var|" in text_scores.signatures(references)["bleu"]
    assert "tok:13a" in text_scores.signatures(references[1:])["bleu"]
