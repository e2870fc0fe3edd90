"""Results of many experiments in one table: a line a setting, a column a cell, means over seeds."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import mean

from rnnlab.cli.compare import better, number, text
from rnnlab.plotting import cell_label
from rnnlab.records import Record
from rnnlab.registry import LABELS
from rnnlab.tables import Table, device_labels

PAPER_HEADING = "published figure (its own setting)"
HIDDEN = ("model.cell", "train.seed")


def summary_table(results: Sequence[Record], paper: Mapping[str, str]) -> Table:
    """The first metric on the last held-out set, beside the best trivial predictor's.

    Several seeds give their mean and, in brackets, the lowest and the highest. `paper` has a
    publication's figure, with its terms, by experiment.
    """
    found = dict.fromkeys(row["cell"] for row in results)
    cells = [cell for cell in LABELS if cell in found]
    cells += [cell for cell in found if cell not in LABELS]
    headings = (
        "experiment",
        "setting",
        "metric",
        "best floor",
        *map(cell_label, cells),
        "seeds",
        PAPER_HEADING,
    )
    groups: dict[tuple[str, ...], list[Record]] = {}
    for row in results:
        key = row["experiment"], _setting(row), row["data_fingerprint"]
        groups.setdefault(key, []).append(row)
    lines, breaks = [], set()
    for (experiment, setting, _), rows in groups.items():
        if lines and lines[-1][0] != experiment:
            breaks.add(len(lines) - 1)
        first = rows[0]
        values = {cell: [_value(r) for r in rows if r["cell"] == cell] for cell in cells}
        seeds = max(len(v) for v in values.values())
        metric = f"{first['metric']}, {better(first)} is better"
        floor = _best_floor(first)
        shown = (_spread(values[cell]) for cell in cells)
        published = paper.get(experiment, "")
        lines.append((experiment, setting, metric, floor, *shown, str(seeds), published))
    return Table(device_labels(results), headings, lines, frozenset(breaks))


def _setting(row: Record) -> str:
    """Preset, where it is not `cpu`; file; what was varied beside cell and seed."""
    given = [] if row["preset"] == "cpu" else [f"preset {row['preset']}"]
    if row["data"].get("path"):
        given.append(Path(row["data"]["path"]).name)
    varied = [
        f"{name.rpartition('.')[2].replace('_', ' ')} {text(value)}"
        for name, value in row["grid"].items()
        if name not in HIDDEN
    ]
    return ", ".join(given + varied)


def _value(row: Record) -> float:
    return list(row["metrics"].values())[-1][row["metric"]]


def _spread(values: Sequence[float]) -> str:
    if not values:
        return ""
    middle = number(mean(values))
    return (
        middle if len(values) == 1 else f"{middle} ({number(min(values))} to {number(max(values))})"
    )


def _best_floor(row: Record) -> str:
    floors = {k: v[row["metric"]] for k, v in row["baselines"].items() if row["metric"] in v}
    if not floors:
        return ""
    pick = max if better(row) == "higher" else min
    name = pick(floors, key=floors.get)
    return f"{number(floors[name])} ({name})"
