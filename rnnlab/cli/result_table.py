"""Results of runs as a table: one row per setting with its seeds, and one per baseline."""

import itertools
from collections.abc import Sequence
from statistics import mean

from rnnlab.cli.seed_groups import (
    CELL,
    SeedGroup,
    format_metric,
    format_setting,
    format_spread,
    group_seeds,
    known_baselines,
    setting_names,
    spread,
)
from rnnlab.records import Record
from rnnlab.tables import Table, device_labels, format_range

SPREAD_NOTE = "mean ± standard deviation over seeds"
DATA_SETTINGS = ("experiment", "preset", "data.")
"""Beginnings of the names of the settings that baselines depend on."""


def result_table(results: Sequence[Record]) -> Table:
    """Returns a table with one row per setting, over its seeds, and one row per baseline.

    A setting with several seeds shows the mean and the sample standard deviation of each metric.
    Metrics are those of the last evaluation set. Baselines are sorted, the best one first.
    """
    groups = group_seeds(results)
    has_seeds = any(len(group.results) > 1 for group in groups)
    seeds = [str(len(group.results)) for group in groups]
    return _table(groups, "seeds", seeds, has_seeds)


def run_table(results: Sequence[Record]) -> Table:
    """Returns a table with one row per run, without baselines."""
    pairs = ((group, result) for group in group_seeds(results) for result in group.results)
    groups = [SeedGroup(group.settings, [result]) for group, result in pairs]
    seeds = [str(group.results[0]["seed"]) for group in groups]
    return _table(groups, "seed", seeds, False, baselines=False)


def _table(
    groups: Sequence[SeedGroup],
    seed_heading: str,
    seeds: Sequence[str],
    has_seeds: bool,
    baselines: bool = True,
) -> Table:
    results = [result for group in groups for result in group.results]
    main, names = results[0]["metric"], setting_names(groups)
    scores = [list(result["metrics"].values())[-1] for result in results]
    metrics = list(dict.fromkeys(metric for score in scores for metric in score))
    set_names = "/".join(dict.fromkeys(list(result["metrics"])[-1] for result in results))
    columns = {metric: f"{set_names} {metric}" for metric in metrics}
    bounds = f"{columns[main]}, lowest to highest"
    headings = [name.rpartition(".")[2] for name in names]
    headings += [seed_heading, "parameters", "state, bytes", *columns.values()]
    headings += [bounds] if has_seeds else []
    headings += ["best step", "seconds to best step", "tokens/s"]
    lines = []
    for group, seed in zip(groups, seeds, strict=True):
        line = [format_setting(group.settings.get(name, "")) for name in names]
        line += [seed, _range(group, "parameters"), _range(group, "state_bytes")]
        line += [format_spread(group.spread(metric=metric)) for metric in metrics]
        line += [_bounds(group)] if has_seeds else []
        line += [_range(group, "best_step", "d"), _mean(group, "seconds_to_best")]
        lines.append((*line, _mean(group, "tokens_per_second")))
    breaks = {k for k, (a, b) in enumerate(itertools.pairwise(lines)) if a[0] != b[0]}
    if len(breaks) == len(lines) - 1:  # no section has two rows
        breaks = set()
    if baselines and (rows := _baseline_rows(groups, names, metrics)):
        breaks.add(len(lines) - 1)
        padding = ("",) * (len(headings) - len(names) - 3 - len(metrics))
        lines += [(*row[: len(names)], "", "", "", *row[len(names) :], *padding) for row in rows]
    presets = dict.fromkeys(f"{r['experiment']}, preset {r['preset']}" for r in results)
    title = f"{device_labels(results)}; {', '.join(presets)}"
    optional = [
        *(["state, bytes", bounds] if has_seeds else ["state, bytes"]),
        *(heading for metric, heading in columns.items() if metric != main),
        *("seconds to best step", "parameters", "best step", "tokens/s"),
    ]
    return Table(
        f"{title}; {SPREAD_NOTE}" if has_seeds else title,
        tuple(headings),
        lines,
        frozenset(breaks),
        tuple(optional),
    )


def _baseline_rows(
    groups: Sequence[SeedGroup], names: Sequence[str], metrics: Sequence[str]
) -> list[tuple[str, ...]]:
    """Returns the settings and metrics of each baseline; equal ones of several data sets once."""
    data_names = [name for name in names if name.startswith(DATA_SETTINGS)]
    found: dict[tuple[str, ...], dict[tuple[str, ...], None]] = {}
    by_data: dict[tuple[str, ...], list[SeedGroup]] = {}
    for group in groups:
        key = tuple(format_setting(group.settings.get(name, "")) for name in data_names)
        by_data.setdefault(key, []).append(group)
    for data, members in by_data.items():
        results = [result for group in members for result in group.results]
        ranked = reversed(known_baselines(results[0]))
        known = [*ranked, *(name for result in results for name in result["baselines"])]
        for name in dict.fromkeys(known):
            scores = [result["baselines"].get(name, {}) for result in results]
            shown = (_baseline_text([s.get(metric) for s in scores]) for metric in metrics)
            found.setdefault((name, *shown), {})[data] = None
    rows = []
    for (name, *shown), data_sets in found.items():
        common = dict.fromkeys(data_names, "")
        if len(data_sets) < len(by_data):  # the settings that the baseline depends on
            for setting, *values in zip(data_names, *data_sets, strict=True):
                common[setting] = values[0] if len(set(values)) == 1 else ""
        label = {CELL: f"{name} (baseline)"}
        rows.append((*((common | label).get(setting, "") for setting in names), *shown))
    return rows


def _baseline_text(values: Sequence[float | None]) -> str:
    """Returns a baseline's score, which some baselines compute per seed."""
    known = [value for value in values if value is not None]
    if len(set(map(format_metric, known))) < 2:
        return format_metric(known[0]) if known else ""
    return format_spread(spread(known))


def _range(group: SeedGroup, key: str, style: str = ",d") -> str:
    return format_range((result[key] for result in group.results), lambda x: format(x, style))


def _mean(group: SeedGroup, key: str) -> str:
    known = [result[key] for result in group.results if result[key] is not None]
    return f"{mean(known):,.0f}" if known else ""


def _bounds(group: SeedGroup) -> str:
    found = group.spread()
    if found is None or found.std is None:
        return ""
    return format_range((found.low, found.high), format_metric)
