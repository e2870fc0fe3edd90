"""The best of several runs, which commands on one model use if a directory of runs is named."""

import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rnnlab.bundle import bundles_below
from rnnlab.cli.seed_groups import better_direction, format_metric, metric_value
from rnnlab.errors import CheckpointError
from rnnlab.records import Record
from rnnlab.runs.locate import find_run, runs_below
from rnnlab.runs.run_dir import RunDirectory


class BestRun(NamedTuple):
    """A run and its value on the validation set, such as "valid rmse 10.8287"."""

    folder: Path
    value: str


def choose_run(path: Path) -> Path:
    """Returns a run's directory: `path`, the only run below it, or the best finished one.

    Where there are no runs it may be a bundle: `path`, or the only one below it.

    The best one has the best value on the validation set, which has no part in the reported
    result. It is named on stderr.

    Raises:
      CheckpointError: there are several runs below it, and none of them is the best: none is
        finished, or they have different data or metrics. A result is corrupt. There are several
        bundles below it.
    """
    runs = runs_below(path)
    if not runs and (bundles := bundles_below(path)):
        return _only_bundle(path, bundles)
    finished = [run for run in runs if RunDirectory(run).result.exists()]
    if len(runs) < 2:
        return find_run(path)
    best = best_run([(RunDirectory(run).read_result(), run) for run in finished])
    if best is None:
        return find_run(path)
    of = f"{len(runs)} runs" if len(finished) == len(runs) else f"{len(finished)} finished runs"
    print(f"Using {best.folder}, the best of {of} by {best.value}", file=sys.stderr, flush=True)
    return best.folder


def _only_bundle(path: Path, bundles: Sequence[Path]) -> Path:
    if len(bundles) > 1:
        names = ", ".join(bundle.name for bundle in bundles)
        raise CheckpointError(
            f"{path} contains {len(bundles)} bundles: {names}; name one of them, as in {bundles[0]}"
        )
    return bundles[0]


def best_run(found: Sequence[tuple[Record, Path]]) -> BestRun | None:
    """Returns the run with the best finite value on the validation set.

    None if no run has one, or if the runs have different data or metrics.

    Args:
      found: results of runs and their directories.
    """
    if len({(result["metric"], result["data_fingerprint"]) for result, _ in found}) != 1:
        return None
    first = found[0][0]
    name = next(iter(first["metrics"]))
    values = [(metric_value(result, name), folder) for result, folder in found]
    finite = [pair for pair in values if pair[0] is not None and math.isfinite(pair[0])]
    if not finite:
        return None
    choose = max if better_direction(first) == "higher" else min
    value, folder = choose(finite, key=lambda pair: pair[0])
    return BestRun(folder, f"{name} {first['metric']} {format_metric(value)}")
