"""Entities of tags and their scores, against seqeval in its strict mode."""

import itertools
import random

import pytest

from rnnlab.tasks.reference.entity_scores import SCORES, baseline_scores, tag_accuracy
from rnnlab.tasks.tag_schemes import find_entities, forbidden_pairs, to_iob2
from rnnlab.train.metrics import METRICS

TAGS = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")


def random_sentences(seed):
    """Returns sentences of random tags, most of which IOB2 does not allow."""
    rng = random.Random(seed)
    return [rng.choices(TAGS, k=rng.randint(1, 8)) for _ in range(60)]


@pytest.mark.filterwarnings("ignore")
def test_entity_scores_equal_seqeval_in_strict_mode():
    metrics = pytest.importorskip("seqeval.metrics")
    from seqeval.scheme import IOB2, Entities

    actual = random_sentences(0)
    predicted = [
        [tag if random.Random(k).random() < 0.7 else "O" for k, tag in enumerate(x)] for x in actual
    ]
    for found in (predicted, actual, [["O"] * len(x) for x in actual]):
        options = {"mode": "strict", "scheme": IOB2, "zero_division": 0}
        for name in ("precision", "recall", "f1"):
            wanted = getattr(metrics, f"{name}_score")(actual, found, **options)
            score = SCORES[f"entity_{name}"]
            assert score(found, actual) == pytest.approx(wanted)
            assert METRICS[f"entity_{name}"].value(found, actual) == score(found, actual)
        assert tag_accuracy(found, actual) == metrics.accuracy_score(actual, found)
    entities = [[(e.tag, e.start, e.end) for e in x] for x in Entities(actual, IOB2).entities]
    assert [list(map(tuple, find_entities(x))) for x in actual] == entities


def test_allowed_sequences_are_those_without_a_forbidden_pair():
    forbidden = forbidden_pairs(TAGS)
    assert (0, 2) in forbidden
    assert (2, 2) not in forbidden
    for tags in random_sentences(1):
        numbers = [0, *(TAGS.index(tag) for tag in tags)]  # O before the sentence
        is_allowed = not set(itertools.pairwise(numbers)) & set(forbidden)
        assert is_allowed == (list(to_iob2(tags)) == tags)


@pytest.mark.parametrize(
    ("tags", "wanted"),
    [
        ("I-A I-A B-A O I-B", "B-A I-A B-A O B-B"),  # IOB1
        ("B-A E-A S-A S-A", "B-A I-A B-A B-A"),  # IOBES
        ("B-A L-A U-A O", "B-A I-A B-A O"),  # BILOU
    ],
)
def test_tags_of_other_schemes_become_iob2(tags, wanted):
    assert " ".join(to_iob2(tags.split())) == wanted


def test_baseline_of_words_takes_the_most_common_tag():
    words, tags = [["Kjeld", "i", "Aarhus"]] * 3, [["B-PER", "O", "B-LOC"]] * 3
    found = baseline_scores(words, tags, [["i", "Aarhus", "nu"]], [["O", "B-LOC", "B-LOC"]])
    assert found["most common tag of the word"]["entity_recall"] == 0.5
    assert found["all O"]["entity_f1"] == 0.0
