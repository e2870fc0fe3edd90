"""Search the settings of an experiment with Optuna: what is searched, and where it is kept."""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rnnlab.atomic_io import lock, mkdir_durable
from rnnlab.models.building import require_buildable
from rnnlab.records import Record
from rnnlab.runs import api, serialization
from rnnlab.runs.experiment import Experiment
from rnnlab.runs.references import task_name
from rnnlab.runs.resources import require_writable
from rnnlab.runs.resume_policy import ResumePolicy
from rnnlab.runs.stored_run import load_data
from rnnlab.searches.space import CELL, Axes, Space, trial_experiment
from rnnlab.searches.study import Study
from rnnlab.searches.training import Search, SearchResult
from rnnlab.searches.trial_files import (
    LOCK_FILE,
    SEARCH_FILE,
    read_search,
    require_same_search,
    write_search,
)
from rnnlab.train.callbacks import Reporter
from rnnlab.train.metrics import higher_is_better

FORMAT = 1
OBJECTIVE = "objective"


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
    for model in checked if models else ():  # only shapes, with placeholder features
        require_buildable(model)


def _objective(experiment: Experiment) -> Record:
    """Returns the evaluation set and the metric that decide, which the data defines."""
    data = load_data(experiment)
    api.build_model(experiment, data)
    metric = data.selection_metric or data.metrics[0]
    direction = "maximize" if higher_is_better(metric) else "minimize"
    return {"set": next(iter(data.eval_sets)), "metric": metric, "direction": direction}
