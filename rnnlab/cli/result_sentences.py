"""The results of runs in two or three sentences."""

from collections.abc import Mapping, Sequence
from statistics import mean

from rnnlab.cli.compare import (
    better_direction,
    format_metric,
    format_setting,
    reported_value,
)
from rnnlab.records import Record

SEED = "train.seed"


def conclusion(results: Sequence[Record]) -> str:
    """Returns the best setting, the best baseline next to it, and what one seed does not show.

    Args:
      results: results of runs with one metric.
    """
    metric, best = results[0]["metric"], _best(results[0])
    values: dict[str, list[float]] = {}
    for result in results:
        values.setdefault(_settings(result["grid"]), []).append(reported_value(result))
    means = {name: mean(found) for name, found in values.items()}
    winner = best(means, key=means.get)
    seeds = len(values[winner])
    about = ", ".join(filter(None, (winner, f"mean of {seeds} seeds" if seeds > 1 else "")))
    evaluated = list(results[0]["metrics"])[-1]
    sentences = [
        f"The best {evaluated} {metric} is {format_metric(means[winner])}"
        + (f" ({about})." if about else "."),
        _baseline_sentence(results, best),
    ]
    if len(means) > 1 and len(results) == len(means):
        sentences.append("Each setting has one seed: do not rank settings by small differences.")
    return " ".join(filter(None, sentences))


def _baseline_sentence(results: Sequence[Record], best) -> str:
    metric = results[0]["metric"]
    known = [
        {name: v[metric] for name, v in result["baselines"].items() if metric in v}
        for result in results
    ]
    if not all(known):
        return ""
    better = 0
    for result, found in zip(results, known, strict=True):
        value, baseline = reported_value(result), best(found.values())
        better += value != baseline and best(value, baseline) == value
    name = best(known[0], key=known[0].get)
    count = "The run is" if better == len(results) == 1 else f"{better} of {len(results)} runs are"
    if len(results) == 1 and not better:
        count = "The run is not"
    return f"{count} better than the best baseline ({name}, {format_metric(known[0][name])})."


def _best(result: Record):
    return max if better_direction(result) == "higher" else min


def _settings(grid: Mapping[str, object]) -> str:
    """Returns the settings that vary, without the seed, as text."""
    return ", ".join(
        f"{name.rpartition('.')[2]} {format_setting(value)}"
        for name, value in grid.items()
        if name != SEED
    )
