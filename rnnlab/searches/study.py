"""The study of a search: trials that several processes take from one Optuna study.

Optuna's journal has no heartbeat: a trial whose process was killed stays in the state running. The
lock of its run directory shows whether its process lives.
"""

import hashlib
import random
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rnnlab.atomic_io import lock
from rnnlab.errors import RunLockedError
from rnnlab.optional import require_module
from rnnlab.runs.lock import lock_run, require_unlocked
from rnnlab.searches.space import Space
from rnnlab.searches.trial_files import (
    DIVERGED,
    FINISHED,
    JOURNAL_FILE,
    LOCK_FILE,
    PRUNED,
    TrialRecord,
    evaluations,
    read_trials,
    trial_folder,
    write_trial,
)

STUDY = "rnnlab"
NUMBER = "number"
"""Attribute of Optuna's trials: the number of the trial in `rnnlab`, which names its directory. A
trial that was killed has two or more trials of Optuna, of the same number."""
LOCK_SECONDS = 10
"""Age in seconds at which the journal's lock is taken from a process that was killed."""
MIN_IMPORTANCE_TRIALS = 8
"""Finished trials below which the importance of a setting is mostly noise."""
REDUCTION_FACTOR = 3
"""Of this many trials that reach a rung of successive halving, one continues."""


@dataclass
class Claim:
    """A trial that this process trains, and whose run directory it locks.

    Attributes:
      record: number and parameters of the trial.
      folder: its run directory.
    """

    record: TrialRecord
    folder: Path
    _trial: Any
    _reported: set[int] = field(default_factory=set)

    def report(self, update: int, value: float) -> None:
        """Reports an evaluation to the study, once per update."""
        if update not in self._reported:
            self._reported.add(update)
            self._trial.report(value, update)

    def should_prune(self) -> bool:
        """Returns whether the trial is worse than others were at its last report."""
        return self._trial.should_prune()


class Study:
    """The trials of one search.

    Args:
      out: directory of the search.
      space: the settings that vary.
      cell: cell of the experiment, if the space does not vary it.
      split: name of the evaluation set that decides.
      metric: name of the metric that decides.
      maximize: whether higher values are better.
      seed: seed of the sampler.
      prune_after: updates after which a trial may be pruned; None prunes none.
    """

    def __init__(
        self,
        out: Path,
        space: Space,
        *,
        cell: str,
        split: str,
        metric: str,
        maximize: bool,
        seed: int,
        prune_after: int | None,
    ):
        self.out, self.space, self.cell = out, space, cell
        self.split, self.metric, self.maximize = split, metric, maximize
        self.seed = seed
        self._optuna = optuna = require_module("optuna", "search")
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._pruner = optuna.pruners.NopPruner()
        if prune_after is not None:
            self._pruner = optuna.pruners.SuccessiveHalvingPruner(prune_after, REDUCTION_FACTOR)
        self._combinations = space.combinations(cell)
        with self._locked():
            self._study = self._open()

    @contextmanager
    def claim(self, trials: int) -> Iterator[Claim | None]:
        """Yields the next trial, or None if no trial is left for this process.

        Trials of killed processes come first. They continue in their run directory.

        Args:
          trials: number of trials of the search, including those that exist.
        """
        with ExitStack() as stack:
            with self._locked():
                self._requeue_interrupted()
                found = self._next(trials, stack)
            yield found

    def finish(self, claim: Claim, state: str, value: float | None, reason: str = "") -> None:
        """Records the end of a trial: first in its run directory, then in the study."""
        record = replace(claim.record, state=state, value=value, reason=reason)
        write_trial(self.out, record)
        self._tell(self._study, claim._trial, record)

    def release(self, claim: Claim) -> None:
        """Records that a trial was stopped on request, which does not count as an attempt."""
        write_trial(self.out, replace(claim.record, attempts=0))

    def trials(self) -> list[TrialRecord]:
        """Returns all trials, the best first; then those without a value, in order."""
        return self.ranked(read_trials(self.out))

    def ranked(self, trials: list[TrialRecord]) -> list[TrialRecord]:
        """Returns trials by their value, finished ones first."""
        sign = -1.0 if self.maximize else 1.0

        def key(trial: TrialRecord) -> tuple[bool, bool, float, int]:
            no_value = trial.value is None
            return (
                trial.state != FINISHED,
                no_value,
                0.0 if no_value else sign * trial.value,
                trial.number,
            )

        return sorted(trials, key=key)

    def importances(self) -> dict[str, float]:
        """Returns the share of each setting in the differences between good and other trials.

        They are those of PED-ANOVA (arXiv 2304.10255). Empty with less than `MIN_IMPORTANCE_TRIALS`
        finished trials.
        """
        states = self._optuna.trial.TrialState
        finished = self._study.get_trials(deepcopy=False, states=[states.COMPLETE])
        if len(finished) < MIN_IMPORTANCE_TRIALS:
            return {}
        importance = self._optuna.importance
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about few trials and conditional settings
            evaluator = importance.PedAnovaImportanceEvaluator()
            return dict(importance.get_param_importances(self._study, evaluator=evaluator))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Holds the lock of the search, under which trials are chosen."""
        with (self.out / LOCK_FILE).open("a+b") as file:
            lock(file)
            yield

    def _open(self) -> Any:
        """Returns Optuna's study, rebuilt from the trials' files if its journal cannot be read."""
        journal = self.out / JOURNAL_FILE
        if journal.exists():
            try:
                return self._load(journal)
            except (ValueError, KeyError, AssertionError) as error:
                aside = journal.with_name(f"{JOURNAL_FILE}.corrupt")
                for record in read_trials(self.out):
                    if not record.has_ended:
                        require_unlocked(trial_folder(self.out, record.number))
                journal.replace(aside)
                warnings.warn(
                    f"{journal} is corrupt: {error}; it is now {aside.name}, and the journal is "
                    "rebuilt from the trials",
                    stacklevel=2,
                )
        study = self._load(journal)
        for record in read_trials(self.out):
            if record.has_ended:
                study.enqueue_trial(dict(record.parameters), {NUMBER: record.number})
                trial = study.ask()
                self.space.suggest(trial, self.cell)
                self._replay(Claim(record, self.out, trial))
                self._tell(study, trial, record)
        return study

    def _load(self, path: Path) -> Any:
        optuna = self._optuna
        backend = optuna.storages.journal.JournalFileBackend(
            str(path), optuna.storages.journal.JournalFileOpenLock(str(path), LOCK_SECONDS)
        )
        return optuna.create_study(
            storage=optuna.storages.JournalStorage(backend),
            sampler=self._sampler(0),
            pruner=self._pruner,
            study_name=STUDY,
            direction="maximize" if self.maximize else "minimize",
            load_if_exists=True,
        )

    def _sampler(self, number: int) -> Any:
        """Returns the sampler of one trial.

        Its seed depends on the trial: a resumed search draws what an uninterrupted one draws.
        """
        digest = hashlib.sha256(f"{self.seed}:{number}".encode()).digest()
        return self._optuna.samplers.TPESampler(
            seed=int.from_bytes(digest[:4], "little"), constant_liar=True
        )

    def _requeue_interrupted(self) -> None:
        """Ends the trials of killed processes in the study, and enqueues them again."""
        states = self._optuna.trial.TrialState
        records = {record.number: record for record in read_trials(self.out)}
        alive: set[int] = set()
        for trial in self._study.get_trials(deepcopy=False):
            if trial.state == states.WAITING:
                alive.add(trial.user_attrs[NUMBER])
            if trial.state != states.RUNNING:
                continue
            number = trial.user_attrs.get(NUMBER)
            if number is not None and self._is_locked(number):
                alive.add(number)
                continue
            # The process may have been killed after it wrote the trial's end.
            record = records.get(number)
            if record is not None and record.has_ended:
                self._tell(self._study, trial.number, record)
            else:
                self._study.tell(trial.number, state=states.FAIL)
        for record in records.values():
            if not record.has_ended and record.number not in alive:
                attributes = {NUMBER: record.number}
                self._study.enqueue_trial(dict(record.parameters), attributes)

    def _is_locked(self, number: int) -> bool:
        try:
            require_unlocked(trial_folder(self.out, number))
        except RunLockedError:
            return True
        return False

    def _next(self, trials: int, stack: ExitStack) -> Claim | None:
        """Returns a trial that waits, else a new one, and locks its run directory."""
        states = self._optuna.trial.TrialState
        records = {record.number: record for record in read_trials(self.out)}
        number = max(records, default=-1) + 1
        waiting = any(
            trial.state == states.WAITING for trial in self._study.get_trials(deepcopy=False)
        )
        if not waiting and len(records) >= trials:
            return None
        self._study.sampler = self._sampler(number)
        trial = self._study.ask()
        if waiting:
            number = trial.user_attrs[NUMBER]
        trial.set_user_attr(NUMBER, number)
        parameters = self.space.suggest(trial, self.cell)
        tried = [dict(other.parameters) for other in records.values()]
        if not waiting and self._combinations is not None and parameters in tried:
            self._study.tell(trial, state=states.FAIL)
            remaining = [one for one in self._combinations if one not in tried]
            if not remaining:
                return None
            chosen = random.Random(f"{self.seed}:{number}").choice(remaining)
            self._study.enqueue_trial(chosen, {NUMBER: number})
            trial = self._study.ask()
            parameters = self.space.suggest(trial, self.cell)
        record = records.get(number, TrialRecord(number, parameters))
        folder = trial_folder(self.out, number)
        stack.enter_context(lock_run(folder))
        claim = Claim(record, folder, trial)
        count = self._replay(claim)
        attempts = record.attempts + 1 if count == record.evaluations else 1
        claim.record = replace(record, attempts=attempts, evaluations=count)
        write_trial(self.out, claim.record)
        return claim

    def _replay(self, claim: Claim) -> int:
        """Reports a trial's earlier evaluations, also to the pruner. Returns their number."""
        known = evaluations(self.out, claim.record.number, self.split, self.metric)
        for update, value in known.items():
            claim.report(update, value)
            claim.should_prune()
        return len(known)

    def _tell(self, study: Any, trial: Any, record: TrialRecord) -> None:
        """Reports to a study how a trial ended.

        To the sampler a trial that diverged is one that was pruned: its settings are bad.
        """
        states = self._optuna.trial.TrialState
        if record.state == FINISHED:
            study.tell(trial, record.value)
        elif record.state in (PRUNED, DIVERGED):
            study.tell(trial, state=states.PRUNED)
        else:
            study.tell(trial, state=states.FAIL)
