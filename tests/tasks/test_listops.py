"""ListOps against a stack machine that reads the printed tokens."""

import statistics
from collections import Counter

import numpy as np
import pytest

from rnnlab.tasks.batch import IGNORE_INDEX
from rnnlab.tasks.data import RngStream, rng_for
from rnnlab.tasks.listops import SYMBOLS, ListOps, sample_tree

APPLY = {
    "[MIN": min,
    "[MAX": max,
    "[MED": lambda values: int(statistics.median(values)),
    "[SM": lambda values: sum(values) % 10,
}
TASK = ListOps(10, 120, max_depth=5, max_args=6, train_size=60, batch_size=20, evaluation_size=25)


def evaluate(words):
    """Value of a row of words, its greatest depth, and the arguments of each operator."""
    stack, depth, arguments = [[]], 0, []
    for word in words:
        if word in APPLY:
            stack.append([word])
        elif word == "]":
            operator, *values = stack.pop()
            arguments.append((operator, len(values)))
            stack[-1].append(APPLY[operator](values))
        else:
            stack[-1].append(int(word))
        depth = max(depth, len(stack) - 1 + (word not in APPLY and word != "]"))
    assert len(stack) == 1
    assert len(stack[0]) == 1
    return stack[0][0], depth, arguments


def rows(batch):
    for tokens, targets, mask in zip(batch.inputs, batch.targets, batch.mask, strict=True):
        if not mask.any():  # fills the last batch
            continue
        assert (targets[: mask.sum() - 1] == IGNORE_INDEX).all()
        yield [SYMBOLS[token] for token in tokens[mask]], int(targets[mask][-1])


def test_token_machine_evaluates_known_expressions():
    assert evaluate(["[MAX", "2", "9", "[MIN", "4", "7", "]", "0", "]"])[0] == 9
    words = ["[SM", "9", "8", "[MED", "1", "4", "2", "7", "]", "]"]
    assert evaluate(words) == (0, 3, [("[MED", 4), ("[SM", 3)])
    assert evaluate(["5"]) == (5, 1, [])


def test_trees_have_their_values_and_lengths_in_bounds():
    data = TASK.load(seed=0)
    for batch in (data.train_batch(0), data.train_batch(2), *data.eval_sets["test"]()):
        assert batch.inputs.shape[1] == 120
        for words, value in rows(batch):
            wanted, depth, arguments = evaluate(words)
            assert value == wanted
            assert 10 < len(words) < 120
            assert depth <= 5
            assert all(2 <= count <= 6 for _, count in arguments)


def test_published_sizes():
    data = ListOps(batch_size=3, evaluation_size=3).load(seed=0)
    batch = data.train_batch(0)
    assert batch.inputs.shape == (3, 2000)
    for words, value in rows(batch):
        assert 500 < len(words) < 2000
        assert evaluate(words)[0] == value


def test_trees_follow_the_published_process():
    task = ListOps(0, 10_000, max_depth=3, max_args=5)
    counts, operators, digits, lone, inner = Counter(), Counter(), Counter(), 0, [0, 0]
    for i in range(6000):
        tokens, _ = sample_tree(rng_for(RngStream.FIXED, i), task)
        words = [SYMBOLS[token] for token in tokens]
        lone += len(words) == 1
        digits.update(word for word in words if word.isdigit())
        _, _, arguments = evaluate(words)
        operators.update(operator for operator, _ in arguments)
        counts.update(count for _, count in arguments)
        if arguments:
            inner[0] += len(arguments) - 1
            inner[1] += arguments[-1][1]  # the root closes last
    assert abs(lone / 6000 - 0.75) < 0.03
    assert abs(inner[0] / inner[1] - 0.25) < 0.03
    for counter, kinds in (
        (counts, {2, 3, 4, 5}),
        (operators, set(APPLY)),
        (digits, set("0123456789")),
    ):
        assert set(counter) == kinds
        shares = [count / counter.total() for count in counter.values()]
        assert max(abs(share * len(kinds) - 1) for share in shares) < 0.12


def test_each_training_example_occurs_once_per_epoch():
    def epoch(seed, batch_size):
        task = ListOps(10, 60, max_depth=4, max_args=4, train_size=24, batch_size=batch_size)
        data = task.load(seed)
        return [tuple(w) for n in range(24 // batch_size) for w, _ in rows(data.train_batch(n))]

    first, other = epoch(0, 4), epoch(1, 8)
    assert first != other
    assert sorted(first) == sorted(other)
    assert len(set(first)) > 20


def test_batches_are_padded_to_a_multiple():
    task = ListOps(10, 60, max_depth=4, max_args=4, batch_size=4, pad_to_multiple=16)
    data = task.load(seed=0)
    widths = set()
    for n in range(8):
        batch = data.train_batch(n)
        longest = batch.mask.sum(1).max()
        assert longest <= batch.inputs.shape[1] < longest + 16
        widths.add(batch.inputs.shape[1])
    assert widths <= {16, 32, 48, 64}
    assert len(widths) > 1


def test_majority_class_baseline_is_that_of_the_test_set():
    data = TASK.load(seed=0)
    answers = Counter(value for batch in data.eval_sets["test"]() for _, value in rows(batch))
    assert data.baselines() == {"majority class": answers.most_common(1)[0][1] / 25}


def test_listops_with_unreachable_lengths_raises():
    data = ListOps(10, 20, max_depth=2, max_args=2).load(seed=0)
    with pytest.raises(
        ValueError,
        match=r"must leave trees of max_depth 2 .* got 10 and 20",
    ):
        data.train_batch(0)


def test_padding_is_blank():
    batch = TASK.load(seed=0).train_batch(1)
    assert not batch.inputs[~batch.mask].any()
    assert np.array_equal(batch.mask.sum(1), (batch.targets != IGNORE_INDEX).argmax(1) + 1)
