"""`rnnlab run` and `rnnlab resume`: an experiment's runs, one folder each."""

import os
import typing
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from flax import nnx
from tyro.conf import Positional

from rnnlab import records
from rnnlab.cli.arguments import read
from rnnlab.cli.compare import result_table
from rnnlab.cli.progress_bar import shown
from rnnlab.records import Record
from rnnlab.runs.api import Experiment, Preset, opened, resume, start
from rnnlab.runs.grid import combinations, load_presets, run_name, with_settings
from rnnlab.runs.resources import need_writable
from rnnlab.runs.resume_policy import ResumePolicy
from rnnlab.runs.run_dir import RunDirectory, check_name
from rnnlab.runs.signals import StopRequested, StopSignal
from rnnlab.tables import show

CELL, SEED = "model.cell", "train.seed"
HELP = (
    "The settings of the experiment. Beside them: --preset NAME, --seeds 0,1,2, --out DIR and "
    "--results FILE. A comma list of values makes a run of each."
)


@dataclass(frozen=True)
class Run:
    """Runs an experiment. Every setting is a flag: `rnnlab run FILE --help` lists them.

    A comma list, as in `--model.cell mingru,gru`, makes a run of every value; of several lists, one
    of every combination. What a flag does not set is as the preset has it.
    """

    file: Positional[Path]
    """The experiment, as in experiments/training/char_lm.py; `rnnlab list` shows them."""
    preset: str = "cpu"
    """Which of its settings to start from."""
    seeds: str | None = None
    """Comma list of seeds: a run each."""
    out: Path | None = None
    """Folder of the runs; one named by the time, under runs/, where it is left out."""
    results: Path | None = None
    """File that a row is added to for each finished run; results.jsonl in the folder of the runs
    where it is left out."""


@dataclass(frozen=True)
class Resume:
    """Goes on with an interrupted run from its newest checkpoint."""

    folder: Positional[Path]
    """The run's folder."""
    from_step: int | None = None
    """Goes back to this checkpoint; later ones are moved to retired/ in the run's folder."""
    strict: bool = False
    """Refuses a damaged newest checkpoint instead of going on from the one before it."""
    allow_other_device: bool = False
    """Goes on with another processor or accelerator, by which the bits of the result differ."""
    allow_other_cores: bool = False
    """Goes on with another number of cores, by which the bits of the result differ."""
    allow_other_versions: bool = False
    """Goes on with other versions of JAX and what belongs to it."""
    results: Path | None = None
    """File that the result is added to; results.jsonl beside the run's folder where it is left
    out."""


def run_experiment(command: Run, flags: Sequence[str], interruption: StopSignal) -> int:
    """Trains every combination that the command asks for. Returns the exit code.

    Raises:
      ValueError: the file, preset, a flag's value or the folder does not fit.
    """
    presets = load_presets(command.file)
    if command.preset not in presets:
        raise ValueError(
            f"preset is {command.preset!r}; one of {', '.join(map(repr, presets))} is needed"
        )
    runs = _runs(presets[command.preset], [*flags, *_seed_flag(command.seeds)])
    names = [run_name(varied) for _, varied in runs]
    if len(set(names)) < len(names):
        raise ValueError(f"two runs are {max(names, key=names.count)}; name each value once")
    for model in {experiment.model for experiment, _ in runs}:
        # Before the first run is trained: shapes alone, at a guess of the task's.
        nnx.eval_shape(lambda model=model: model.build(2, in_features=2, rngs=nnx.Rngs(0)))
    name = command.file.stem
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    out = command.out or Path("runs") / name / now
    if not os.path.exists(out):  # False also where the name is too long for the system
        check_name(out.name)
    results = command.results or out / "results.jsonl"
    there = _rows(results)
    measured: list[Record] = []
    sitting = ResumePolicy(interruption=interruption)
    for number, ((experiment, varied), run) in enumerate(zip(runs, names, strict=True), 1):
        folder = out / run
        with shown(f"{number}/{len(runs)} {run}", experiment.train.steps) as display:
            arguments = folder, name, command.preset, experiment, varied, display, sitting
            with _saying_how_to_go_on(folder):
                result = start(*arguments)
        if result not in there:
            records.append(results, result)
        measured.append(result)
    show(result_table(measured))
    print("Written:", out, "and", results)
    return 0


def resume_run(command: Resume, interruption: StopSignal, held: frozenset[Path]) -> int:
    """Goes on with a run. Returns the exit code."""
    _, _, experiment = opened(command.folder)
    results = command.results or command.folder.resolve().parent / "results.jsonl"
    there = _rows(results)
    sitting = ResumePolicy(
        from_step=command.from_step,
        strict=command.strict,
        allow_other_device=command.allow_other_device,
        allow_other_cores=command.allow_other_cores,
        allow_other_versions=command.allow_other_versions,
        interruption=interruption,
        held=held,
    )
    display = shown(command.folder.name, experiment.train.steps)
    with _saying_how_to_go_on(command.folder), display as display:
        result = resume(command.folder, display, sitting)
    if result not in there:
        records.append(results, result)
    show(result_table([result]))
    return 0


@contextmanager
def _saying_how_to_go_on(folder: Path) -> Iterator[None]:
    try:
        yield
    except StopRequested as stop:
        if RunDirectory(folder).config.exists():
            stop.args = (f"{stop}; `rnnlab resume {folder}` goes on from here",)
        raise


def _rows(results: Path) -> list[Record]:
    """The rows of a file that others are to be added to: before any work, for it may be no such."""
    if not os.path.exists(results):
        need_writable(results.parent)
        return []
    return list(records.read(results))


def _seed_flag(seeds: str | None) -> list[str]:
    return [] if seeds is None else [f"--{SEED}", seeds]


def _runs(preset: Preset, flags: list[str]) -> list[tuple[Experiment, dict[str, Any]]]:
    """The experiments that a preset and flags describe, each with what it is varied in."""
    plain, lists = _split(flags, _paths(preset.experiment))
    given = {flag.partition("=")[0].removeprefix("--") for flag in flags if flag.startswith("--")}
    given = {name.replace("-", "_") for name in given}
    swept = {
        names: values
        for names, values in preset.sweep.items()
        if given.isdisjoint(names.split("+"))
    }
    found = []
    for settings in combinations(swept):
        base = with_settings(preset.experiment, settings)
        for chosen in combinations(lists):
            arguments = [*plain, *(word for pair in chosen.items() for word in pair)]
            experiment = parse(base, arguments)
            names = [flag.removeprefix("--").replace("-", "_") for flag in chosen]
            varied = [*settings, *names, *(n for n in (CELL, SEED) if n not in settings)]
            values = {name: _value(experiment, name) for name in varied}
            found.append((experiment, values))
    return found


def parse(base: Experiment, arguments: Sequence[str]) -> Experiment:
    """The experiment `base` as the flags change it.

    Raises:
      ValueError: a flag is unknown, or a value is refused.
    """

    kind = Experiment[type(base.data)]
    return read(kind, arguments, prog="rnnlab run FILE", description=HELP, default=base)


def _split(flags: list[str], paths: set[str]) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Flags with one value, and those with a comma list. Paths may hold commas."""
    words = [
        word
        for flag in flags
        for word in (flag.split("=", 1) if flag.startswith("--") and "=" in flag else [flag])
    ]
    plain: list[str] = []
    lists: dict[str, tuple[str, ...]] = {}
    for word in words:
        flag = plain[-1] if plain else ""
        if "," in word and flag.startswith("--") and flag.removeprefix("--") not in paths:
            values = tuple(part.strip() for part in word.split(","))
            if not all(values):
                raise ValueError(f"{flag} is {word!r}; values between commas, no space, are needed")
            lists[plain.pop()] = values
        else:
            plain.append(word)
    return plain, lists


def _paths(experiment: Experiment) -> set[str]:
    """The settings that may hold commas: paths, and names of columns."""
    hints = typing.get_type_hints(type(experiment.data))
    named = {f.name for f in fields(experiment.data)}
    wanted = (Path, Path | None, str | None)
    return {f"data.{name}" for name in named if hints[name] in wanted}


def _value(experiment: Experiment, name: str) -> Any:
    part, _, setting = name.partition(".")
    return getattr(getattr(experiment, part), setting)
