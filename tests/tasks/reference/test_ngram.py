"""Modified Kneser-Ney against its definition, counted one gram at a time."""

import math
import random
import sys
from collections import defaultdict

import numpy as np
import pytest

from rnnlab.tasks.reference.ngram import best_ngram, kneser_ney
from rnnlab.tasks.text import Text


class SlowKneserNey:
    """The equations of Chen and Goodman (1998) on dictionaries; reads nothing of rnnlab."""

    def __init__(self, train, vocab_size, context_length):
        self.vocab_size, self.context_length = vocab_size, context_length
        self.counts = [self._counts(train, k) for k in range(context_length + 1)]
        self.discounts = [self._discounts(counts) for counts in self.counts]

    def _counts(self, train, k):
        """{context of k symbols: {symbol: n}}: raw at the top, else of different predecessors."""
        if k == self.context_length:
            grams = [tuple(train[i : i + k + 1]) for i in range(len(train) - k)]
        else:
            longer = {tuple(train[i : i + k + 2]) for i in range(len(train) - k - 1)}
            grams = [gram[1:] for gram in longer]
        counts = defaultdict(lambda: defaultdict(int))
        for gram in grams:
            counts[gram[:-1]][gram[-1]] += 1
        return counts

    def _discounts(self, counts):
        numbers = [0] * 5
        for after in counts.values():
            for n in after.values():
                if n <= 4:
                    numbers[n] += 1
        _, n1, n2, n3, n4 = numbers
        if 0 in (n1, n2, n3):
            return 0, 0.5, 1, 1.5
        y = n1 / (n1 + 2 * n2)
        found = 0, 1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3
        return found if min(found[1:]) > 0 else (0, 0.5, 1, 1.5)

    def probability(self, context, symbol):
        """p(symbol | context) for a context of at most `context_length` symbols."""
        context = tuple(context)
        lower = self.probability(context[1:], symbol) if context else 1 / self.vocab_size
        after = self.counts[len(context)].get(context)
        if after is None:
            return lower
        discounts = self.discounts[len(context)]
        total = sum(after.values())
        freed = sum(discounts[min(n, 3)] for n in after.values())
        n = after.get(symbol, 0)
        return (n - discounts[min(n, 3)] + freed * lower) / total


def text(seed, size, symbols="aaabbcd"):
    """Ids of a text with repeated words, so that grams of all counts occur."""
    rng = random.Random(seed)
    words = ["".join(rng.choices(symbols, k=rng.randint(1, 5))) for _ in range(12)]
    letters = " ".join(rng.choices(words, weights=range(1, 13), k=size))[:size]
    return ["abcd ".index(letter) for letter in letters]


@pytest.mark.parametrize("context_length", [0, 1, 2, 3, 5])
@pytest.mark.parametrize("size", [3, 40, 400])
def test_kneser_ney_equals_definition(context_length, size):
    train, test = text(context_length, size), text(context_length + 9, 60)
    slow = SlowKneserNey(train, 6, context_length)
    expected = [
        math.log(slow.probability(test[max(0, i - context_length) : i], symbol))
        for i, symbol in enumerate(test)
    ]
    (fast,) = kneser_ney(np.array(train), np.array(test), 6, (context_length,))
    np.testing.assert_allclose(fast.log_probabilities, expected, rtol=1e-9)
    assert fast.discounts == pytest.approx(slow.discounts[-1][1:])


def test_kneser_ney_of_several_lengths_equals_each_length():
    train, test = np.array(text(0, 300)), np.array(text(1, 80))
    for model in kneser_ney(train, test, 5, (4, 0, 2)):
        (single,) = kneser_ney(train, test, 5, (model.context_length,))
        np.testing.assert_array_equal(model.log_probabilities, single.log_probabilities)


def test_probabilities_sum_to_one():
    train = np.array(text(3, 500))
    for context in ([0], [4, 0], [1, 4, 0], [5, 5, 5], [0, 5, 1]):
        (total,) = sum(
            np.exp([model.log_probabilities[-1] for model in kneser_ney(train, test, 7, (3,))])
            for test in (np.array([*context, symbol]) for symbol in range(7))
        )
        assert total == pytest.approx(1)


def test_best_ngram_chooses_on_the_end_of_the_training_text():
    train, test = np.array(text(5, 2000)), np.array(text(6, 300))
    best = best_ngram(train, test, 5, (1, 3, 8))
    valid = {
        model.context_length: model.nll
        for model in kneser_ney(train[:1800], train[1800:], 5, (1, 3, 8))
    }
    assert {length: model.nll for length, model in best.valid.items()} == pytest.approx(valid)
    assert best.chosen == min(valid, key=valid.get)
    (counted_on_all,) = kneser_ney(train, test, 5, (best.chosen,))
    assert best.nll == pytest.approx(counted_on_all.nll)


@pytest.mark.skipif(sys.version_info[:3] != (3, 11, 7), reason="the text is that of CPython 3.11.7")
def test_baselines_of_the_default_text_are_known():
    baselines = Text().load(seed=0).baselines()
    assert baselines["Kneser-Ney n-gram"] == pytest.approx(1.121, abs=5e-4)
    assert baselines["unigram"] == pytest.approx(3.2376, abs=5e-4)
    assert baselines["uniform"] == pytest.approx(math.log(103))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 5], [0], 5, (1,)), r"train must have ids in \[0, 5\), got 0 to 5; raise vocab_size"),
        (([0], [-1], 5, (1,)), r"test must have ids in \[0, 5\), got -1 to -1"),
        (([0], [], 5, (1,)), r"test must have one axis and at least 1 symbol, got shape \(0,\)"),
        (([0], [0], 5, (-1,)), r"context_lengths must be one or more numbers >= 0, got \(-1,\)"),
        (([0], [0], 5, ()), r"context_lengths must be one or more numbers >= 0, got \(\)"),
    ],
)
def test_kneser_ney_with_invalid_arguments_raises(arguments, message):
    train, test, *rest = arguments
    with pytest.raises(ValueError, match=message):
        list(kneser_ney(np.array(train, int), np.array(test, int), *rest))
