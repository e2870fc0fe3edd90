"""`rnnlab compare`: finished runs in one table and one figure."""

import itertools
from collections.abc import Sequence
from pathlib import Path

from rnnlab.cli.commands import Compare
from rnnlab.errors import DataError
from rnnlab.records import Record, read
from rnnlab.runs.result_schema import is_result
from rnnlab.runs.run_dir import RunDirectory
from rnnlab.tables import Table, device_label, print_table, print_text
from rnnlab.train.metrics import METRICS


def compare(command: Compare) -> int:
    """Prints the table and writes the figure. Returns the exit code.

    Raises:
      ValueError: a directory contains no finished run, or the runs have different metrics.
    """
    from rnnlab.cli.plot_runs import curves_figure
    from rnnlab.cli.result_sentences import conclusion
    from rnnlab.plotting import save_figure

    if not command.folders:
        raise ValueError("compare needs at least one run directory or file of results; name one")
    results = [result for path in command.folders for result in results_of(path)]
    metrics = list(dict.fromkeys(result["metric"] for result in results))
    if len(metrics) != 1:
        raise ValueError(f"the runs must share one metric, got {metrics}; name others")
    print_table(result_table(results))
    print_text(conclusion(results))
    save_figure(curves_figure(results), command.out)
    print("Written:", command.out)
    return 0


def results_of(path: Path) -> list[Record]:
    """Returns the results of a run, of all runs below a directory, or of a file of records.

    Raises:
      ValueError: the path has no records of results.
    """
    if path.is_file():
        results = list(read(path))
        if not results or not all(map(is_result, results)):
            raise DataError(f"{path} contains no results of runs; name a results.jsonl")
        return results
    found = [RunDirectory(path).result] if RunDirectory(path).result.exists() else []
    found = found or sorted(path.glob("**/result.json"))
    if not found:
        raise ValueError(f"{path} contains no finished run; `rnnlab resume` finishes one")
    return [RunDirectory(file.parent).read_result() for file in found]


def result_table(results: Sequence[Record]) -> Table:
    """Returns a table with one row per run: its grid settings, size, metrics, baselines and speed.

    Metrics are those of the last evaluation set.
    """
    settings = list(dict.fromkeys(name for result in results for name in result["grid"]))
    sets = [list(result["metrics"])[-1] for result in results]
    scores = [result["metrics"][name] for result, name in zip(results, sets, strict=True)]
    metrics = list(dict.fromkeys(metric for score in scores for metric in score))
    baselines = dict.fromkeys(
        (name, metric)
        for result in results
        for name, values in result["baselines"].items()
        for metric in values
    )
    set_names = "/".join(dict.fromkeys(sets))
    headings = [name.rpartition(".")[2] for name in settings]
    headings += ["parameters", "state, bytes", *(f"{set_names} {metric}" for metric in metrics)]
    headings += [f"{name} ({metric})" for name, metric in baselines]
    headings += ["best step", "seconds to best step", "tokens/s"]
    lines = []
    for result, score in zip(results, scores, strict=True):
        line = [format_setting(result["grid"].get(name, "")) for name in settings]
        line += [f"{result['parameters']:,}", f"{result['state_bytes']:,}"]
        line += [format_metric(score.get(metric)) for metric in metrics]
        line += [format_metric(result["baselines"].get(n, {}).get(m)) for n, m in baselines]
        seconds, speed = result["seconds_to_best"], result["tokens_per_second"]
        line += [str(result["best_step"]), "" if seconds is None else f"{seconds:.0f}"]
        line += ["" if speed is None else f"{speed:,.0f}"]
        lines.append(tuple(line))
    breaks = frozenset(
        k
        for k, (result, after) in enumerate(itertools.pairwise(results))
        if result["cell"] != after["cell"]
    )
    devices = "; ".join(dict.fromkeys(map(device_label, results)))
    presets = dict.fromkeys(f"{r['experiment']}, preset {r['preset']}" for r in results)
    title = f"{devices}; {', '.join(presets)}"
    main = results[0]["metric"]
    ranked = [(name, main) for name in known_baselines(results[0])]
    weaker = [*(pair for pair in baselines if pair not in ranked), *ranked[:-1]]
    optional = [
        "state, bytes",
        *(f"{set_names} {metric}" for metric in metrics if metric != main),
        *(f"{name} ({metric})" for name, metric in weaker),
        *("seconds to best step", "parameters", "best step", "tokens/s"),
    ]
    return Table(title, tuple(headings), lines, breaks, tuple(optional))


def known_baselines(result: Record) -> dict[str, float]:
    """Returns the baselines that have the result's metric, by name, the best one last."""
    metric = result["metric"]
    found = {n: v[metric] for n, v in result["baselines"].items() if v.get(metric) is not None}
    lower_is_better = better_direction(result) == "lower"
    return dict(sorted(found.items(), key=lambda item: item[1], reverse=lower_is_better))


def better_direction(result: Record) -> str:
    """Returns "higher" or "lower": which values of the result's metric are better."""
    return "higher" if METRICS[result["metric"]].higher_is_better else "lower"


def reported_value(result: Record) -> float | None:
    """Returns the metric of a result on the set that is reported, its last; None if it is NaN."""
    return list(result["metrics"].values())[-1][result["metric"]]


def format_setting(value: object) -> str:
    """Returns a setting as text; the values of a list are separated by spaces."""
    return " ".join(map(str, value)) if isinstance(value, list) else str(value)


def format_metric(value: float | None) -> str:
    """Returns a metric with 4 decimals or 3 significant digits, and nothing for None.

    >>> format_metric(0.5), format_metric(123456.0), format_metric(None)
    ('0.5000', '1.23e+05', '')
    """
    if value is None:
        return ""
    return f"{value:.4f}" if 1e-3 <= abs(value) < 100 or value == 0 else f"{value:.3g}"
