"""`rnnlab compare`: finished runs in one table and one figure."""

import json
import os
from collections.abc import Sequence
from pathlib import Path

from rnnlab.bundle import bundles_below, is_bundle, open_bundle
from rnnlab.bundle.run_bundle import portable_result
from rnnlab.cli.commands import Compare
from rnnlab.cli.result_sentences import conclusion
from rnnlab.cli.result_table import result_table, run_table
from rnnlab.cli.seed_groups import group_seeds
from rnnlab.errors import DataError
from rnnlab.plotting import require_replaceable, save_figure
from rnnlab.records import Record, read
from rnnlab.runs.grid import run_directory
from rnnlab.runs.result_schema import is_result
from rnnlab.runs.run_dir import RunDirectory
from rnnlab.tables import print_table, print_text, shows_everything

FIGURE_FILE = "comparison.png"

Losses = list[tuple[int, float]]
"""Logged updates of a run and their training losses."""


def compare(command: Compare) -> int:
    """Prints the table and writes the figure. Returns the exit code.

    Raises:
      DataError: a file has no results, or a bundle does not have that of its model.
      ValueError: a directory contains no finished run, the runs have different metrics, or the
        figure's file exists and is not a figure of rnnlab.
    """
    from rnnlab.cli.plot_runs import curves_figure

    if not command.folders:
        raise ValueError("compare needs at least one run directory or file of results; name one")
    found = _each_once([pair for path in command.folders for pair in results_of(path)])
    results = [result for result, _ in found]
    metrics = list(dict.fromkeys(result["metric"] for result in results))
    if len(metrics) != 1:
        raise ValueError(f"the runs must share one metric, got {metrics}; name others")
    out = command.out or _default_file(command.folders)
    require_replaceable(out)
    print_results(results)
    save_figure(curves_figure(results, [training_losses(folder) for _, folder in found]), out)
    print("Written:", out)
    return 0


def print_results(results: Sequence[Record]) -> None:
    """Prints the table of some results, with `--wide` also that of single runs, and sentences."""
    print_table(result_table(results))
    groups = group_seeds(results)
    if repeats := len(results) - sum(len(group.results) for group in groups):
        print_text(f"{repeats} earlier runs of the same setting and seed are not counted.")
    if shows_everything() and len(results) > 1:
        print_table(run_table(results))
    elif any(len(group.results) > 1 for group in groups):
        print_text("Seeds of one setting are one row; --wide also prints each run.")
    print_text(conclusion(results))


def results_of(path: Path) -> list[tuple[Record, Path | None]]:
    """Returns the results of a run or a bundle, of all below a directory, or of a file of records.

    Each is followed by its run directory, or None where that is not known.

    Raises:
      ValueError: the path has no records of results.
    """
    if path.is_file():
        results = list(read(path))
        if not results or not all(map(is_result, results)):
            raise DataError(f"{path} contains no results of runs; name a results.jsonl")
        return [(result, _folder_next_to(path, result)) for result in results]
    if is_bundle(path):
        return [(_bundle_result(path), None)]
    found = [RunDirectory(path).result] if RunDirectory(path).result.exists() else []
    found = found or sorted(path.glob("**/result.json"))
    if not found and (bundles := [x for x in bundles_below(path) if not _is_compressed(x)]):
        return [(_bundle_result(bundle), None) for bundle in bundles]
    if not found:
        raise ValueError(f"{path} contains no finished run; `rnnlab resume` finishes one")
    return [(RunDirectory(file.parent).read_result(), file.parent) for file in found]


def training_losses(folder: Path | None) -> Losses:
    """Returns the training losses that a run logged; none where its directory is not known."""
    if folder is None:
        return []
    return [
        (record["step"], record["loss"])
        for record in RunDirectory(folder).read_metrics()
        if isinstance(record.get("loss"), int | float)
    ]


def _each_once(found: Sequence[tuple[Record, Path | None]]) -> list[tuple[Record, Path | None]]:
    """Returns each result once, with its run directory if one of the paths is of the run."""
    kept: dict[str, tuple[Record, Path | None]] = {}
    for result, folder in found:
        key = json.dumps(portable_result(result), sort_keys=True)
        if kept.get(key, (None, None))[1] is None:
            kept[key] = result, folder
    return list(kept.values())


def _is_compressed(path: Path) -> bool:
    """Whether the model of a bundle was changed after the run whose result the bundle has."""
    return "compressed" in open_bundle(path).description.source


def _bundle_result(path: Path) -> Record:
    """Returns the result of the run that a bundle was made of."""
    if _is_compressed(path):
        raise DataError(
            f"{path} must have the result of its model, and has that of the model before it was "
            "compressed; read its card.md, which has both losses"
        )
    result = open_bundle(path).description.source.get("result")
    if not is_result(result):
        raise DataError(
            f"{path} must have the result of its run, and its run was not finished; finish it, and "
            "make the bundle again"
        )
    return result


def _folder_next_to(results: Path, result: Record) -> Path | None:
    """Returns the directory of a run whose result is in a file next to it, or None."""
    folder = run_directory(results.parent, result["grid"])
    if not os.path.exists(RunDirectory(folder).result):
        return None
    return folder if RunDirectory(folder).read_result() == result else None


def _default_file(folders: Sequence[Path]) -> Path:
    """Returns the figure's file in the directory that is compared, or in the working directory.

    A bundle has no other files than its own.
    """
    is_one_directory = len(folders) == 1 and folders[0].is_dir() and not is_bundle(folders[0])
    return folders[0] / FIGURE_FILE if is_one_directory else Path(FIGURE_FILE)
