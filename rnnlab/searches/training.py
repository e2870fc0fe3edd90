"""Train the trials of a search, each as an ordinary run, until none is left."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from rnnlab import records
from rnnlab.atomic_io import lock
from rnnlab.errors import (
    CheckpointError,
    DataError,
    InsufficientResourcesError,
    RunLockedError,
    TrainingDivergedError,
)
from rnnlab.records import Record
from rnnlab.runs import api
from rnnlab.runs.experiment import Experiment
from rnnlab.runs.resources import require_writable
from rnnlab.runs.resume_policy import ResumePolicy
from rnnlab.runs.run_dir import RunDirectory
from rnnlab.runs.signals import StopRequested
from rnnlab.searches.space import CELL, split_settings, trial_experiment
from rnnlab.searches.study import Claim, Study
from rnnlab.searches.trial_files import (
    DIVERGED,
    FAILED,
    FINISHED,
    LOCK_FILE,
    PRUNED,
    TrialRecord,
    read_trials,
    trial_folder,
)
from rnnlab.train.callbacks import Reporter

MAX_ATTEMPTS = 3
"""Processes that may be killed in one trial without an evaluation before it counts as failed."""

RESULTS_FILE = "results.jsonl"

Display = Callable[[str, int], AbstractContextManager[Reporter]]
"""Returns the reporter of a trial for its title and its number of updates."""


class SearchResult(NamedTuple):
    """The trials of a search.

    Attributes:
      folder: directory of the search.
      split: name of the evaluation set that decides.
      metric: name of the metric that decides.
      trials: finished trials, the best first; then pruned, diverged and failed ones.
    """

    folder: Path
    split: str
    metric: str
    trials: list[TrialRecord]

    @property
    def best(self) -> TrialRecord:
        """The finished trial with the best value.

        Raises:
          ValueError: no trial is finished.
        """
        if not self.trials or self.trials[0].state != FINISHED:
            reasons = [trial.reason for trial in self.trials if trial.reason]
            reason = f"; trial {self.trials[0].number}: {reasons[0]}" if reasons else ""
            raise ValueError(
                f"{self.folder} must have a finished trial, got none{reason}; change the space or "
                "raise the number of trials"
            )
        return self.trials[0]

    def run_directory(self, trial: TrialRecord) -> Path:
        """Returns the run directory of a trial."""
        return trial_folder(self.folder, trial.number)


@dataclass(frozen=True)
class Search:
    """A search whose directory exists, and from which this process takes trials.

    Attributes:
      study: the trials.
      bases: experiment by cell, from whose settings the trials differ.
      record: the settings of the search, as in `search.json`.
    """

    study: Study
    bases: Mapping[str, Experiment]
    record: Record

    def train(self, trials: int, display: Display, policy: ResumePolicy) -> None:
        """Trains trials until `trials` exist and none of them waits for a process.

        Raises:
          StopRequested: a signal came; the trial is saved.
        """
        while True:
            with self.study.claim(trials) as claim:
                if claim is None:
                    return
                self._train(claim, trials, display, policy)

    def result(self) -> SearchResult:
        """Returns the trials, and completes the records of `results.jsonl`."""
        self._gather_results()
        study = self.study
        return SearchResult(study.out, study.split, study.metric, study.trials())

    def experiment(self, trial: TrialRecord) -> Experiment:
        """Returns the experiment of a trial."""
        base = self.bases[trial.parameters.get(CELL, next(iter(self.bases)))]
        return trial_experiment(base, self.study.space.settings(trial.parameters))

    def _train(self, claim: Claim, trials: int, display: Display, policy: ResumePolicy) -> None:
        """Trains a trial to its end, and records it."""
        study, record = self.study, claim.record
        varied = split_settings(study.space.settings(record.parameters))

        def on_evaluation(update: int, value: float) -> bool:
            claim.report(update, value)
            return update < steps and claim.should_prune()

        if record.attempts > MAX_ATTEMPTS:
            reason = f"its process was killed {MAX_ATTEMPTS} times before the next evaluation"
            return study.finish(claim, FAILED, None, reason)
        title = f"trial {record.number + 1}/{trials} {setting_text(varied)}"
        try:
            experiment = self.experiment(record)
            steps = experiment.train.steps
            grid = varied | {CELL: experiment.model.cell, "train.seed": experiment.train.seed}
            with display(title, steps) as reporter:
                reporter.log(title)
                result = api.run(
                    claim.folder,
                    experiment,
                    replace(reporter, on_evaluation=on_evaluation),
                    replace(policy, held_locks=policy.held_locks | {claim.folder.resolve()}),
                    name=self.record["experiment"],
                    preset=self.record["preset"],
                    grid=grid,
                )
        except StopRequested:
            study.release(claim)
            raise
        except TrainingDivergedError as error:
            return study.finish(claim, DIVERGED, None, str(error))
        except (CheckpointError, DataError, RunLockedError):
            raise  # of the files, not of the settings
        except (ValueError, InsufficientResourcesError) as error:
            require_writable(study.out)  # a full disk would fail all trials
            return study.finish(claim, FAILED, None, str(error))
        value = result["metrics"][study.split][study.metric]
        study.finish(claim, PRUNED if result.get("pruned") else FINISHED, value)
        self._gather_results()

    def _gather_results(self) -> None:
        """Appends the results of trials that `results.jsonl` lacks."""
        out = self.study.out
        path = out / RESULTS_FILE
        with (out / LOCK_FILE).open("a+b") as file:
            lock(file)
            known = list(records.read(path)) if path.exists() else []
            for trial in read_trials(out):
                run_dir = RunDirectory(trial_folder(out, trial.number))
                if trial.state in (FINISHED, PRUNED) and run_dir.result.exists():
                    result = run_dir.read_result()
                    if result not in known:
                        records.append(path, result)


def setting_text(settings: Mapping[str, Any]) -> str:
    """Returns settings as text.

    >>> setting_text({"model.cell": "gru", "train.learning_rate": 0.00123456})
    'cell gru, learning rate 0.001235'
    """
    return ", ".join(
        f"{name.rpartition('.')[2].replace('_', ' ')} "
        f"{f'{value:.4g}' if isinstance(value, float) else value}"
        for name, value in settings.items()
    )
