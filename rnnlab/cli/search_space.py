"""Parse `--space SETTING=VALUES` and the flags of `rnnlab search`."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from rnnlab.cli.arguments import NUMBER
from rnnlab.cli.experiment_flags import CELL, SEED, experiments, flag_setting, read_value
from rnnlab.models.config import available_options
from rnnlab.runs.experiment import Experiment, Preset
from rnnlab.searches.space import Range

EXAMPLES = "train.learning_rate=log:1e-4:1e-2 or model.depth=1,2,3"
LOG = "log"


def read_space(
    preset: Preset, flags: Sequence[str], texts: Sequence[str]
) -> tuple[dict[str, Experiment], dict[str, Range | tuple[Any, ...]]]:
    """Returns the experiment by cell, and the range or the choices by setting.

    Raises:
      ValueError: a flag or a part of the space is unknown or invalid, a setting is named twice, or
        the flags and the preset describe several experiments.
    """
    parts = split_space(texts)
    bases = _bases(preset, flags, parts)
    if not parts:
        raise ValueError(f"a search needs --space SETTING=VALUES, as in {EXAMPLES}; add one")
    axes: dict[str, Range | tuple[Any, ...]] = {}
    for name, text in parts.items():
        is_cell = name == CELL  # `_bases` has read it
        axes[name] = tuple(bases) if is_cell else read_axis(_base_with(name, bases), name, text)
    return bases, axes


def split_space(texts: Sequence[str]) -> dict[str, str]:
    """Returns the text of the values by setting.

    >>> split_space(["train.learning-rate=log:1e-4:1e-2", "model.depth=1,2"])
    {'train.learning_rate': 'log:1e-4:1e-2', 'model.depth': '1,2'}
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        name, values = flag_setting(name.strip()), values.strip()
        if not (name and equals and values):
            raise ValueError(f"--space must be SETTING=VALUES, as in {EXAMPLES}, got {text!r}")
        if name in found:
            raise ValueError(f"--space must name each setting once, got {name} twice; join them")
        found[name] = values
    return found


def read_axis(base: Experiment, name: str, text: str) -> Range | tuple[Any, ...]:
    """Returns a range or choices of a setting from their text.

    Raises:
      ValueError: the setting is unknown, or the text is malformed.
    """
    words = [word.strip() for word in text.split(":")]
    is_log = words[0] == LOG
    is_range = is_log or (len(words) > 1 and NUMBER.fullmatch(words[0]) is not None)
    if not is_range or "," in text:
        return _choices(base, name, text)
    numbers = words[is_log:]
    if len(numbers) not in ((2,) if is_log else (2, 3)) or not all(numbers):
        raise ValueError(
            f"--space {name}: a range must be LOW:HIGH, LOW:HIGH:STEP or log:LOW:HIGH, got {text!r}"
        )
    values = [_number(base, name, number) for number in numbers[:2]]
    step = None
    if len(numbers) == 3:
        step = _step(name, numbers[2], is_whole=isinstance(values[0], int))
    try:
        return Range(*values, log=is_log, step=step)
    except ValueError as error:
        raise ValueError(f"--space {name}: {error}") from None


def _choices(base: Experiment, name: str, text: str) -> tuple[Any, ...]:
    words = [word.strip() for word in text.split(",")]
    if not all(words):
        raise ValueError(
            f"--space {name}: choices must be values separated by single commas, got {text!r}"
        )
    return tuple(read_value(base, name, word) for word in words)


def _number(base: Experiment, name: str, text: str) -> int | float:
    value = read_value(base, name, text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(
            f"--space {name}: a range needs a setting that is a number, and {value!r} is not; give "
            "choices separated by commas"
        )
    return value


def _step(name: str, text: str, *, is_whole: bool) -> int | float:
    if not NUMBER.fullmatch(text) or (is_whole and not text.isdigit()):
        kind = "a whole number" if is_whole else "a number"
        raise ValueError(f"--space {name}: the step must be {kind}, got {text!r}")
    return int(text) if is_whole else float(text)


def _bases(preset: Preset, flags: Sequence[str], parts: Mapping[str, str]) -> dict[str, Experiment]:
    """Returns the experiment by cell, each with the flags that its cell has."""
    for word in flags:
        if word.startswith("--") and flag_setting(word.partition("=")[0]) in parts:
            raise ValueError(
                f"{word.partition('=')[0]} must be a flag or in the --space, and is both; omit one"
            )
    axes = {}
    for names, values in preset.grid.items():
        if not parts.keys() & set(names.split("+")):
            axes[names] = values[:1] if names == SEED else values
    cells = ["--model.cell", parts[CELL]] if CELL in parts else []
    planned = experiments(replace(preset, grid=axes), [*flags, *cells])
    bases = {experiment.model.cell: experiment for experiment, _ in planned}
    if len(planned) > len(bases) or (len(bases) > 1 and CELL not in parts):
        varied = _differing([settings for _, settings in planned])
        name = next((one for one in varied if one != CELL), CELL)
        values = dict.fromkeys(str(settings[name]) for _, settings in planned if name in settings)
        raise ValueError(
            f"a search needs one value of {name} outside of its space, got {', '.join(values)}; "
            f"choose one with --{name.replace('_', '-')}, or add --space {name}={','.join(values)}"
        )
    return bases


def _differing(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns the names of settings that differ between two experiments."""
    names = dict.fromkeys(name for one in settings for name in one)
    pairs = list(itertools.pairwise(settings))
    return [name for name in names if any(a.get(name) != b.get(name) for a, b in pairs)]


def _base_with(name: str, bases: Mapping[str, Experiment]) -> Experiment:
    """Returns the first experiment whose cell has an option, or the first one."""
    option = name.partition(".")[2]
    fitting = [base for cell, base in bases.items() if option in available_options(cell)]
    return (fitting or list(bases.values()))[0]
