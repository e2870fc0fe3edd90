"""Sessions: reader, parts by time, rows of several sessions, sampled items and predictions."""

import dataclasses
import itertools

import numpy as np
import pytest
from small_data_set import is_here

from rnnlab.bundle.kinds import dump_preparation, load_preparation
from rnnlab.errors import DataError
from rnnlab.tasks import Sessions, sessions
from rnnlab.tasks.batch import IGNORE_INDEX, arrays, loss_mask
from rnnlab.tasks.readers.entree import read_entree
from rnnlab.tasks.readers.sessions import read_sessions
from rnnlab.train.accumulate import MetricAccumulator

LINES = [
    *("s1,a,1,buy", "s1,b,2,look", "s2,b,2,buy", "s1,a,3,look", "s2,c,9,"),
    *("s3,c,10,buy", "s4,a,11,look", "s4,b,12,buy", "s3,a,12,buy"),
    *("s5,b,20,look", "s5,d,21,look", "s5,a,22,buy", "s6,d,23,buy"),
]


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "log.csv"
    path.write_text("\n".join(["session,item,time,action", *LINES]), encoding="utf-8")
    return path


@pytest.fixture
def task(file):
    return Sessions(file, valid_from="10", test_from="20", batch_size=2, negatives=3)


def sequences(batches):
    """Inputs and targets of the sequences of packed batches."""
    found = []
    for batch in batches:
        for row in range(len(batch.inputs)):
            end = int(batch.mask[row].sum())
            starts = [*np.flatnonzero(batch.reset[row][:end]), end]
            for a, b in itertools.pairwise(starts):
                found.append((batch.inputs[row, a:b].tolist(), batch.targets[row, a:b].tolist()))
    return sorted(found)


def evaluated(data, part="test"):
    return list(data.eval_sets[part]())


def test_log_is_ordered_by_start_and_time(file):
    log = read_sessions(file)
    assert log.ids == ("s1", "s2", "s3", "s4", "s5", "s6")
    assert [log.names[k] for k in log.session(0)] == ["a", "b", "a"]
    assert log.action_names == ("buy", "look")
    assert log.actions[:5].tolist() == [0, 1, 1, 0, -1]
    assert log.select(np.array([1, 3])).items.tolist() == [1, 2, 0, 1]


def test_log_of_dates_keeps_fractions_of_seconds(tmp_path):
    path = tmp_path / "clicks.csv"
    rows = ["SessionId,ItemId,Timestamp", "1,9,2014-04-07T10:51:09.277Z"]
    path.write_text("\n".join([*rows, "1,8,2014-04-07T10:51:09.100Z"]), encoding="utf-8")
    log = read_sessions(path)
    assert log.kind == "date"
    assert [log.names[k] for k in log.items] == ["8", "9"]


def test_parts_are_split_by_time_and_new_items_are_misses(task):
    data = task.load(0)
    # Items a, b, c are tokens 1, 2, 3; d is not in the training part. s6 has one event.
    train = sequences([data.train_batch(0)])
    assert train == [([1, 2], [2, 1]), ([2], [3])]
    assert sequences(evaluated(data, "valid")) == [([1], [2]), ([3], [1])]
    assert sequences(evaluated(data)) == [([2, 0], [0, 1])]
    outputs = np.full((1, 2, 4), -1.0)
    outputs[0, 1] = [9, 3, 2, 1]
    (batch,) = evaluated(data)
    accumulator = MetricAccumulator(data.metrics)
    accumulator.add_decoded(data.decode(outputs, batch))
    accumulator.add(outputs[loss_mask(batch)], batch.targets[loss_mask(batch)])
    assert accumulator.result() == {"hit_rate_20": 0.5, "mrr_20": 0.5}
    assert "1 of 2 items to predict are new" in data.notes[-1]
    assert set(data.baselines()) >= {"popularity", "Markov chain of order 2", "similar sessions"}


def test_later_parts_change_no_training_number(task, file):
    before = task.load(0)
    lines = [x.replace("s5,b,20,look", "s5,c,20,other") for x in LINES]
    file.write_text("\n".join(["session,item,time,action", *lines]), encoding="utf-8")
    after = task.load(0)
    for a, b in zip(arrays(before.train_batch(3)), arrays(after.train_batch(3)), strict=True):
        np.testing.assert_array_equal(a, b)
    assert before.fingerprint != after.fingerprint


def test_actions_are_inputs_before_the_next_item_or_targets(task):
    with_actions = dataclasses.replace(task, actions=True).load(0)
    # Tokens 4, 5, 6 are an unknown action, buy and look.
    assert sequences([with_actions.train_batch(0)]) == [
        ([1, 5, 2, 6], [IGNORE_INDEX, 2, IGNORE_INDEX, 1]),
        ([2, 5], [IGNORE_INDEX, 3]),
    ]
    assert with_actions.vocab_size == 7
    targets = dataclasses.replace(task, actions=True, target="action").load(0)
    assert sequences([targets.train_batch(0)]) == [
        ([1, 5, 2, 6, 1], [0, IGNORE_INDEX, 1, IGNORE_INDEX, 1]),
        ([2, 5, 3], [0, IGNORE_INDEX, IGNORE_INDEX]),
    ]
    assert targets.classes == ("buy", "look")
    assert set(next(iter(targets.baselines().values()))) == {"accuracy"}


def test_negatives_follow_from_seed_and_number_and_are_trained_items(task):
    data = dataclasses.replace(task, loss="top1_max", negatives=50).load(1)
    first, again, other = data.train_batch(4), data.train_batch(4), data.train_batch(5)
    np.testing.assert_array_equal(first.negatives, again.negatives)
    assert (first.negatives != other.negatives).any()
    assert set(np.unique(first.negatives)) == {1, 2, 3}
    assert first.negatives.dtype == np.int32


def test_long_sessions_are_cut_and_every_item_is_predicted_once(task):
    data = dataclasses.replace(task, length=1).load(0)
    assert sequences([data.train_batch(0), data.train_batch(1)])[0] == ([1], [2])
    assert sorted(x for _, x in sequences(evaluated(data))) == [[0], [1]]


def fixed_outputs(batch):
    scores = np.zeros((*batch.inputs.shape, 4))
    scores[..., 1:] = [1.0, 3.0, 2.0]
    return scores + batch.inputs[..., None] / 100


def test_recommendations_of_new_sessions_and_of_a_bundle(task, tmp_path):
    preparation = task.load(0).preparation
    own = preparation.predict(fixed_outputs, None, None)
    assert own.columns["session"].tolist() == ["s5"] * 3
    assert own.columns["item"].tolist() == ["b", "c", "a"]
    assert own.columns["actual"].tolist() == ["a"] * 3
    assert own.columns["hit"].tolist() == [0, 0, 1]
    new = tmp_path / "new.csv"
    new.write_text("session,item,time\nx,a,1\nx,zz,2\ny,c,1\n", encoding="utf-8")
    bundled = load_preparation(dump_preparation(preparation), "bundle")
    found = bundled.predict(fixed_outputs, new, None)
    assert found.columns["rank"].tolist() == [1, 2, 3] * 2
    assert found.columns["probability"][:3].sum() == pytest.approx(1)
    with pytest.raises(DataError, match="source must be given"):
        bundled.predict(fixed_outputs, None, None)
    with pytest.raises(ValueError, match="horizon must be None"):
        bundled.predict(fixed_outputs, new, 3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"valid_from": "30"}, "valid_from must be before test_from"),
        ({"valid_from": "noon"}, "valid_from must be a number"),
        ({"test_from": "99", "valid_from": "98"}, "the validation part, got none"),
        ({"item": "product"}, "has no column 'product'"),
    ],
)
def test_invalid_settings_of_a_log_are_one_line(task, change, message):
    with pytest.raises(ValueError, match=message) as caught:
        dataclasses.replace(task, **change).load(0)
    assert "\n" not in str(caught.value)


def test_invalid_settings_are_refused():
    for change in ({"loss": "hinge"}, {"target": "price"}, {"popularity_power": -1.0}):
        with pytest.raises(ValueError, match=next(iter(change))):
            Sessions(**change)
    with pytest.raises(ValueError, match="loss must be 'softmax' where the target is an action"):
        Sessions(target="action", loss="bpr_max")


VISITS = "1998-Q1\t01/Jan/1998:10:00:00\t7\t0\t5L\t5N\t  6M\t8"


def entree_files(tmp_path, *lines):
    (tmp_path / "sessions.tsv").write_text("\n".join(lines), encoding="utf-8")
    (tmp_path / "chicago.txt").write_text("0000005\tFive\t1\n0000008\tEight\t2", encoding="utf-8")
    return {path.name: path for path in tmp_path.iterdir()}


def test_entree_log_joins_repeated_visits(tmp_path, monkeypatch):
    later = [
        VISITS.replace("01/Jan/1998", day).replace("5L", "8L").replace("\t7\t", f"\t{k}\t")
        for k, day in enumerate(("01/Oct/1998", "01/Jan/1999"))
    ]
    short = "1998-Q1\t01/Jan/1998:11:00:00\t7\t0\t5L\t5"
    files = entree_files(tmp_path, later[1], VISITS, short, later[0])
    log = read_entree(files)
    assert [log.names[k] for k in log.session(0)] == ["5", "6", "8"]
    assert log.action_names == ("browse", "cheaper", "nicer")
    assert log.actions[:3].tolist() == [2, 1, -1]
    assert log.titles == ("Five", "", "Eight")
    monkeypatch.setattr(sessions, "dataset_files", lambda name, path: files)
    data = Sessions(batch_size=2).load(0)
    assert sequences([data.train_batch(0)]) == [([1, 2], [2, 3])]
    assert len(sequences(evaluated(data))) == 1


@pytest.mark.slow
@pytest.mark.skipif(not is_here("entree"), reason="entree is not here")
def test_real_entree_log_has_the_parts_of_its_quarters():
    note = Sessions().load(0).notes[-1]
    assert "32,419 sessions of 642 items to train on, 7,368 sessions to validate on" in note
    assert "7,604 sessions to test on; 2 of 26,694 items to predict are new" in note


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (VISITS.replace("  6M", "6Z"), "line 1: must have visits such as 560L"),
        (VISITS.replace("Jan", "Foo"), "line 1: must have a date such as"),
        (VISITS.replace("\t8", "\tx"), "line 1: must end with a restaurant or -1"),
        ("1998-Q1\t7", "line 1: must have >= 5 cells"),
    ],
)
def test_entree_line_of_another_format_is_refused(tmp_path, line, message):
    with pytest.raises(DataError, match=message):
        read_entree(entree_files(tmp_path, line))
