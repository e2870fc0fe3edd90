"""The n-gram against its recursion written out for one symbol at a time."""

import math
import random
import sys

import numpy as np
import pytest

from rnnlab.tasks.reference.ngram import nll
from rnnlab.tasks.text import Text


def probability(train, context, symbol, vocab_size, discount):
    """p(symbol | context) by the definition, counting all of `train` anew."""
    size = len(context)
    lower = (
        probability(train, context[1:], symbol, vocab_size, discount) if size else 1 / vocab_size
    )
    after = [
        train[i + size] for i in range(len(train) - size) if train[i : i + size] == list(context)
    ]
    if not after:
        return lower
    kept = max(after.count(symbol) - discount, 0)
    return (kept + discount * len(set(after)) * lower) / len(after)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("discount", [0.75, 0.3])
def test_equals_the_definition(order, discount):
    rng = random.Random(order)
    # Symbol 4 is in neither, symbol 3 in the test text alone.
    train = [rng.choice([0, 0, 1, 2]) for _ in range(60)]
    test = [rng.choice([0, 1, 2, 3]) for _ in range(25)]
    expected = -sum(
        math.log(probability(train, test[max(0, i - order + 1) : i], symbol, 5, discount))
        for i, symbol in enumerate(test)
    ) / len(test)
    assert nll(np.array(train), np.array(test), order, 5, discount) == pytest.approx(expected)


def test_probabilities_sum_to_one():
    train = [0, 1, 0, 2, 0, 1, 1]
    for context in ([0], [1, 0], [2, 2]):
        total = sum(probability(train, context, symbol, 4, 0.75) for symbol in range(4))
        assert total == pytest.approx(1)


@pytest.mark.skipif(sys.version_info[:3] != (3, 11, 7), reason="the text is that of CPython 3.11.7")
def test_the_default_text_has_its_known_figure():
    floors = Text().load(seed=0).baselines()
    assert floors["5-gram"] == pytest.approx(1.344, abs=5e-4)
    assert floors["uniform"] == pytest.approx(math.log(103))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([0, 5], [0], 2, 5), r"train holds ids from 0 to 5; \[0, 5\) is needed"),
        (([0], [-1], 2, 5), "test holds ids from -1 to -1"),
        (([0], [], 2, 5), r"test has shape \(0,\); one axis"),
        (([0], [0], 0, 5), "order is 0"),
        (([0], [0], 1, 5, 1.5), r"discount is 1.5; a number in \[0, 1\]"),
    ],
)
def test_what_does_not_fit_is_named(arguments, message):
    train, test, *rest = arguments
    with pytest.raises(ValueError, match=message):
        nll(np.array(train, int), np.array(test, int), *rest)
