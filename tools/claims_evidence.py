"""Values, commands and the limits of the evidence of each claim, computed from records."""

from collections.abc import Sequence
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from rnnlab.cli.benchmarks import ALIASES
from rnnlab.cli.seed_groups import metric_value
from rnnlab.records import Record
from rnnlab.tables import device_label

ROOT = Path(__file__).parent.parent


class Claim(NamedTuple):
    """A published claim and what was measured: the number that it needs, and where it is from."""

    claim: str
    original_setting: str
    in_original_setting: str
    against_baseline: str
    limits: str
    command: str
    records: str
    verdict: str


def reported_by_cell(records: Sequence[Record]) -> dict[str, float]:
    """The reported value of each cell."""
    return {record["cell"]: metric_value(record) for record in records}


def mean_by_depth(records: Sequence[Record]) -> dict[int, float]:
    """The mean of the reported values over seeds, by number of layers."""
    values: dict[int, list[float]] = {}
    for record in records:
        values.setdefault(record["model"]["depth"], []).append(metric_value(record))
    return {depth: mean(found) for depth, found in sorted(values.items())}


def training_limits(records: Sequence[Record]) -> str:
    """Seeds, tuning, parameters, and the set that chose the step of training results."""
    seeds: dict[str, set[int]] = {}
    for record in records:
        setting = {k: v for k, v in record["grid"].items() if k != "train.seed"}
        seeds.setdefault(f"{record['experiment']} {setting}", set()).add(record["seed"])
    counts = sorted({len(found) for found in seeds.values()})
    tuned = {
        name
        for record in records
        for name in record["grid"]
        if name.startswith("train.") and name != "train.seed"
    }
    sizes = [record["parameters"] for record in records]
    return "; ".join(
        (
            " or ".join(map(str, counts)) + (" seed" if counts == [1] else " seeds"),
            f"tuned: {', '.join(sorted(tuned))}" if tuned else "nothing tuned",
            f"{_thousands(min(sizes))} to {_thousands(max(sizes))} parameters",
            _selection(records),
        )
    )


def _thousands(count: int) -> str:
    return f"{count / 1000:,.0f}k" if count < 1e6 else f"{count / 1e6:,.1f}M"


def _selection(records: Sequence[Record]) -> str:
    """The first set chooses the best step, the last is reported."""
    same = {len(record["metrics"]) == 1 for record in records}
    if same == {True}:
        return "the reported set chose the step"
    return "a validation set chose the step" + (", partly" if True in same else "")


def timing_limits(records: Sequence[Record]) -> str:
    """Machine and timed rounds of measured times."""
    machines = {device_label(record) for record in records}
    repeats = sorted({record["repeats"] for record in records})
    rounds = " or ".join(map(str, repeats)) + (
        " timed round" if repeats == [1] else " timed rounds"
    )
    return f"measured on {' and '.join(sorted(machines))}; {rounds}"


def current_command(records: Sequence[Record]) -> str:
    """The command that measured the records, with today's paths and names of benchmarks."""
    words = records[0]["command"].split()
    if "--out" in words:
        at = words.index("--out")
        del words[at : at + 2]
    if words[:2] == ["rnnlab", "bench"]:
        words[2] = ALIASES.get(words[2], words[2])
    words = [_current_path(word) if word.endswith(".py") else word for word in words]
    if words[0].endswith(".py"):
        words.insert(0, "python")
    return f"`{' '.join(words)}`"


def _current_path(script: str) -> str:
    (path,) = (ROOT / "experiments").glob(f"*/{Path(script).name}")
    return str(path.relative_to(ROOT))
