"""`rnnlab compare`: runs side by side, as a table and as a picture."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from rnnlab.cli.commands import Compare
from rnnlab.errors import DataError
from rnnlab.records import Record, read
from rnnlab.runs.result_schema import is_result
from rnnlab.runs.run_dir import RunDirectory
from rnnlab.tables import Table, device_label, print_table
from rnnlab.train.metrics import METRICS


def compare(command: Compare) -> int:
    """Shows the table and writes the picture. Returns the exit code.

    Raises:
      ValueError: a folder holds no finished run.
    """
    from rnnlab.cli.plot_runs import curves_figure
    from rnnlab.plotting import save_figure

    if not command.folders:
        raise ValueError("no folder is given; one of runs, or a results.jsonl, is needed")
    results = [row for path in command.folders for row in results_of(path)]
    metrics = list(dict.fromkeys(row["metric"] for row in results))
    if len(metrics) != 1:
        raise ValueError(f"the runs are judged by {metrics}; compare those of one metric")
    print_table(result_table(results))
    save_figure(curves_figure(results), command.out)
    print("Written:", command.out)
    return 0


def results_of(path: Path) -> list[Record]:
    """The results of a run's folder, of all runs below a folder, or of a file of rows.

    Raises:
      ValueError: there is none.
    """
    if path.is_file():
        results = list(read(path))
        if not results or not all(map(is_result, results)):
            raise DataError(f"{path} holds no results of runs; give a results.jsonl")
        return results
    found = [RunDirectory(path).result] if RunDirectory(path).result.exists() else []
    found = found or sorted(path.glob("**/result.json"))
    if not found:
        raise ValueError(f"{path} holds no finished run; `rnnlab resume` finishes one")
    return [RunDirectory(file.parent).read_result() for file in found]


def result_table(results: Sequence[Record]) -> Table:
    """A line a run: what was varied, its size, its metrics on the last held-out set, its speed."""
    varied = list(dict.fromkeys(name for row in results for name in row["grid"]))
    headings = [name.rpartition(".")[2] for name in varied]
    sets = [list(row["metrics"])[-1] for row in results]
    names = list(
        dict.fromkeys(m for row, s in zip(results, sets, strict=True) for m in row["metrics"][s])
    )
    floors = dict.fromkeys(
        (name, metric)
        for row in results
        for name, values in row["baselines"].items()
        for metric in values
    )
    of = "/".join(dict.fromkeys(sets))
    headings += ["parameters", "state, bytes", *(f"{of} {name}" for name in names)]
    headings += [f"{name} ({metric})" for name, metric in floors]
    headings += ["best step", "seconds to it", "tokens/s"]
    lines = []
    for row, of in zip(results, sets, strict=True):
        line = [text(row["grid"].get(name, "")) for name in varied]
        line += [f"{row['parameters']:,}", f"{row['state_bytes']:,}"]
        line += [number(row["metrics"][of].get(m)) for m in names]
        line += [number(row["baselines"].get(name, {}).get(metric)) for name, metric in floors]
        seconds, speed = row["seconds_to_best"], row["tokens_per_second"]
        line += [str(row["best_step"]), "" if seconds is None else f"{seconds:.0f}"]
        line += ["" if speed is None else f"{speed:,.0f}"]
        lines.append(tuple(line))
    breaks = [
        k
        for k, (row, after) in enumerate(itertools.pairwise(results))
        if row["cell"] != after["cell"]
    ]
    device_labels = "; ".join(dict.fromkeys(map(device_label, results)))
    runs = ", ".join(dict.fromkeys(f"{r['experiment']}, preset {r['preset']}" for r in results))
    title = f"{device_labels}; {runs}"
    return Table(title, tuple(headings), lines, frozenset(breaks))


def better(row: Record) -> str:
    """Which direction of a result's metric is better, in a word."""
    return "higher" if METRICS[row["metric"]].higher_is_better else "lower"


def text(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if 1e-3 <= abs(value) < 100 or value == 0 else f"{value:.3g}"
