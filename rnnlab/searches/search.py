"""Search the settings of an experiment with Optuna; every trial is an ordinary run."""

import json
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from flax import nnx

from rnnlab import records
from rnnlab.atomic_io import lock, mkdir_durable
from rnnlab.errors import (
    CheckpointError,
    DataError,
    InsufficientResourcesError,
    RunLockedError,
    TrainingDivergedError,
)
from rnnlab.records import Record
from rnnlab.runs import api, serialization
from rnnlab.runs.experiment import Experiment
from rnnlab.runs.references import task_name
from rnnlab.runs.resources import require_writable
from rnnlab.runs.resume_policy import ResumePolicy
from rnnlab.runs.run_dir import RunDirectory
from rnnlab.runs.signals import StopRequested
from rnnlab.runs.stored_run import load_data
from rnnlab.searches.space import CELL, Axes, Space, split_settings, trial_experiment
from rnnlab.searches.study import Claim, Study
from rnnlab.searches.trial_files import (
    DIVERGED,
    FAILED,
    FINISHED,
    LOCK_FILE,
    PRUNED,
    SEARCH_FILE,
    TrialRecord,
    read_search,
    read_trials,
    require_same_search,
    trial_folder,
    write_search,
)
from rnnlab.train.callbacks import Reporter
from rnnlab.train.metrics import higher_is_better

FORMAT = 1
MAX_ATTEMPTS = 3
"""Processes that may be killed in one trial without an evaluation before it counts as failed."""
OBJECTIVE = "objective"
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


def search(
    path: Path | str,
    experiment: Experiment | Mapping[str, Experiment],
    space: Axes,
    *,
    trials: int = 20,
    sampler_seed: int = 0,
    prune: bool = False,
    prune_after: int | None = None,
    resume: bool = False,
    reporter: Reporter | None = None,
    policy: ResumePolicy | None = None,
    name: str | None = None,
    preset: str = "custom",
) -> SearchResult:
    """Searches the settings of an experiment with the best value on its validation set.

    Optuna's TPE sampler proposes the settings. Every trial is a run in its own directory of `path`.
    Several processes that call this with `resume` share the trials. The same seed proposes the same
    trials if one process trains them. Needs the extra `search`.

    Args:
      path: directory of the search.
      experiment: the settings that do not vary; one experiment per cell where they differ.
      space: a `Range` or a tuple of choices by setting, as in {"model.depth": (1, 2, 3)}.
      trials: number of trials, including those that the directory has.
      sampler_seed: seed of the proposed settings. Trials share the seed of the experiment.
      prune: whether trials that are worse than others after as many updates end early, by
        asynchronous successive halving.
      prune_after: updates after which a trial may be pruned for the first time; None is a tenth of
        all, at an evaluation.
      resume: whether a search that the directory has is continued.
      reporter: receives the progress; None prints a line per evaluation.
      policy: stop signal, and what a resumed trial may change.
      name: name of the experiment in tables; None is that of the task.
      preset: name of its preset in tables.

    Returns:
      All trials of the directory, the best first.

    Raises:
      ValueError: the space or a setting is invalid, or the directory holds another search.
      StopRequested: a signal came; the trial is saved, and a resumed search continues it.

    >>> from rnnlab import Adding, Experiment, ModelConfig, Range, TrainConfig
    >>> experiment = Experiment(Adding(), ModelConfig(width=32), TrainConfig(steps=500))
    >>> space = {"train.learning_rate": Range(1e-4, 1e-2, log=True), "model.depth": (1, 2)}
    >>> search("runs/search", experiment, space, trials=12).best.number  # doctest: +SKIP
    7
    """
    found = open_search(
        Path(path),
        experiment,
        space,
        sampler_seed=sampler_seed,
        prune_after=first_rung(experiment, prune_after) if prune else None,
        resume=resume,
        name=name,
        preset=preset,
    )
    reporter = reporter or Reporter(log=print)

    @contextmanager
    def display(title: str, _: int) -> Iterator[Reporter]:
        yield replace(reporter, title=title)

    found.train(trials, display, policy or ResumePolicy())
    return found.result()


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


def open_search(
    out: Path,
    experiment: Experiment | Mapping[str, Experiment],
    axes: Axes,
    *,
    sampler_seed: int = 0,
    prune_after: int | None = None,
    resume: bool = False,
    name: str | None = None,
    preset: str = "custom",
) -> Search:
    """Makes the directory of a search, or opens that of the same search. See `search`.

    Raises:
      ValueError: the space or a setting is invalid, or the directory holds another search, or any
        without `resume`.
    """
    space = Space(axes)
    bases = experiment if isinstance(experiment, Mapping) else _bases(experiment, space)
    require_valid(space, bases, models=not (out / SEARCH_FILE).exists())
    first = next(iter(bases.values()))
    record = {
        "format": FORMAT,
        "experiment": name or type(first.data).__name__.lower(),
        "preset": preset,
        "task": task_name(first.data),
        "data": serialization.dump(first.data),
        "model": {cell: serialization.dump(base.model.settings()) for cell, base in bases.items()},
        "train": serialization.dump(first.train),
        "space": space.record(),
        "sampler_seed": sampler_seed,
        "prune_after": prune_after,
    }
    record = json.loads(json.dumps(record))
    mkdir_durable(out)
    require_writable(out)
    with (out / LOCK_FILE).open("a+b") as file:
        lock(file)
        if not (out / SEARCH_FILE).exists():
            if any(out.glob("*/config.json")):
                raise ValueError(
                    f"{out} must be a new directory or that of a search, and holds other runs; "
                    "choose another --out"
                )
            write_search(out, {**record, OBJECTIVE: _objective(first)})
        elif not resume:
            raise ValueError(
                f"{out} holds a search already; add --resume to continue it, or choose another "
                "--out"
            )
        objective = read_search(out).get(OBJECTIVE)
        require_same_search(out, {**record, OBJECTIVE: objective})
    study = Study(
        out,
        space,
        cell=next(iter(bases)),
        split=objective["set"],
        metric=objective["metric"],
        maximize=objective["direction"] == "maximize",
        seed=sampler_seed,
        prune_after=prune_after,
    )
    return Search(study, bases, record)


def first_rung(experiment: Experiment | Mapping[str, Experiment], after: int | None = None) -> int:
    """Returns the updates after which a trial may be pruned for the first time.

    Args:
      experiment: the settings that do not vary.
      after: what the user asks for; None is a tenth of all updates, rounded up to an evaluation.

    Raises:
      ValueError: it is not in the training.
    """
    one = next(iter(experiment.values())) if isinstance(experiment, Mapping) else experiment
    steps, every = one.train.steps, one.train.eval_every
    if after is None:
        return every * math.ceil(steps / 10 / every)
    if not 1 <= after < steps:
        raise ValueError(
            f"prune_after must be >= 1 and less than the {steps} updates of a trial, got {after}; "
            "change --prune-after"
        )
    return after


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


def _bases(experiment: Experiment, space: Space) -> dict[str, Experiment]:
    """Returns the experiment by cell, for each cell of the space."""
    cells = space.axes.get(CELL, (experiment.model.cell,))
    return {cell: experiment.override({CELL: cell}) for cell in cells}


def require_valid(space: Space, bases: Mapping[str, Experiment], *, models: bool = True) -> None:
    """Checks that each value of the space is one of its setting, while others have one value.

    Args:
      space: the settings that vary.
      bases: experiment by cell.
      models: whether models are built, of shapes only.

    Raises:
      ValueError: a setting is unknown or one of its values is invalid.
    """
    checked = {base.model for base in bases.values()}
    for name, value in space.bounds():
        fitting = [base for cell, base in bases.items() if space.applies(name, cell)]
        if not fitting:
            raise ValueError(
                f"{name} must be a setting of one of the cells {', '.join(bases)}, and is not; "
                "remove it from the space"
            )
        for base in fitting:
            try:
                checked.add(trial_experiment(base, {name: value}).model)
            except TypeError as error:
                raise ValueError(f"{name} cannot be {value!r}: {error}; change it") from None
    inputs = {"in_features": 3, "num_variables": 1}
    for model in checked if models else ():  # only shapes, with placeholder features
        nnx.eval_shape(lambda model=model: model.build(2, **inputs, rngs=nnx.Rngs(0)))


def _objective(experiment: Experiment) -> Record:
    """Returns the evaluation set and the metric that decide, which the data defines."""
    data = load_data(experiment)
    api.build_model(experiment, data)
    metric = data.selection_metric or data.metrics[0]
    direction = "maximize" if higher_is_better(metric) else "minimize"
    return {"set": next(iter(data.eval_sets)), "metric": metric, "direction": direction}
