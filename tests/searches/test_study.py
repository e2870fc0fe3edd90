"""The study of a search without training: claims, killed processes, its journal and its seed."""

import warnings

import pytest

pytest.importorskip("optuna")

from rnnlab import Range
from rnnlab.runs.lock import lock_run
from rnnlab.runs.run_dir import RunDirectory
from rnnlab.searches.space import Space
from rnnlab.searches.study import Study
from rnnlab.searches.trial_files import (
    DIVERGED,
    FAILED,
    FINISHED,
    JOURNAL_FILE,
    PRUNED,
    RUNNING,
    read_trials,
    trial_folder,
)

AXES = {"train.learning_rate": Range(1e-4, 1e-1, log=True), "model.depth": (1, 2, 3)}


def make(out, axes=AXES, **options):
    out.mkdir(parents=True, exist_ok=True)
    defaults = {"cell": "gru", "split": "valid", "metric": "mse", "maximize": False, "seed": 0}
    return Study(out, Space(axes), **{**defaults, "prune_after": None, **options})


def loss(parameters):
    depth = parameters.get("model.depth", 1)
    return abs(parameters.get("train.learning_rate", 0) - 0.01) + 0.1 * depth


class Killed(BaseException):
    """Ends a trial as a killed process does: its lock is free, and nothing is written."""


def train(study, trials, kill_at=()):
    """Finishes trials, except those that are killed. Returns the numbers that were trained."""
    trained = []
    while True:
        try:
            with study.claim(trials) as claim:
                if claim is None:
                    return trained
                trained.append(claim.record.number)
                if len(trained) - 1 in kill_at:
                    raise Killed
                study.finish(claim, FINISHED, loss(claim.record.parameters))
        except Killed:
            return trained


def proposed(out):
    return [dict(trial.parameters) for trial in read_trials(out)]


def test_same_seed_proposes_the_same_trials_and_another_seed_others(tmp_path):
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(make(tmp_path / name, seed=seed), 14)
    assert proposed(tmp_path / "a") == proposed(tmp_path / "b")
    assert proposed(tmp_path / "a") != proposed(tmp_path / "c")


def test_killed_trials_are_queued_again_and_finished_ones_are_not_repeated(tmp_path):
    train(make(tmp_path / "whole"), 12)
    out = tmp_path / "killed"
    assert train(make(out), 12, kill_at=[4]) == [0, 1, 2, 3, 4]
    assert [trial.state for trial in read_trials(out)] == [*[FINISHED] * 4, RUNNING]
    before = read_trials(out)[4].parameters
    assert train(make(out), 12, kill_at=[3]) == [4, 5, 6, 7]
    assert train(make(out), 12) == [7, 8, 9, 10, 11]
    assert read_trials(out)[4].parameters == before
    # The trials of an uninterrupted search, and its best one.
    assert proposed(out) == proposed(tmp_path / "whole")
    assert make(out).trials()[0] == make(tmp_path / "whole").trials()[0]
    assert train(make(out), 12) == []
    assert train(make(out), 13) == [12]


def test_trial_of_a_live_process_is_not_taken_by_another(tmp_path):
    first, second = make(tmp_path), make(tmp_path)
    with first.claim(2) as one, second.claim(2) as other:
        assert (one.record.number, other.record.number) == (0, 1)
        with make(tmp_path).claim(2) as none:
            assert none is None
        first.finish(one, FINISHED, 1.0)
        second.finish(other, FINISHED, 0.5)
    assert [trial.number for trial in first.trials()] == [1, 0]


def test_process_killed_after_the_end_of_a_trial_does_not_repeat_it(tmp_path, monkeypatch):
    study = make(tmp_path)
    monkeypatch.setattr(study, "_tell", lambda *_: None)  # killed between file and journal
    with study.claim(1) as claim:
        study.finish(claim, FINISHED, 1.0)
    assert train(make(tmp_path), 2) == [1]
    assert read_trials(tmp_path)[0].value == 1.0


@pytest.mark.parametrize("damage", ["missing", "torn", "rubbish"])
def test_journal_is_rebuilt_from_the_trials(tmp_path, damage):
    train(make(tmp_path / "whole"), 14)
    out = tmp_path / "damaged"
    train(make(out), 12, kill_at=[11])
    journal = out / JOURNAL_FILE
    if damage == "missing":
        journal.unlink()
    elif damage == "torn":
        journal.write_bytes(journal.read_bytes()[:-40] + b'{"torn\n{}')
    else:
        journal.write_text("rubbish\nmore\n")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        study = make(out)
    assert [str(one.message) for one in caught if "rebuilt" in str(one.message)] or (
        damage == "missing"
    )
    assert train(study, 14) == [11, 12, 13]
    assert proposed(out) == proposed(tmp_path / "whole")


def test_finite_space_is_exhausted_without_repeats(tmp_path):
    axes = {"model.depth": (1, 2, 3), "model.width": (4, 8)}
    assert train(make(tmp_path, axes), 20) == list(range(6))
    found = proposed(tmp_path)
    assert len(found) == 6
    assert all(one not in found[:k] for k, one in enumerate(found))


def test_bad_trials_are_pruned_and_good_ones_are_not(tmp_path):
    study = make(tmp_path, prune_after=2)
    pruned = {}
    for value in (1.0, 5.0, 0.5, 7.0):
        with study.claim(4) as claim:
            claim.report(1, value)
            early = claim.should_prune()
            claim.report(2, value)
            pruned[value] = claim.should_prune()
            assert not early
            study.finish(claim, PRUNED if pruned[value] else FINISHED, value)
    assert pruned == {1.0: False, 5.0: True, 0.5: False, 7.0: True}
    assert [trial.value for trial in study.trials()] == [0.5, 1.0, 5.0, 7.0]


def test_rebuilt_journal_prunes_as_the_lost_one(tmp_path):
    study = make(tmp_path, prune_after=2)
    with study.claim(1) as claim:
        run_dir = RunDirectory(claim.folder)
        for update in (0, 2, 4):
            run_dir.append_metrics({"step": update, "set": "valid", "seconds": 1.0, "mse": 0.5})
            claim.report(update, 0.5)
        study.finish(claim, FINISHED, 0.5)
    (tmp_path / JOURNAL_FILE).unlink()
    with make(tmp_path, prune_after=2).claim(2) as claim:
        claim.report(2, 3.0)
        assert claim.should_prune()


def test_higher_values_are_better_for_an_accuracy(tmp_path):
    study = make(tmp_path, maximize=True)
    for value, state in ((0.2, FINISHED), (0.9, FINISHED), (None, DIVERGED), (None, FAILED)):
        with study.claim(4) as claim:
            study.finish(claim, state, value)
    assert [trial.value for trial in study.trials()] == [0.9, 0.2, None, None]


def test_trial_that_kills_its_process_again_and_again_counts_its_attempts(tmp_path):
    for _ in range(3):
        train(make(tmp_path), 1, kill_at=[0])
    assert read_trials(tmp_path)[0].attempts == 3
    run_dir = RunDirectory(trial_folder(tmp_path, 0))
    run_dir.append_metrics({"step": 2, "set": "valid", "seconds": 1.0, "mse": 0.5})
    train(make(tmp_path), 1, kill_at=[0])
    assert read_trials(tmp_path)[0].attempts == 1  # it has advanced


def test_journal_is_not_rebuilt_while_a_process_uses_it(tmp_path):
    train(make(tmp_path), 1, kill_at=[0])
    (tmp_path / JOURNAL_FILE).write_text("rubbish\n")
    with (
        lock_run(trial_folder(tmp_path, 0)),
        pytest.raises(ValueError, match=r"is locked by process"),
    ):
        make(tmp_path)
