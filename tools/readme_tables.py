"""The two short tables of the README: training times and training results."""

import re
from collections.abc import Sequence

from page_tables import CELLS, by_cell  # next to this file

from rnnlab.bench import speedup_table
from rnnlab.cli.summary_table import summary_table
from rnnlab.records import Record
from rnnlab.registry import LABELS, minimal_counterparts
from rnnlab.tables import Table, device_labels, format_ms, format_ratio

IMPLEMENTATIONS = {
    "rnnlab, kernel": ("rnnlab", "pallas"),
    "rnnlab, compiled loop": ("rnnlab", "scan", "sequential"),
    "rnnlab, parallel scan": ("rnnlab", "associative"),
    "rnnlab, cuDNN": ("rnnlab", "cudnn"),
    "naive JAX": ("naive JAX", "associative_scan"),
    "flax.nnx.RNN": ("flax.nnx.RNN", "scan"),
    "torch": ("torch", "native", "cuDNN", "log space"),
    "Python loop": ("Python loop", "step"),
}
"""Label of a table row: the implementation and its backends; "log space" is the paper's form."""

RECURRENT = CELLS[:5]
TASKS = {
    "adding problem, 600 steps": ("adding", {}),
    "character language model": ("char_lm", {}),
    "Bach chorales": ("chorales", {}),
    "copy memory": ("copy_memory", {}),
    "CO2 forecast": ("forecasting", {}),
    "nested list operations": ("listops", {}),
    "associative recall": ("mqar", {}),
    "parity, decay in (0, 1)": ("parity", {"decay_range": [0, 1]}),
    "parity, decay in (-1, 1)": ("parity", {"decay_range": [-1, 1]}),
    "cycle navigation": ("formal_languages", {"language": "cycle_navigation"}),
    "selective copying, 3 layers": ("selective_copying", {"depth": 3}),
    "digits, one pixel per step": ("sequential_digits", {}),
    "speech by CTC": ("speech", {}),
    "pronunciation of unseen words": ("pronunciation", {}),
    "English to French": ("translation", {}),
    "next item of a session": ("sessions", {}),
}
"""Label of a table row: the experiment and the settings of its grid."""


def speedup(records: Sequence[Record], lengths: Sequence[int] = ()) -> Table:
    """Milliseconds of a training step, one column per cell, and the fair factors.

    Args:
      records: of the speedup benchmark.
      lengths: those of the table; without any, all that have a Python loop or are the longest.
    """
    train = [r for r in records if r["pass"] == "train"]
    lines, ends = [], set()
    cells = [cell for cell in CELLS if any(r["cell"] == cell for r in train)]
    for length in lengths or dict.fromkeys(r["length"] for r in train):
        found = [r for r in train if r["length"] == length]
        table = by_cell(
            sorted(found, key=implementation_position),
            "",
            "",
            lambda r: f"{r['length']:,}: {implementation(r)}",
            lambda r: format_ms(r["step_seconds"]),
        )
        lines += table.lines
        label = f"{length:,}: **fastest classic / minimal**"
        lines.append((label, *_factors(found, cells)))
        ends.add(len(lines) - 1)
    headings = ("length, training step in ms", *(LABELS[cell] for cell in cells))
    return Table(speedup_table.describe(train), headings, lines, frozenset(ends))


def implementation(record: Record) -> str:
    """Returns the label of an implementation and its backend."""
    found = record["implementation"], record["backend"]
    return next(
        label
        for label, (name, *backends) in IMPLEMENTATIONS.items()
        if found[0] == name and found[1] in backends
    )


def implementation_position(record: Record) -> int:
    return list(IMPLEMENTATIONS).index(implementation(record))


def _factors(records: Sequence[Record], cells: Sequence[str]) -> list[str]:
    """Time of the fastest implementation of each classic cell over that of the minimal cell."""
    factors = []
    for cell in cells:
        ours = [r for r in records if r["cell"] == cell]
        fastest = min(ours, key=lambda r: r["step_seconds"])
        minimal = speedup_table.minimal_reference_seconds(records, fastest)
        is_classic = cell in minimal_counterparts()
        ratio = fastest["step_seconds"] / minimal if minimal and is_classic else None
        factors.append("" if ratio is None else format_ratio(ratio))
    return factors


def results(records: Sequence[Record]) -> Table:
    """One row per task: the mean over seeds of each cell, next to the best trivial baseline."""
    lines, used = [], []
    for label, (experiment, setting) in TASKS.items():
        chosen = [r for r in records if r["experiment"] == experiment and _matches(r, setting)]
        used += chosen
        # The label names the setting, so that all cells share one row. Fingerprints of the same
        # data differ between the two versions of the format.
        same = {"grid": {}, "data_fingerprint": ""}
        summary = summary_table([r | same for r in chosen], {})
        (line,) = summary.lines
        values = dict(zip(summary.headings, line, strict=True))
        cells = (re.sub(r" \(.*", "", values.get(LABELS[cell], "")) for cell in RECURRENT)
        metric, baseline = line[2:4]
        metric = metric.replace(", lower is better", " ↓").replace(", higher is better", " ↑")
        lines.append((f"{label} ({metric})", *cells, baseline, values["seeds"]))
    headings = ("task (metric)", *map(LABELS.get, RECURRENT), "best trivial baseline", "seeds")
    return Table(device_labels(used), headings, lines, frozenset())


def _matches(record: Record, setting: dict) -> bool:
    varied = {name.rpartition(".")[2]: value for name, value in record["grid"].items()}
    if record["experiment"] == "parity":
        varied.setdefault("decay_range", [0, 1])
    is_plain = record["preset"] == "cpu" and not record["data"].get("path")
    return is_plain and setting == {k: v for k, v in varied.items() if k not in ("cell", "seed")}
