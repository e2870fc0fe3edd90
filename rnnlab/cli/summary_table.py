"""Results of many experiments in one table: one row per setting, one column per cell."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from rnnlab.cli.seed_groups import (
    CELL,
    SEED,
    better_direction,
    format_metric,
    format_setting,
    known_baselines,
    metric_value,
    spread,
)
from rnnlab.plotting import cell_label
from rnnlab.records import Record
from rnnlab.registry import LABELS
from rnnlab.tables import Table, device_labels

PAPER_HEADING = "published figure (its own setting)"
HIDDEN_SETTINGS = (CELL, SEED)


def summary_table(results: Sequence[Record], paper: Mapping[str, str]) -> Table:
    """Returns the first metric on the last evaluation set, next to the best trivial baseline's.

    Several seeds are shown as their mean with the lowest and highest value in parentheses.

    Args:
      results: results of runs.
      paper: published values in their original setting, by experiment.
    """
    found = dict.fromkeys(result["cell"] for result in results)
    cells = [cell for cell in LABELS if cell in found]
    cells += [cell for cell in found if cell not in LABELS]
    headings = (
        "experiment",
        "setting",
        "metric",
        "best trivial baseline",
        *map(cell_label, cells),
        "seeds",
        PAPER_HEADING,
    )
    groups: dict[tuple[str, ...], list[Record]] = {}
    for result in results:
        key = result["experiment"], _setting(result), result["data_fingerprint"]
        groups.setdefault(key, []).append(result)
    lines, breaks = [], set()
    for (experiment, setting, _), group in groups.items():
        if lines and lines[-1][0] != experiment:
            breaks.add(len(lines) - 1)
        first = group[0]
        values = {cell: [metric_value(r) for r in group if r["cell"] == cell] for cell in cells}
        seeds = max(len(v) for v in values.values())
        metric = f"{first['metric']}, {better_direction(first)} is better"
        baseline = _best_baseline(first)
        shown = (_spread(values[cell]) for cell in cells)
        published = paper.get(experiment, "")
        lines.append((experiment, setting, metric, baseline, *shown, str(seeds), published))
    return Table(device_labels(results), headings, lines, frozenset(breaks))


def _setting(result: Record) -> str:
    """Returns the preset if it is not `cpu`, the data file, and the grid settings, as text."""
    given = [] if result["preset"] == "cpu" else [f"preset {result['preset']}"]
    if result["data"].get("path"):
        given.append(Path(result["data"]["path"]).name)
    varied = [
        f"{name.rpartition('.')[2].replace('_', ' ')} {format_setting(value)}"
        for name, value in result["grid"].items()
        if name not in HIDDEN_SETTINGS
    ]
    return ", ".join(given + varied)


def _spread(values: Sequence[float | None]) -> str:
    found = spread(value for value in values if value is not None)
    if found is None:
        return ""
    center = format_metric(found.mean)
    if found.std is None:
        return center
    return f"{center} ({format_metric(found.low)} to {format_metric(found.high)})"


def _best_baseline(result: Record) -> str:
    *_, (name, value) = [("", None), *known_baselines(result).items()]
    return f"{format_metric(value)} ({name})" if name else ""
