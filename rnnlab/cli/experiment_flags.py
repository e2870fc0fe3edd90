"""Turn the flags of `rnnlab run` into the experiments to train."""

import typing
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from rnnlab.cli import arguments as tyro_arguments
from rnnlab.runs.api import Experiment, Preset
from rnnlab.runs.grid import grid, override

CELL, SEED = "model.cell", "train.seed"
DESCRIPTION = (
    "Settings of the experiment. Further options: --preset NAME, --seeds 0,1,2, --out DIR and "
    "--results FILE. A comma-separated list of values trains one run per value. On Linux the "
    "process keeps freed memory until it ends; --no-malloc-keep-memory turns this off."
)


def experiments(preset: Preset, flags: Sequence[str]) -> list[tuple[Experiment, dict[str, Any]]]:
    """Returns the experiments of a preset and flags, each with the settings that vary.

    Flags replace the preset's grid of the same setting.

    Raises:
      ValueError: a flag is unknown or its value is invalid.
    """
    single, lists = _split_lists(flags, _comma_settings(preset.experiment))
    given = {_setting(flag) for flag in flags if flag.startswith("--")}
    preset_grid = {
        names: values for names, values in preset.grid.items() if given.isdisjoint(names.split("+"))
    }
    found = []
    for settings in grid(preset_grid):
        base = override(preset.experiment, settings)
        for chosen in grid(lists):
            arguments = [*single, *(word for pair in chosen.items() for word in pair)]
            experiment = _parse(base, arguments)
            names = [*settings, *map(_setting, chosen)]
            names += [name for name in (CELL, SEED) if name not in settings]
            found.append((experiment, {name: _value(experiment, name) for name in names}))
    return found


def print_settings(preset: Preset, flags: Sequence[str]) -> None:
    """Prints the settings of a preset, or a completion script for a shell, and exits."""
    _parse(preset.experiment, ["--help"])


def _parse(base: Experiment, arguments: Sequence[str]) -> Experiment:
    """Returns the experiment `base` as the flags change it."""
    return tyro_arguments.read(
        Experiment[type(base.data)],
        arguments,
        prog="rnnlab run FILE",
        description=DESCRIPTION,
        default=base,
    )


def _setting(flag: str) -> str:
    """Returns the setting of a flag: `train.log_every` for `--train.log-every=5`."""
    return flag.partition("=")[0].removeprefix("--").replace("-", "_")


def _split_lists(
    flags: Sequence[str], comma_settings: set[str]
) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Separates flags with one value from flags with a comma-separated list."""
    words = [
        word
        for flag in flags
        for word in (flag.split("=", 1) if flag.startswith("--") and "=" in flag else [flag])
    ]
    single: list[str] = []
    lists: dict[str, tuple[str, ...]] = {}
    for word in words:
        flag = single[-1] if single else ""
        if "," in word and flag.startswith("--") and _setting(flag) not in comma_settings:
            values = tuple(part.strip() for part in word.split(","))
            if not all(values):
                raise ValueError(f"{flag} must be values separated by commas only, got {word!r}")
            lists[single.pop()] = values
        else:
            single.append(word)
    return single, lists


def _comma_settings(experiment: Experiment) -> set[str]:
    """Returns the settings whose values may contain commas: paths and names of columns."""
    hints = typing.get_type_hints(type(experiment.data))
    names = {f.name for f in fields(experiment.data)}
    return {f"data.{name}" for name in names if hints[name] in (Path, Path | None, str | None)}


def _value(experiment: Experiment, name: str) -> Any:
    part, _, setting = name.partition(".")
    return getattr(getattr(experiment, part), setting)
