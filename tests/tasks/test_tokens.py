"""Tokens against Text and against the tokens themselves: windows, epochs, documents, rows."""

import dataclasses
import json
import random

import jax
import numpy as np
import pytest

from rnnlab.errors import DataError
from rnnlab.tasks.batch import loss_mask, select
from rnnlab.tasks.text import Text
from rnnlab.tasks.token_files import prepare_token_file
from rnnlab.tasks.tokens import Tokens

STORY = "".join(random.Random(0).choices("abcdefghij klmnop", k=400))
ORDERS = ("random", "epoch", "stateful")


@pytest.fixture
def story(tmp_path):
    (tmp_path / "story.txt").write_text(STORY)
    return prepare_token_file([tmp_path / "story.txt"], tmp_path / "story.tokens").path


@pytest.fixture
def documents(tmp_path):
    """The path of a token file of many documents, its ids, and where the documents start."""
    rng = random.Random(1)
    texts = ["".join(rng.choices("abc", k=rng.randrange(1, 30))) for _ in range(60)]
    (tmp_path / "d.jsonl").write_text("\n".join(json.dumps({"text": x}) for x in texts))
    file = prepare_token_file([tmp_path / "d.jsonl"], tmp_path / "d.tokens")
    starts = np.cumsum([0, *map(len, texts)])[:-1]
    return file.path, np.array(["abc".index(x) for x in "".join(texts)]), set(starts.tolist())


def assert_same(left, right):
    jax.tree.map(np.testing.assert_array_equal, left, right)


@pytest.mark.parametrize("stateful", [False, True])
def test_batches_and_evaluation_sets_are_those_of_text(story, stateful):
    settings = {"length": 11, "batch_size": 3, "evaluation_length": 7}
    data = Tokens(story, order="stateful" if stateful else "random", **settings).load(seed=2)
    text = Text(story.with_suffix(".txt"), stateful=stateful, **settings).load(seed=2)
    for n in (0, 1, 40):
        assert_same(data.train_batch(n), text.train_batch(n))
    for name in text.eval_sets:
        for x, y in zip(data.eval_sets[name](), text.eval_sets[name](), strict=True):
            assert_same(x, y)
    assert data.vocabulary == text.vocabulary
    assert data.stateful == stateful
    assert data.baselines()["unigram"] == pytest.approx(text.baselines()["unigram"], abs=0.1)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("rows", [slice(0, 2), slice(3, 4), slice(1, 5)])
def test_rows_equal_those_of_the_whole_batch(documents, order, rows):
    data = Tokens(documents[0], length=5, batch_size=5, order=order).load(seed=3)
    for n in (0, 7, 10**9):
        assert_same(data.train_rows(n, rows), select(data.train_batch(n), rows))


def test_epoch_has_every_window_once_in_another_order_and_offset(story):
    """340 training tokens have 37 windows of 9, and batches of 4 reach across epochs."""
    data = Tokens(story, length=9, batch_size=4, order="epoch").load(seed=0)
    ids = Text(story.with_suffix(".txt"), length=9).load(0).preparation.encode(STORY)
    starts = []
    for n in range(37):
        batch = data.train_batch(n)
        for x, y in zip(batch.inputs, batch.targets, strict=True):
            (start,) = (k for k in range(20, 351) if (ids[k : k + 10] == [*x, y[-1]]).all())
            starts.append(start)
    orders = np.array(starts).reshape(4, 37) - 20
    for order in orders:
        offset = order.min()
        assert offset <= (340 - 1) % 9
        assert sorted(order - offset) == list(range(0, 37 * 9, 9))
    assert len({x.min() for x in orders}) > 1
    assert ((orders[0] - orders[0].min()) != (orders[1] - orders[1].min())).any()


@pytest.mark.parametrize("order", ORDERS)
def test_documents_are_separated_by_resets_and_their_first_token_is_not_scored(documents, order):
    path, ids, starts = documents
    is_start = np.isin(np.arange(len(ids)), list(starts))
    wanted = np.where(is_start, -1, ids)
    data = Tokens(path, length=50, batch_size=2, order=order).load(seed=0)
    batches = [data.train_batch(n) for n in range(4)]
    batches += [batch for batches in data.eval_sets.values() for batch in batches()]
    for batch in batches:
        mask = np.ones(batch.inputs.shape, bool) if batch.mask is None else batch.mask
        for x, y, real, reset in zip(batch.inputs, batch.targets, mask, batch.reset, strict=True):
            size = int(real.sum())
            if not size:
                continue
            found = [
                k
                for k in range(len(ids) - size)
                if (ids[k : k + size] == x[:size]).all()
                and (reset[1:size] == is_start[k + 1 : k + size]).all()
                and (y[:size] == wanted[k + 1 : k + size + 1]).all()
            ]
            assert found
            assert (y[size:] == -1).all()


def test_evaluation_of_a_large_part_scores_evenly_spaced_windows(story):
    task = Tokens(story, length=10, batch_size=2, valid=0.5, test=0.3, evaluation_tokens=50)
    batches = list(task.load(0).eval_sets["valid"]())
    assert sum(int(loss_mask(batch).sum()) for batch in batches) == 50
    rows = np.concatenate([x.inputs[x.mask.any(1)] for x in batches])
    ids = Text(story.with_suffix(".txt"), length=9).load(0).preparation.encode(STORY)
    # 199 tokens have 20 windows, of which every fourth is scored.
    np.testing.assert_array_equal(rows, [ids[k : k + 10] for k in range(0, 200, 40)])
    whole = dataclasses.replace(task, evaluation_tokens=None).load(0).eval_sets["valid"]()
    assert sum(int(loss_mask(batch).sum()) for batch in whole) == 199


def test_predictions_of_the_test_part_name_the_positions_of_scored_tokens(documents):
    path, ids, starts = documents
    data = Tokens(path, length=8, batch_size=3).load(0)
    outputs = lambda batch: np.eye(3)[batch.inputs]  # noqa: E731
    table = data.preparation.predict(outputs, None, None).columns
    first = int(len(ids) * 0.9)
    assert table["position"].tolist() == [k for k in range(first, len(ids)) if k not in starts]
    assert table["symbol"].tolist() == ["abc"[ids[k]] for k in table["position"]]
    assert table["predicted"].tolist() == ["abc"[ids[k - 1]] for k in table["position"]]
    assert data.preparation.predict(outputs, "abba", None).columns["position"].tolist() == [1, 2, 3]


def test_fingerprint_is_that_of_tokens_and_vocabulary(story, tmp_path):
    (tmp_path / "b.txt").write_text(STORY.translate(str.maketrans("abc", "ABC")))
    other = prepare_token_file([tmp_path / "b.txt"], tmp_path / "b.tokens").path
    again = prepare_token_file([tmp_path / "story.txt"], tmp_path / "c.tokens").path
    prints = [Tokens(path, length=9).load(0).fingerprint for path in (story, other, again)]
    assert prints[0] == prints[2] != prints[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"length": 341}, "must have >= 342 tokens to train on"),
        ({"order": "stateful", "length": 30, "batch_size": 12}, "lower length or batch_size"),
        ({"valid": 0.001}, "got .*, 0 and 40 of 400"),
        ({"order": "sorted"}, "order must be"),
        ({"valid": 0}, "valid must be a fraction"),
        ({"valid": 0.5, "test": 0.5}, "valid \\+ test must be < 1"),
        ({"evaluation_tokens": 0}, "evaluation_tokens must be"),
    ],
)
def test_settings_that_do_not_fit_raise(story, settings, message):
    with pytest.raises(ValueError, match=message):
        Tokens(story, **settings).load(0)


def test_missing_path_names_the_command():
    with pytest.raises(DataError, match="prepare one by `rnnlab data tokens FILES"):
        Tokens().load(0)
