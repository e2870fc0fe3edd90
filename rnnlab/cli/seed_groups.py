"""Results that differ only in their seed: their settings, and the mean and spread of a metric."""

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import mean, stdev
from typing import Any, NamedTuple

from rnnlab.models.config import ModelConfig
from rnnlab.records import Record
from rnnlab.train.metrics import higher_is_better

CELL, SEED = "model.cell", "train.seed"
MODEL_SETTINGS = frozenset(field.name for field in dataclasses.fields(ModelConfig))
"""Settings of every model; the others are options of cells."""


class Spread(NamedTuple):
    """The values of a metric over seeds.

    Attributes:
      mean: their mean.
      std: their sample standard deviation; None for a single value.
      low, high: the lowest and the highest value.
      count: the number of values.
    """

    mean: float
    std: float | None
    low: float
    high: float
    count: int


class SeedGroup(NamedTuple):
    """Results of one setting, one per seed.

    Attributes:
      settings: the cell, what the commands varied, and what differs between the groups, by name.
      results: one result per seed, in the order in which they were given.
    """

    settings: dict[str, Any]
    results: list[Record]

    def label(self, without: Sequence[str] = ()) -> str:
        """Returns the settings as text, as in "cell gru, depth 2".

        Args:
          without: names of settings that are omitted.
        """
        return ", ".join(
            f"{name.rpartition('.')[2].replace('_', ' ')} {format_setting(value)}"
            for name, value in self.settings.items()
            if name not in without
        )

    def spread(self, evaluated: str | None = None, metric: str | None = None) -> Spread | None:
        """Returns the values of a metric over the seeds, or None if none of them is finite.

        Args:
          evaluated: name of the evaluation set; None is the one that is reported, the last.
          metric: name of the metric; None is the one that selects the best step.
        """
        found = (metric_value(result, evaluated, metric) for result in self.results)
        return spread(value for value in found if value is not None)


def group_seeds(results: Sequence[Record]) -> list[SeedGroup]:
    """Returns the results in groups that differ only in their seed, in order of appearance.

    Of several results of one setting and seed the last one counts: repeats have no spread.
    """
    settings = [_settings(result) for result in results]
    names = [name for result in results for name in result["grid"]]
    known = dict.fromkeys(name for found in settings for name in found)
    names += [name for name in known if _differs(name, settings)]
    if CELL not in names:
        names.insert(0, CELL)
    shown = [name for name in dict.fromkeys(names) if name != SEED]
    groups: dict[str, SeedGroup] = {}
    for result, found in zip(results, settings, strict=True):
        chosen = {name: found[name] for name in shown if name in found}
        key = json.dumps(chosen, sort_keys=True, default=str)
        members = groups.setdefault(key, SeedGroup(chosen, [])).results
        members[:] = [member for member in members if member["seed"] != result["seed"]] + [result]
    return list(groups.values())


def setting_names(groups: Sequence[SeedGroup]) -> list[str]:
    """Returns the names of the settings of all groups, in order of appearance."""
    return list(dict.fromkeys(name for group in groups for name in group.settings))


def split_by_data(groups: Sequence[SeedGroup]) -> list[list[SeedGroup]]:
    """Returns the groups of each data set: those with equal data, or equal settings of it."""
    sets: list[tuple[set[str], list[SeedGroup]]] = []
    for group in groups:
        keys = {_data_settings(group), *(result["data_fingerprint"] for result in group.results)}
        shared = [entry for entry in sets if entry[0] & keys]
        # A group can join two sets that were apart so far.
        merged = keys.union(*(found for found, _ in shared)), [g for _, gs in shared for g in gs]
        merged[1].append(group)
        position = sets.index(shared[0]) if shared else len(sets)
        sets = [entry for entry in sets if entry not in shared]
        sets.insert(position, merged)
    return [found for _, found in sets]


def spread(values: Iterable[float]) -> Spread | None:
    """Returns the mean and the spread of the finite values, or None without one.

    >>> spread([1.0, 2.0, 3.0, float("nan")])
    Spread(mean=2.0, std=1.0, low=1.0, high=3.0, count=3)
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return None
    std = stdev(finite) if len(finite) > 1 else None
    return Spread(mean(finite), std, min(finite), max(finite), len(finite))


def format_spread(found: Spread | None) -> str:
    """Returns a mean and its standard deviation as text; a single value has none.

    >>> format_spread(spread([1.0, 2.0])), format_spread(spread([0.5])), format_spread(None)
    ('1.5000 ± 0.7071', '0.5000', '')
    """
    if found is None:
        return ""
    center = format_metric(found.mean)
    if found.std is None:
        return center
    # The spread has as many decimals as the mean.
    is_fixed = "." in center and "e" not in center and len(center.partition(".")[2]) == 4
    return f"{center} ± " + (f"{found.std:.4f}" if is_fixed else f"{found.std:.2g}")


def metric_value(
    result: Record, evaluated: str | None = None, metric: str | None = None
) -> float | None:
    """Returns a metric of a result; None where it is NaN or missing.

    Args:
      result: the result of a run.
      evaluated: name of the evaluation set; None is the one that is reported, the last.
      metric: name of the metric; None is the one that selects the best step.
    """
    scores = result["metrics"][evaluated or list(result["metrics"])[-1]]
    return scores.get(metric or result["metric"])


def known_baselines(result: Record) -> dict[str, float]:
    """Returns the baselines that have the result's metric, by name, the best one last."""
    metric = result["metric"]
    found = {n: v[metric] for n, v in result["baselines"].items() if v.get(metric) is not None}
    lower_is_better = better_direction(result) == "lower"
    return dict(sorted(found.items(), key=lambda item: item[1], reverse=lower_is_better))


def better_direction(result: Record) -> str:
    """Returns "higher" or "lower": which values of the result's metric are better."""
    return "higher" if higher_is_better(result["metric"]) else "lower"


def format_setting(value: object) -> str:
    """Returns a setting as text: the values of a list separated by spaces, a path as its name."""
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return Path(value).name if isinstance(value, str) and "/" in value else str(value)


def format_metric(value: float | None) -> str:
    """Returns a metric with 4 decimals or 3 significant digits, and nothing for None.

    >>> format_metric(0.5), format_metric(123456.0), format_metric(None)
    ('0.5000', '1.23e+05', '')
    """
    if value is None:
        return ""
    return f"{value:.4f}" if 1e-3 <= abs(value) < 100 or value == 0 else f"{value:.3g}"


def _settings(result: Record) -> dict[str, Any]:
    """Returns all settings of a result by name, as in "train.steps"."""
    found: dict[str, Any] = {name: result[name] for name in ("experiment", "preset")}
    found |= result["grid"]
    for part in ("data", "model", "train"):
        found |= {f"{part}.{name}": value for name, value in result[part].items()}
    return {**found, CELL: result["cell"]}


def _differs(name: str, settings: Sequence[Mapping[str, Any]]) -> bool:
    """Returns whether a setting has several values among the results that have it.

    An option of cells is compared within each cell: its default differs between cells.
    """
    part, _, setting = name.partition(".")
    is_option = part == "model" and setting not in MODEL_SETTINGS
    values: dict[str, list[Any]] = {}
    for found in settings:
        if name in found:
            values.setdefault(found[CELL] if is_option else "", []).append(found[name])
    return any(value != known[0] for known in values.values() for value in known)


def _data_settings(group: SeedGroup) -> str:
    chosen = {
        name: value
        for name, value in group.settings.items()
        if name == "experiment" or name.startswith("data.")
    }
    return json.dumps(chosen, sort_keys=True, default=str)
