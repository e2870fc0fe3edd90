"""Contract of every generated task, and the functions that they share."""

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from rnnlab.tasks.adding import Adding
from rnnlab.tasks.batch import IGNORE_INDEX, Batch, loss_mask
from rnnlab.tasks.copying import CopyMemory, SelectiveCopying
from rnnlab.tasks.formal import LANGUAGES, FormalLanguage
from rnnlab.tasks.generated_data import majority_accuracy, sample_without_replacement
from rnnlab.tasks.listops import ListOps
from rnnlab.tasks.mqar import MQAR

SMALL = {"batch_size": 6, "evaluation_size": 20}
TASKS = [
    SelectiveCopying(length=12, tokens=3, **SMALL),
    CopyMemory(delay=5, tokens=3, symbols=4, **SMALL),
    Adding(length=9, **SMALL),
    MQAR(vocab_size=20, length=16, num_pairs=3, **SMALL),
    ListOps(5, 40, max_depth=4, max_args=4, train_size=50, **SMALL),
    ListOps(5, 40, max_depth=4, max_args=4, train_size=50, pad_to_multiple=8, **SMALL),
    *(FormalLanguage(name, test_lengths=(41, 80), **SMALL) for name in LANGUAGES),
]
tasks = pytest.mark.parametrize("task", TASKS, ids=lambda task: str(task)[:40])


def same(left, right):
    return all(
        (x is None and y is None) or np.array_equal(x, y, equal_nan=x.dtype.kind == "f")
        for x, y in zip(left, right, strict=True)
    )


def real(batch):
    """The rows of a batch that do not merely fill it."""
    rows = batch.mask.any(1)
    return Batch(*(None if x is None else x[rows] for x in batch))


@tasks
def test_batches_depend_on_task_seed_and_number_only(task):
    data, again, other = task.load(seed=3), task.load(seed=3), task.load(seed=4)
    last = again.train_batch(5)  # not in order
    assert same(data.train_batch(0), again.train_batch(0))
    assert same(data.train_batch(5), last)
    assert not same(data.train_batch(0), data.train_batch(1))
    assert not same(data.train_batch(0), other.train_batch(0))
    assert data.fingerprint == other.fingerprint != replace(task, batch_size=5).load(3).fingerprint


@tasks
def test_eval_sets_do_not_depend_on_seed_and_batch_size(task):
    data, other = task.load(seed=3), replace(task, batch_size=7).load(seed=4)
    assert list(data.eval_sets) == ["valid", "test"]
    for name in data.eval_sets:
        first, second = list(data.eval_sets[name]()), list(other.eval_sets[name]())
        assert [len(batch.inputs) for batch in first] == [6, 6, 6, 6]
        assert sum(loss_mask(batch).any(1).sum() for batch in first) == 20
        assert all(same(x, y) for x, y in zip(first, data.eval_sets[name](), strict=True))
        wanted, found = (
            [row.tobytes() for batch in batches for row in batch.targets[loss_mask(batch)]]
            for batches in (first, second)
        )
        assert wanted == found
    valid, test = (data.eval_sets[name]() for name in data.eval_sets)
    assert not any(same(x, y) for x, y in itertools.product(valid, test))
    assert not same(next(iter(valid)), data.train_batch(0))


@tasks
def test_batches_have_the_documented_shapes_and_dtypes(task):
    data = task.load(seed=0)
    examples = [real(batch) for name in data.eval_sets for batch in data.eval_sets[name]()]
    for batch in (data.train_batch(0), *examples):
        assert loss_mask(batch).any(tuple(range(1, batch.targets.ndim))).all()
        if data.vocab_size is None:
            assert batch.inputs.dtype == batch.targets.dtype == np.float32
            assert batch.inputs.shape[-1] == data.in_features
            assert batch.targets.shape == (*batch.inputs.shape[:2], data.out_features)
            continue
        assert batch.inputs.dtype == batch.targets.dtype == np.int32
        assert batch.inputs.shape == batch.targets.shape
        assert batch.inputs.min() >= 0
        assert batch.inputs.max() < data.vocab_size
        asked = batch.targets[batch.targets != IGNORE_INDEX]
        assert asked.min() >= 0
        assert asked.max() < data.out_features
        if batch.mask is not None and not batch.mask.all():
            assert batch.mask.any(1).all()
            assert not (np.diff(batch.mask.astype(int), axis=1) > 0).any()
            assert (batch.targets[~batch.mask] == IGNORE_INDEX).all()
            assert (batch.inputs[~batch.mask] == 0).all()
            ends = batch.mask.sum(1) - 1
            assert (batch.targets[np.arange(len(ends)), ends] != IGNORE_INDEX).all()


@tasks
def test_training_batches_have_one_shape_and_baselines_are_numbers(task):
    data = task.load(seed=0)
    if not getattr(task, "pad_to_multiple", None):
        assert len({data.train_batch(n).inputs.shape for n in range(4)}) == 1
    floors = data.baselines()
    assert floors
    assert all(isinstance(value, float) and 0 <= value < 5 for value in floors.values())
    assert data.metrics[0] in ("accuracy", "nll", "mse")


def test_sample_without_replacement_is_uniform():
    counts = Counter(
        map(tuple, sample_without_replacement(np.random.default_rng(0), 24_000, 3, 4).tolist())
    )
    assert set(counts) == set(itertools.permutations(range(4), 3))
    assert max(abs(count - 1000) for count in counts.values()) < 5 * 1000**0.5


def test_majority_accuracy_counts_scored_targets_of_all_batches():
    targets = np.array([[1, 0, IGNORE_INDEX], [1, 2, 2]], np.int32)
    mask = np.array([[True, True, False], [True, True, False]])
    batches = [Batch(targets, targets, mask), Batch(targets[:1], targets[:1])]
    assert majority_accuracy(batches) == 3 / 6


@pytest.mark.parametrize(
    ("kind", "settings", "message"),
    [
        (SelectiveCopying, {"length": 3}, "length must be >= tokens, 16, got 3"),
        (SelectiveCopying, {"vocab_size": 2}, "vocab_size must be >= 3, got 2"),
        (SelectiveCopying, {"batch_size": 0}, "batch_size must be an int >= 1, got 0"),
        (CopyMemory, {"delay": 0}, "delay must be an int >= 1, got 0"),
        (CopyMemory, {"evaluation_size": 0}, "evaluation_size must be an int >= 1, got 0"),
        (Adding, {"length": 1}, "length must be >= 2, got 1"),
        (MQAR, {"length": 15}, "length must be >= 4 \\* num_pairs, 16, got 15"),
        (MQAR, {"vocab_size": 9}, "vocab_size must be >= 2 \\* num_pairs \\+ 2, 10, got 9"),
        (MQAR, {"gap_exponent": 0.0}, "gap_exponent must be > 0, got 0.0"),
        (ListOps, {"max_depth": 1}, "max_depth must be >= 2, got 1"),
        (ListOps, {"max_args": 1}, "max_args must be >= 2, got 1"),
        (
            ListOps,
            {"min_length": 1999},
            "min_length must be .* got 1999 and 2000",
        ),
        (ListOps, {"pad_to_multiple": -1}, "pad_to_multiple must be an int >= 1, got -1"),
        (FormalLanguage, {"language": "dyck"}, "language must be one of 'even_pairs'.* got 'dyck'"),
        (FormalLanguage, {"size": 3}, "size must be 2 for parity, got 3"),
        (FormalLanguage, {"language": "majority", "size": 1}, "size must be >= 2, got 1"),
        (
            FormalLanguage,
            {"test_lengths": (9, 8)},
            r"test_lengths must be .* got \(9, 8\)",
        ),
        (FormalLanguage, {"train_length": 0}, "train_length must be an int >= 1, got 0"),
        (
            FormalLanguage,
            {"language": "modular_arithmetic", "test_lengths": (42, 42)},
            "must include an odd length for modular_arithmetic",
        ),
    ],
)
def test_tasks_with_settings_out_of_range_raise(kind, settings, message):
    with pytest.raises(ValueError, match=message) as raised:
        kind(**settings)
    assert "\n" not in str(raised.value)
