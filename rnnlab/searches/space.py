"""The space of a search: the ranges and choices of its settings, and Optuna's names for them."""

import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rnnlab.models.config import FIELDS, available_options
from rnnlab.runs import serialization
from rnnlab.runs.experiment import Experiment

CELL = "model.cell"
MAX_COMBINATIONS = 10_000
"""A space of more combinations is treated as infinite."""


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`, both included; whole numbers if both are whole.

    Attributes:
      low: lowest value.
      high: highest value.
      log: whether values are drawn uniformly on a logarithmic scale.
      step: distance between two values; None draws any value.

    Raises:
      ValueError: the range is empty or not finite, or cannot be logarithmic.

    >>> Range(1e-4, 1e-2, log=True).text
    'log:0.0001:0.01'
    >>> Range(3, 1)
    Traceback (most recent call last):
    ValueError: a range must have low < high, got 3:1; exchange them
    """

    low: float
    high: float
    log: bool = False
    step: float | None = None

    def __post_init__(self) -> None:
        if not all(math.isfinite(bound) for bound in (self.low, self.high)):
            raise ValueError(f"a range must be finite, got {self.text}; give two finite bounds")
        if self.low >= self.high:
            raise ValueError(f"a range must have low < high, got {self.text}; exchange them")
        if self.log and self.low <= 0:
            raise ValueError(
                f"a logarithmic range must start above 0, got {self.text}; raise its low bound"
            )
        if self.step is not None and (self.log or not 0 < self.step <= self.high - self.low):
            raise ValueError(
                "a step must be > 0, at most high - low, and not of a logarithmic range, got "
                f"{self.text}; change or omit it"
            )

    @property
    def text(self) -> str:
        """The range as it is written on the command line."""
        step = "" if self.step is None else f":{self.step}"
        return f"{'log:' if self.log else ''}{self.low}:{self.high}{step}"

    @property
    def is_whole(self) -> bool:
        """Whether its values are whole numbers."""
        bounds = (self.low, self.high, 1 if self.step is None else self.step)
        return all(isinstance(bound, int) for bound in bounds)


Axes = Mapping[str, Range | tuple[Any, ...]]
"""A range or a tuple of choices by setting, as in {"model.depth": (1, 2, 3)}."""


class Space:
    """The settings that a search varies.

    An option of a cell is varied only in trials whose cell has it.

    Args:
      axes: a range or a tuple of choices by setting.

    Raises:
      ValueError: there is no setting, or two choices of one are equal.
    """

    def __init__(self, axes: Axes):
        if not axes:
            raise ValueError("a search needs a space, got none; name a setting and its values")
        # The cell first: it decides which other settings a trial has.
        self.axes = dict(sorted(axes.items(), key=lambda axis: axis[0] != CELL))
        self._choices: dict[str, dict[Any, Any]] = {}
        for name, values in self.axes.items():
            if isinstance(values, Range):
                continue
            self._choices[name] = {_label(value): value for value in values}
            if not values or len(self._choices[name]) < len(values):
                raise ValueError(f"the choices of {name} must differ, got {values}; name each once")

    def applies(self, name: str, cell: str) -> bool:
        """Returns whether a model of a cell has a setting of the space."""
        part, _, option = name.partition(".")
        if CELL not in self.axes or part != "model" or option in FIELDS or "+" in name:
            return True
        return option in available_options(cell)

    def suggest(self, trial: Any, cell: str) -> dict[str, Any]:
        """Returns Optuna's parameters for a trial, by setting.

        Args:
          trial: a trial of Optuna that is running.
          cell: the cell of the experiment, if the space does not vary it.
        """
        found: dict[str, Any] = {}
        for name, values in self.axes.items():
            if not self.applies(name, found.get(CELL, cell)):
                continue
            if not isinstance(values, Range):
                found[name] = trial.suggest_categorical(name, tuple(self._choices[name]))
                continue
            low, high, log, step = values.low, values.high, values.log, values.step
            if values.is_whole:
                found[name] = trial.suggest_int(name, low, high, step=step or 1, log=log)
            else:
                found[name] = trial.suggest_float(name, low, high, step=step, log=log)
        return found

    def settings(self, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the values of settings for Optuna's parameters.

        >>> Space({"model.decay_range": ((0.5, 0.9), None)}).settings(
        ...     {"model.decay_range": "[0.5, 0.9]"}
        ... )
        {'model.decay_range': (0.5, 0.9)}
        """
        return {
            name: self._choices[name][value] if name in self._choices else value
            for name, value in parameters.items()
        }

    def labels(self, name: str) -> tuple[Any, ...]:
        """Returns the choices of a setting as Optuna stores them."""
        return tuple(self._choices[name])

    def bounds(self) -> Iterator[tuple[str, Any]]:
        """Yields each setting with each of its choices, or with the two ends of its range."""
        for name, values in self.axes.items():
            ends = (values.low, values.high) if isinstance(values, Range) else values
            yield from ((name, value) for value in ends)

    def combinations(self, cell: str) -> list[dict[str, Any]] | None:
        """Returns the parameters of all trials, or None if they are infinitely or very many.

        Args:
          cell: the cell of the experiment, if the space does not vary it.

        >>> Space({"model.depth": (1, 2), "model.width": Range(8, 16, step=8)}).combinations("gru")
        ... # doctest: +NORMALIZE_WHITESPACE
        [{'model.depth': 1, 'model.width': 8}, {'model.depth': 1, 'model.width': 16},
         {'model.depth': 2, 'model.width': 8}, {'model.depth': 2, 'model.width': 16}]
        """
        lists = []
        for name, values in self.axes.items():
            if not isinstance(values, Range):
                lists.append(list(self._choices[name]))
            elif values.is_whole:
                lists.append(range(values.low, values.high + 1, values.step or 1))
            else:
                return None
        if math.prod(map(len, lists)) > MAX_COMBINATIONS:
            return None
        found: list[dict[str, Any]] = []
        for chosen in itertools.product(*lists):
            parameters = dict(zip(self.axes, chosen, strict=True))
            own = parameters.get(CELL, cell)
            parameters = {k: v for k, v in parameters.items() if self.applies(k, own)}
            if CELL not in self.axes or parameters not in found:
                found.append(parameters)
        return found

    def record(self) -> dict[str, Any]:
        """Returns the space as JSON values."""
        return {
            name: values.text if isinstance(values, Range) else serialization.dump(values)
            for name, values in self.axes.items()
        }


def trial_experiment(base: Experiment, settings: Mapping[str, Any]) -> Experiment:
    """Returns the experiment of a trial.

    Settings that vary together are one name joined by "+", and their values are tuples.

    Raises:
      ValueError: a setting is unknown or its value is invalid.
    """
    return base.override(split_settings(settings))


def split_settings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the settings with those that vary together one by one.

    >>> split_settings({"data.length+data.batch_size": (32, 8), "model.depth": 1})
    {'data.length': 32, 'data.batch_size': 8, 'model.depth': 1}
    """
    found: dict[str, Any] = {}
    for names, value in settings.items():
        values = value if "+" in names else (value,)
        found |= dict(zip(names.split("+"), values, strict=True))
    return found


def _label(value: Any) -> Any:
    """Returns a choice as a value that Optuna's journal can store."""
    is_scalar = value is None or isinstance(value, bool | int | float | str)
    return value if is_scalar else json.dumps(serialization.dump(value))
