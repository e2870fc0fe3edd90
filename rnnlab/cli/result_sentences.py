"""The results of runs in two or three sentences."""

import math
from collections.abc import Mapping, Sequence
from statistics import mean

from rnnlab.cli.compare import (
    better_direction,
    format_metric,
    format_setting,
    known_baselines,
    reported_value,
)
from rnnlab.records import Record

SEED = "train.seed"


def conclusion(results: Sequence[Record]) -> str:
    """Returns the best setting, the best baseline next to it, and what one seed does not show.

    Args:
      results: results of runs with one metric.
    """
    metric, evaluated = results[0]["metric"], list(results[0]["metrics"])[-1]
    values: dict[str, list[float]] = {}
    for result in results:
        value = reported_value(result)
        if value is not None and math.isfinite(value):
            values.setdefault(_settings(result["grid"]), []).append(value)
    if not values:
        return f"No run has a finite {evaluated} {metric}."
    means = {name: mean(found) for name, found in values.items()}
    best = max if better_direction(results[0]) == "higher" else min
    winner = best(means, key=means.get)
    seeds = len(values[winner])
    about = ", ".join(filter(None, (winner, f"mean of {seeds} seeds" if seeds > 1 else "")))
    sentences = [
        f"The best {evaluated} {metric} is {format_metric(means[winner])}"
        + (f" ({about})." if about else "."),
        _baseline_sentence(results),
    ]
    if len(means) > 1 and len(results) == len(means):
        sentences.append("Each setting has one seed: do not rank settings by small differences.")
    return " ".join(filter(None, sentences))


def _baseline_sentence(results: Sequence[Record]) -> str:
    known = list(map(known_baselines, results))
    if not all(known):
        return ""
    count = sum(map(_beats, results, known))
    runs = f"{count} of {len(results)} runs are"
    if len(results) == 1:
        runs = "The run is" if count else "The run is not"
    *_, (name, value) = known[0].items()
    return f"{runs} better than the best baseline ({name}, {format_metric(value)})."


def _beats(result: Record, baselines: Mapping[str, float]) -> bool:
    value, (*_, baseline) = reported_value(result), baselines.values()
    if value is None:
        return False
    return value > baseline if better_direction(result) == "higher" else value < baseline


def _settings(grid: Mapping[str, object]) -> str:
    """Returns the settings that vary, without the seed, as text."""
    return ", ".join(
        f"{name.rpartition('.')[2]} {format_setting(value)}"
        for name, value in grid.items()
        if name != SEED
    )
