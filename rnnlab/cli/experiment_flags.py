"""Turn the flags of `rnnlab run` into the experiments to train."""

import typing
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import tyro

from rnnlab.cli import arguments as tyro_arguments
from rnnlab.cli import suggestions
from rnnlab.models.config import ModelConfig, available_options, settings_class, unknown_option
from rnnlab.parallel.mesh import MeshConfig
from rnnlab.runs.experiment import Experiment, Preset
from rnnlab.runs.grid import grid
from rnnlab.runs.references import find_task
from rnnlab.train.config import TrainConfig

CELL, SEED, TASK = "model.cell", "train.seed", "--data"
PROG = "rnnlab run FILE"
DESCRIPTION = (
    "Settings of the experiment; the last of the model are options of its cell. Further options: "
    "--preset NAME, --seeds 0,1,2, --devices N, --out DIR and --results FILE. --data TASK chooses "
    "another task, by its name or as FILE.py:CLASS. A comma-separated list of values trains one "
    "run per value. On Linux the process keeps freed memory until it ends; "
    "--no-malloc-keep-memory turns this off."
)

D = TypeVar("D")
M = TypeVar("M")


class Flag(NamedTuple):
    """A flag and its values, as in `--model.decay-range -1 1`."""

    name: str
    values: list[str]

    @property
    def words(self) -> list[str]:
        return [self.name, *self.values] if self.name else self.values

    def sets(self, settings: Container[str]) -> bool:
        """Whether it sets one of the settings, also as in `--model.no-normalize`."""
        name = self.name.removeprefix("--").replace("-", "_")
        return name in settings or name.replace(".no_", ".") in settings


@dataclass(frozen=True)
class Settings(Generic[D, M]):
    """The flags of an experiment.

    Attributes:
      data: settings of the task.
      model: settings of the model; the last ones are options of its cell.
      train: settings of the training.
      mesh: the devices that it is trained on.
    """

    data: D
    model: M
    train: TrainConfig
    mesh: MeshConfig


def experiments(preset: Preset, flags: Sequence[str]) -> list[tuple[Experiment, dict[str, Any]]]:
    """Returns the experiments of a preset and flags, each with the settings that vary.

    Flags replace the preset's grid of the same setting. With several cells, an option applies to
    the runs whose cell has it.

    Raises:
      ValueError: a flag is unknown or its value is invalid.
    """
    preset, given_flags = _choose_task(preset, _split_flags(flags))
    single, lists = _split_lists(given_flags, _comma_settings(preset.experiment))
    axes = {
        names: values
        for names, values in preset.grid.items()
        if not any(flag.sets(names.split("+")) for flag in (*single, *lists))
    }
    combinations = [
        (settings, [*single, *(Flag(name, [value]) for name, value in chosen.items())])
        for settings in grid(axes)
        for chosen in grid({flag.name: tuple(flag.values) for flag in lists})
    ]
    cells = [_cell(preset, settings, given) for settings, given in combinations]
    flag_options = _options(cells)
    preset_options = _options([*cells, preset.experiment.model.cell, *preset.grid.get(CELL, ())])
    found: list[tuple[Experiment, dict[str, Any]]] = []
    for cell, (settings, given) in zip(cells, combinations, strict=True):
        own = _options([cell])
        kept = {k: v for k, v in settings.items() if k in own or k not in preset_options}
        flags = [flag for flag in given if flag.sets(own) or not flag.sets(flag_options)]
        experiment = _parse(preset.override({**kept, CELL: cell}), flags)
        names = [*kept, *(_setting(flag) for flag in lists if flag.name in {f.name for f in flags})]
        values = {n: _value(experiment, n) for n in dict.fromkeys((*names, CELL, SEED))}
        # Combinations that differ only in options which the cell does not have are one run.
        is_reduced = len(kept) < len(settings) or len(flags) < len(given)
        if not (is_reduced and (experiment, values) in found):
            found.append((experiment, values))
    return found


def print_settings(preset: Preset, flags: Sequence[str]) -> None:
    """Prints the flags of a preset, with the options of the cell that `flags` choose, and exits."""
    preset, given_flags = _choose_task(preset, _split_flags(flags))
    single, lists = _split_lists(given_flags, set())
    first = [*single, *(Flag(flag.name, flag.values[:1]) for flag in lists)]
    base = preset.override({CELL: _cell(preset, {}, first)})
    _read(base, ["--help"])


def flag_setting(name: str) -> str:
    """Returns the setting that a flag names.

    >>> flag_setting("--train.learning-rate")
    'train.learning_rate'
    """
    return name.removeprefix("--").replace("-", "_")


def read_value(base: Experiment, name: str, text: str) -> Any:
    """Returns the value of a setting from its text, as of the flag of the same name.

    Raises:
      ValueError: the setting is unknown, or the value is invalid.
    """
    flag = Flag(f"--{name.replace('_', '-')}", text.split())
    return _value(_parse(base, [flag]), name)


def _choose_task(preset: Preset, flags: Sequence[Flag]) -> tuple[Preset, list[Flag]]:
    """Returns the preset with the task of a flag `--data NAME`, and the other flags."""
    chosen = [flag for flag in flags if flag.name == TASK]
    others = [flag for flag in flags if flag.name != TASK]
    if not chosen:
        return preset, others
    if len(chosen[-1].values) != 1:
        raise ValueError(f"{TASK} must be one task, got {' '.join(chosen[-1].values)!r}")
    kind = find_task(chosen[-1].values[0])
    task = object.__new__(kind)  # not constructed: the flags may set fields without a default
    for f in fields(kind):
        default = f.default if f.default_factory is MISSING else f.default_factory()
        object.__setattr__(task, f.name, tyro.MISSING if default is MISSING else default)
    axes = {names: values for names, values in preset.grid.items() if "data." not in names}
    return replace(preset, experiment=replace(preset.experiment, data=task), grid=axes), others


def _parse(base: Experiment, flags: Sequence[Flag]) -> Experiment:
    """Returns the experiment `base` as the flags change it."""
    parts = {
        "data": type(base.data),
        "model": settings_class(base.model.cell),
        "train": type(base.train),
        "mesh": type(base.mesh),
    }
    hints = {
        f"{part}.{f.name}": typing.get_type_hints(kind)[f.name]
        for part, kind in parts.items()
        for f in fields(kind)
    }
    flags = [_without_value(flag) if hints.get(_setting(flag)) is bool else flag for flag in flags]
    for flag in flags:
        _require_known(flag, hints, base.model.cell)
    settings = _read(base, [word for flag in flags for word in flag.words])
    model = ModelConfig.from_settings(vars(settings.model))
    return Experiment(settings.data, model, settings.train, settings.mesh)


def _without_value(flag: Flag) -> Flag:
    """Returns `--model.remat True` as `--model.remat`, and False as `--model.no-remat`."""
    value = " ".join(flag.values).lower()
    if value == "true":
        return Flag(flag.name, [])
    if value == "false":
        part, _, name = flag.name.partition(".")
        return Flag(f"{part}.no-{name}", [])
    return flag


def _require_known(flag: Flag, known: Iterable[str], cell: str) -> None:
    """Raises ValueError for an option that the experiment does not have."""
    if not flag.name or flag.name.startswith("--tyro-") or flag.sets(known):
        return
    options = [name.replace("_", "-") for name in known]
    name = flag.name.removeprefix("--")
    if name.startswith("model.") and not suggestions.other_name(name, options):
        raise ValueError(unknown_option(_setting(flag).removeprefix("model."), cell))
    meant = suggestions.option(name, options)
    hint = f"; did you mean --{meant}?" if meant else "."
    raise ValueError(f"{flag.name} is not an option of this experiment{hint} See `{PROG} --help`")


def _read(base: Experiment, arguments: Sequence[str]) -> Settings:
    kind = settings_class(base.model.cell)
    return tyro_arguments.read(
        Settings[type(base.data), kind],
        arguments,
        prog=PROG,
        description=DESCRIPTION,
        default=Settings(base.data, kind(**base.model.settings()), base.train, base.mesh),
    )


def _cell(preset: Preset, settings: Mapping[str, Any], flags: Sequence[Flag]) -> str:
    """Returns the cell of a run: that of a flag, of the grid or of the preset."""
    chosen = settings.get(CELL, preset.experiment.model.cell)
    for flag in flags:
        if flag.sets([CELL]) and flag.values:
            chosen = flag.values[-1]
    return chosen


def _options(cells: Iterable[str]) -> set[str]:
    return {f"model.{name}" for cell in dict.fromkeys(cells) for name in available_options(cell)}


def _setting(flag: Flag) -> str:
    return flag_setting(flag.name)


def _split_flags(words: Sequence[str]) -> list[Flag]:
    """Groups words into flags with their values. Words before the first flag have no name."""
    flags: list[Flag] = []
    for word in words:
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            flags.append(Flag(name, [value] if equals else []))
        elif flags:
            flags[-1].values.append(word)
        else:
            flags.append(Flag("", [word]))
    return flags


def _split_lists(
    flags: Sequence[Flag], comma_settings: Container[str]
) -> tuple[list[Flag], list[Flag]]:
    """Separates flags with one value from flags with a comma-separated list of values."""
    single: list[Flag] = []
    lists: list[Flag] = []
    for flag in flags:
        if len(flag.values) != 1 or "," not in flag.values[0] or flag.sets(comma_settings):
            single.append(flag)
            continue
        values = [part.strip() for part in flag.values[0].split(",")]
        if not all(values):
            raise ValueError(
                f"{flag.name} must be values separated by commas only, got {flag.values[0]!r}"
            )
        lists.append(Flag(flag.name, values))
    return single, lists


def _comma_settings(experiment: Experiment) -> set[str]:
    """Returns the settings whose values may contain commas: paths and names of columns."""
    hints = typing.get_type_hints(type(experiment.data))
    names = {f.name for f in fields(experiment.data)}
    return {f"data.{name}" for name in names if hints[name] in (Path, Path | None, str | None)}


def _value(experiment: Experiment, name: str) -> Any:
    part, _, setting = name.partition(".")
    inner = getattr(experiment, part)
    return inner.settings()[setting] if part == "model" else getattr(inner, setting)
