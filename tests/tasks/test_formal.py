"""Formal languages against rules in plain Python for one string."""

from collections import Counter

import numpy as np
import pytest

from rnnlab.tasks.batch import IGNORE_INDEX
from rnnlab.tasks.formal import LANGUAGES, FormalLanguage


def even_pairs(text, size):
    return [sum(text[i] != text[i + 1] for i in range(len(text) - 1)) % 2]


def parity(text, size):
    return [text.count(1) % 2]


def cycle_navigation(text, size):
    position = 0
    for step in text:
        position = (position + {0: -1, 1: 0, 2: 1}[step]) % size
    return [position]


def modular_arithmetic(text, size):
    words = [str(s) if s < size else {0: "+", 1: "-", 2: "*"}[s - size] for s in text]
    return [eval("".join(words)) % size]  # noqa: S307


def majority(text, size):
    counts = Counter(text)
    return [max(symbol for symbol in counts if counts[symbol] == max(counts.values()))]


def majority_count(text, size):
    return [max(Counter(text).values())]


def bucket_sort(text, size):
    return sorted(text)


ANSWERS = [
    even_pairs,
    parity,
    cycle_navigation,
    modular_arithmetic,
    majority,
    majority_count,
    bucket_sort,
]
SIZES = {"even_pairs": (None,), "parity": (None,)}


def rows(batch, query):
    """String and answers of each row, after a look at where they stand."""
    for inputs, targets, mask in zip(batch.inputs, batch.targets, batch.mask, strict=True):
        if not mask.any():  # fills the last batch
            continue
        inputs, targets = inputs[mask].tolist(), targets[mask].tolist()
        length = inputs.index(query)
        assert inputs[length:] == [query] * (len(inputs) - length)
        assert targets[:length] == [IGNORE_INDEX] * length
        yield inputs[:length], targets[length:]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda answer: answer.__name__)
def test_answers_equal_plain_python(answer):
    name = answer.__name__
    for size in SIZES.get(name, (None, 2, 7)):
        task = FormalLanguage(name, size, evaluation_size=100, batch_size=100)
        data = task.load(seed=0)
        used = size or LANGUAGES[name].size
        for batch in (data.train_batch(0), data.train_batch(1), *data.eval_sets["test"]()):
            for text, answers in rows(batch, data.vocab_size - 1):
                assert answers == answer(text, used)


def test_plain_python_answers_cover_all_languages():
    assert {answer.__name__ for answer in ANSWERS} | {"missing_duplicate"} == set(LANGUAGES)


def test_missing_duplicate_answer_continues_the_copy():
    task = FormalLanguage("missing_duplicate", 10_000, train_length=10, batch_size=2000)
    data = task.load(seed=0)
    kept = Counter()
    for text, (answer,) in rows(data.train_batch(0), 10_000):
        # Symbols hardly repeat: the first that occurs again begins the copy.
        length = next((i for i, s in enumerate(text) if s in text[:i]), len(text))
        if len(set(text[:length])) < length or text[length:] != text[: len(text) - length]:
            continue
        assert answer == text[len(text) - length]
        kept[length, len(text) - length] += 1
    assert set(kept) == {(n, k) for n in range(1, 11) for k in range(n)}
    assert kept.total() > 1900
    shares = [kept[10, k] / sum(kept[10, j] for j in range(10)) for k in range(10)]
    assert max(shares) < 0.2


@pytest.mark.parametrize(
    ("words", "value"), [("1+2*3", 2), ("1-1-1", 4), ("0*1+4*3-2", 0), ("3", 3), ("0-2*3*4", 1)]
)
def test_modular_arithmetic_equals_published_examples(words, value):
    symbols = [5 + "+-*".index(word) if word in "+-*" else int(word) for word in words]
    assert modular_arithmetic(symbols, 5) == [value]


@pytest.mark.parametrize("name", LANGUAGES)
def test_lengths_are_uniform_within_bounds(name):
    task = FormalLanguage(
        name, train_length=6, test_lengths=(7, 12), batch_size=50, evaluation_size=3000
    )
    data = task.load(seed=0)
    step = 2 if name == "modular_arithmetic" else 1
    for kind, allowed in (("valid", range(1, 7, step)), ("test", range(7, 13, step))):
        seen = []
        for batch in data.eval_sets[kind]():
            for text, answers in rows(batch, data.vocab_size - 1):
                assert len(answers) == (len(text) if name == "bucket_sort" else 1)
                seen.append(len(text))
        if name == "missing_duplicate":  # the copy's beginning comes on top
            assert set(seen) == set(range(allowed[0], 2 * allowed[-1]))
            continue
        assert seen == sorted(seen)
        shares = Counter(seen)
        assert set(shares) == set(allowed)
        assert max(abs(n / 3000 * len(allowed) - 1) for n in shares.values()) < 0.2


def test_padding_reaches_the_greatest_possible_length():
    data = FormalLanguage("parity").load(seed=0)
    assert data.train_batch(0).inputs.shape == (128, 41)
    assert {batch.inputs.shape for batch in data.eval_sets["test"]()} == {(128, 257)}
    assert FormalLanguage("bucket_sort").load(seed=0).train_batch(0).inputs.shape == (128, 80)


def test_published_sizes():
    sizes = {name: FormalLanguage(name).load(seed=0) for name in LANGUAGES}
    assert {name: data.vocab_size for name, data in sizes.items()} == {
        "even_pairs": 3,
        "parity": 3,
        "majority": 64,
        "majority_count": 64,
        "cycle_navigation": 4,
        "modular_arithmetic": 9,
        "missing_duplicate": 10,
        "bucket_sort": 11,
    }
    assert {name: data.out_features for name, data in sizes.items()} == {
        "even_pairs": 2,
        "parity": 2,
        "majority": 63,
        "majority_count": 257,
        "cycle_navigation": 5,
        "modular_arithmetic": 5,
        "missing_duplicate": 9,
        "bucket_sort": 10,
    }


@pytest.mark.parametrize("name", ["even_pairs", "parity", "cycle_navigation"])
def test_length_alone_of_balanced_languages_is_chance(name):
    data = FormalLanguage(name, test_lengths=(41, 64)).load(seed=0)
    chance = 1 / data.out_features
    assert all(abs(floor - chance) < 0.05 for floor in data.baselines().values())


def test_length_alone_of_bucket_sort_exceeds_majority_class():
    data = FormalLanguage("bucket_sort", 4, test_lengths=(60, 70), evaluation_size=300).load(seed=0)
    right, all_of = 0, 0
    for batch in data.eval_sets["test"]():
        for text, answers in rows(batch, 4):
            guess = [int((place + 0.5) * 4 / len(text)) for place in range(len(text))]
            right += sum(np.equal(guess, answers))
            all_of += len(text)
    floors = data.baselines()
    assert abs(floors["most common per length"] - right / all_of) < 0.02
    assert floors["most common per length"] > floors["majority class"] + 0.3
