"""Figures of benchmark records."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from rnnlab.bench.speedup_table import (
    PAPER,
    USER,
    describe,
    minimal_reference_seconds,
    reference_cell,
)
from rnnlab.plotting import cell_label, series_colors
from rnnlab.records import Record
from rnnlab.registry import cell_entries
from rnnlab.tables import device_label

LINE_STYLES = {"rnnlab": "-", USER: "-", "flax.nnx.RNN": "--", "Python loop": ":", "torch": "-."}


def speedup_figure(measured: Sequence[Record]) -> Figure:
    """Step time against length, one panel per family of cells, and the ratios to minimal cells.

    It shows the training step if that was measured, otherwise the forward pass.
    """
    pass_ = "train" if any(r["pass"] == "train" for r in measured) else measured[0]["pass"]
    measured = [r for r in measured if r["pass"] == pass_]
    lengths = sorted({r["length"] for r in measured})
    families = _families(measured)
    compared = [
        r
        for r in measured
        if r["cell"] != reference_cell(r) and minimal_reference_seconds(measured, r)
    ]
    count = len(families) + bool(compared)
    columns = count if count < 4 else 2
    rows = -(-count // columns)
    figure = Figure(figsize=(6.5 * columns, 5.6 * rows), layout="constrained")
    panels = list(figure.subplots(rows, columns, squeeze=False).flat)
    colors = series_colors(r["cell"] for r in measured)
    step = "training step" if pass_ == "train" else "forward pass"
    for axes, (title, chosen) in zip(panels, families.items(), strict=False):
        for key, series in _series(chosen):
            times = [1e3 * r["step_seconds"] for r in series]
            axes.plot([r["length"] for r in series], times, **_style(colors, *key))
        axes.set(title=f"{title}: {step} of one layer", ylabel="time (ms)")
    if compared:
        _ratio_panel(panels[len(families)], measured, compared, colors)
    for axes in panels[:count]:
        axes.set_xlabel("sequence length (time steps)")
        _log_log(axes, lengths)
        axes.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    for axes in panels[count:]:
        axes.remove()
    figure.suptitle(describe(measured), fontsize=10)
    return figure


def _families(measured: Sequence[Record]) -> dict[str, list[Record]]:
    """The records of each panel: a cell with those compared with it, then a user's cells."""
    entries, families = cell_entries().values(), {}
    for entry in entries:
        if entry.compared_with is None:
            members = [entry, *(e for e in entries if e.compared_with == entry.name)]
            names = [member.name for member in members]
            chosen = [r for r in measured if r["cell"] in names]
            if chosen:
                families[" and ".join(member.label for member in members)] = chosen
    # Panels with several cells come first.
    families = dict(sorted(families.items(), key=lambda family: " and " not in family[0]))
    if own := [r for r in measured if r["implementation"] == USER]:
        minimal = [r for r in measured if (r["cell"], r["implementation"]) == ("mingru", "rnnlab")]
        families["Your cells"] = minimal + own
    return families


def _ratio_panel(
    axes: Axes, measured: Sequence[Record], compared: Sequence[Record], colors: dict[str, str]
) -> None:
    for key, series in _series(compared):
        ratios = [r["step_seconds"] / minimal_reference_seconds(measured, r) for r in series]
        axes.plot([r["length"] for r in series], ratios, **_style(colors, *key))
    axes.axhline(1, color="black", linewidth=0.8)
    points = {(r["cell"], r["length"]) for r in compared if r["pass"] == "train"}
    for cell in dict.fromkeys(cell for cell, _ in PAPER):
        paper = {n: ratio for (c, n), ratio in PAPER.items() if c == cell and (c, n) in points}
        if paper:
            mark = {"marker": "*", "markersize": 12, "linestyle": "none", "color": colors[cell]}
            label = f"{cell_label(cell)}: paper, Python loop on a T4 GPU"
            axes.plot(list(paper), list(paper.values()), label=label, **mark)
    axes.set(title="Time relative to the minimal cell", ylabel="ratio to rnnlab's minimal cell")


def scan_figure(measured: Sequence[Record]) -> Figure:
    """Time relative to the bandwidth bound against length, one panel per pass."""
    figure = Figure(figsize=(13, 5.6), layout="constrained")
    passes = list(dict.fromkeys(r["pass"] for r in measured))
    panels = figure.subplots(1, len(passes), sharey=True, squeeze=False)[0]
    colors = series_colors(r["backend"] for r in measured)
    markers = dict(zip(dict.fromkeys(_sizes(r) for r in measured), "os^Dv", strict=False))
    for axes, pass_ in zip(panels, passes, strict=True):
        chosen = [r for r in measured if r["pass"] == pass_]
        keyed = sorted(chosen, key=lambda r: (r["backend"], _sizes(r), r["length"]))
        for (backend, sizes), group in groupby(keyed, key=lambda r: (r["backend"], _sizes(r))):
            series = list(group)
            axes.plot(
                [r["length"] for r in series],
                [r["ratio"] for r in series],
                color=colors[backend],
                marker=markers[sizes],
                label=f"{backend}, {sizes}",
            )
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set(title=pass_, xlabel="sequence length (time steps)")
        _log_log(axes, sorted({r["length"] for r in chosen}))
    panels[0].set_ylabel("time relative to the bandwidth bound")
    panels[-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    figure.suptitle(f"{device_label(measured[0])}; {measured[0]['dtype']}", fontsize=10)
    return figure


SCALING_PANELS = (
    # axis, key of the record, label and scale of the value, title
    ("length", "step_seconds", "time per step (ms)", 1e3, "Time of a training step"),
    ("length", "temp_bytes", "XLA temp memory (MB)", 1e-6, "Memory of a training step"),
    ("length", "state_bytes", "state per sequence (bytes)", 1, "State carried between time steps"),
    ("length", "compile_seconds", "compile time (s)", 1, "Compilation"),
    ("batch", "tokens_per_second", "tokens per second", 1, "Throughput by batch size"),
    ("width", "step_seconds", "time per step (ms)", 1e3, "Time by width"),
)
SIZE_LABELS = {
    "length": ("length", "sequence length (time steps)"),
    "batch": ("batch_size", "batch size (sequences)"),
    "width": ("width", "width (features)"),
}


def scaling_figure(measured: Sequence[Record]) -> Figure:
    """Cost of a layer's training step along each axis that was measured."""
    figure = Figure(figsize=(16, 9.2), layout="constrained")
    panels = figure.subplots(2, 3)
    colors = series_colors(r["layer"] for r in measured)
    for axes, (axis, value, label, scale, title) in zip(panels.flat, SCALING_PANELS, strict=True):
        key, size_label = SIZE_LABELS[axis]
        chosen = [r for r in measured if r["axis"] == axis and r[value]]
        names_at: dict[tuple[float, float], list[str]] = {}
        for layer, color in colors.items():
            points = sorted((r[key], scale * r[value]) for r in chosen if r["layer"] == layer)
            if points:
                line = {"color": color, "marker": "o", "label": cell_label(layer)}
                axes.plot(*zip(*points, strict=True), **line)
                names_at.setdefault(points[0], []).append(cell_label(layer))
        if value == "state_bytes":  # lines of equal states hide each other: name them
            for point, names in names_at.items():
                offset = {"xytext": (0, 6), "textcoords": "offset points", "fontsize": 8}
                axes.annotate(", ".join(names), point, **offset)
        axes.set(title=title, xlabel=size_label, ylabel=label)
        if chosen:
            _log_log(axes, sorted({r[key] for r in chosen}))
    panels[0][0].legend(fontsize=9)
    figure.suptitle(f"{device_label(measured[0])}; {measured[0]['dtype']}", fontsize=10)
    return figure


def _series(measured: Sequence[Record]) -> Iterator[tuple[tuple[str, str, str], list[Record]]]:
    """The records of each line of a plot, in the order of their first records."""

    def key(record):
        return record["cell"], record["implementation"], record["backend"]

    order = list(dict.fromkeys(map(key, measured)))
    ordered = sorted(measured, key=lambda r: (order.index(key(r)), r["length"]))
    for k, group in groupby(ordered, key):
        yield k, list(group)


def _style(
    colors: dict[str, str], cell: str, implementation: str, backend: str
) -> dict[str, object]:
    only_backend = implementation in ("Python loop", "flax.nnx.RNN", USER) or backend == "native"
    label = f"{cell_label(cell)}: {implementation}"
    return {
        "color": colors[cell],
        "linestyle": LINE_STYLES[implementation],
        "marker": "s" if backend == "associative" else "o",
        "markersize": 4.5,
        "label": label if only_backend else f"{label}, {backend}",
    }


def _sizes(record: Record) -> str:
    return f"batch {record['batch_size']} × {record['width']} features"


def _log_log(axes: Axes, sizes: Sequence[int]) -> None:
    axes.set(xscale="log", yscale="log", xticks=sizes, xticklabels=[f"{n:,}" for n in sizes])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    if high < 200 * low:  # there would be only one or two powers of ten
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.10g}"))
    axes.grid(which="major", alpha=0.35)
