"""Figures of benchmark records."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from rnnlab.bench.speedup_table import (
    PAPER,
    USER,
    describe,
    minimal_reference_seconds,
    reference_cell,
)
from rnnlab.bench.torch_programs import LOG_SPACE
from rnnlab.plotting import cell_label, series_colors
from rnnlab.records import Record
from rnnlab.registry import cell_entries
from rnnlab.scan import BACKENDS
from rnnlab.tables import device_label, format_ms, format_ratio

LINE_STYLES = {"rnnlab": "-", USER: "-", "flax.nnx.RNN": "--", "Python loop": ":", "torch": "-."}
MARKERS = {"rnnlab": "o", USER: "X", "flax.nnx.RNN": "^", "Python loop": "v", "torch": "D"}
BACKEND_MARKERS = {"associative": "s", "pallas": "P"}
"""Markers of those of rnnlab's variants that are not the plain loop."""
LABELS = {
    ("rnnlab", "scan"): "rnnlab",
    ("rnnlab", "sequential"): "rnnlab, sequential scan",
    ("rnnlab", "associative"): "rnnlab, parallel scan",
    ("rnnlab", "pallas"): "rnnlab, GPU kernel",
    ("flax.nnx.RNN", "scan"): "Flax (nnx.RNN)",
    ("Python loop", "step"): "Python loop over time steps",
    ("torch", "native"): "PyTorch",
    ("torch", "cuDNN"): "PyTorch (cuDNN)",
    ("torch", LOG_SPACE): "PyTorch, the paper's log-space scan",
}
"""What a variant is called in a legend, by implementation and backend."""
PAPER_LABEL = "the paper: Python loop on a T4 GPU"
RATIO_TITLE = "Time relative to the minimal cell (minGRU or minLSTM)"


def speedup_figure(measured: Sequence[Record]) -> Figure:
    """Step time against length, one panel per family of cells, and the ratios to minimal cells.

    It shows the training step if that was measured, otherwise the forward pass. A single length is
    drawn as one line per variant. Of several measurements of a variant the last one counts.
    """
    pass_ = "train" if any(r["pass"] == "train" for r in measured) else measured[0]["pass"]
    measured = [r for r in measured if r["pass"] == pass_]
    lengths = sorted({r["length"] for r in measured})
    families = _families(_newest(measured))
    compared = [
        r
        for r in _newest(measured)
        if r["cell"] != reference_cell(r) and minimal_reference_seconds(measured, r)
    ]
    count = len(families) + bool(compared)
    figure, panels = _rows_of_panels(count, has_legends=len(lengths) > 1)
    colors = series_colors(r["cell"] for r in measured)
    step = "training step" if pass_ == "train" else "forward pass"
    for axes, (title, chosen) in zip(panels, families.items(), strict=False):
        times = {
            key: [(r["length"], 1e3 * r["step_seconds"]) for r in s] for key, s in _series(chosen)
        }
        _draw_series(axes, times, colors, lambda ms: f"{format_ms(ms / 1e3)} ms", "time (ms)")
        axes.set_title(f"{title}: {step} of one layer", fontsize=11)
    if compared:
        _ratio_panel(panels[-1], measured, compared, colors)
    figure.suptitle(describe(measured), fontsize=10)
    return figure


def _rows_of_panels(count: int, has_legends: bool) -> tuple[Figure, list[Axes]]:
    """Returns a figure and its panels, in one row or in two rows without an empty place."""
    columns = count if count < 4 else -(-count // 2)
    rows = [columns, count - columns] if count > columns else [columns]
    height = 5.6 if has_legends else 4.2
    figure = Figure(figsize=(6.5 * columns, height * len(rows) + 0.3), layout="constrained")
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    return figure, [
        axes
        for part, in_row in zip(parts, rows, strict=True)
        for axes in part.subplots(1, in_row, squeeze=False)[0]
    ]


def _newest(measured: Sequence[Record]) -> list[Record]:
    """Returns the last record of each variant and length."""
    keys = ("cell", "implementation", "backend", "length")
    return list({tuple(r[key] for key in keys): r for r in measured}.values())


def _draw_series(axes: Axes, series: dict, colors: dict[str, str], show, label: str) -> None:
    """Draws values against length, or for a single length one row per variant.

    Args:
      axes: where to draw.
      series: points (length, value) by cell, implementation and backend.
      colors: colors by cell.
      show: formats a value.
      label: label of the values.
    """
    lengths = sorted({length for points in series.values() for length, _ in points})
    if len(lengths) > 1:
        for key, points in series.items():
            axes.plot(*zip(*points, strict=True), **_style(colors, *key))
        axes.set(xlabel="sequence length (time steps)", ylabel=label)
        _log_log(axes, lengths)
        axes.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14))
        return
    styles = [_style(colors, *key) for key in series]
    for row, (style, ((_, value),)) in enumerate(zip(styles, series.values(), strict=True)):
        axes.plot([value], [row], **style)
        offset = {"xytext": (8, 0), "textcoords": "offset points", "va": "center", "fontsize": 8}
        axes.annotate(show(value), (value, row), **offset)
    axes.set_yticks(range(len(styles)), [style["label"] for style in styles], fontsize=8)
    axes.set(ylim=(len(styles) - 0.5, -0.5), xlabel=f"{label} at length {lengths[0]:,}")
    values = [value for ((_, value),) in series.values()]
    # The numbers need space to the right of the markers.
    axes.set(
        xscale="log",
        xlim=(min(values) / 1.3, max(values) * (max(values) / min(values)) ** 0.3 * 1.5),
    )
    _log_ticks(axes.xaxis, *axes.get_xlim())
    axes.grid(alpha=0.35)


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
    ratios = {
        key: [
            (r["length"], r["step_seconds"] / minimal_reference_seconds(measured, r))
            for r in series
        ]
        for key, series in _series(compared)
    }
    points = {(r["cell"], r["length"]) for r in compared if r["pass"] == "train"}
    for cell in dict.fromkeys(cell for cell, _ in PAPER):
        paper = [(n, ratio) for (c, n), ratio in PAPER.items() if (c, n) in points and c == cell]
        if paper:
            ratios[cell, PAPER_LABEL, ""] = paper
    _draw_series(axes, ratios, colors, format_ratio, "ratio of times")
    if len({length for found in ratios.values() for length, _ in found}) == 1:
        axes.set_xlim(left=min(0.9, axes.get_xlim()[0]))
        axes.axvline(1, color="black", linewidth=0.8)
    else:
        axes.axhline(1, color="black", linewidth=0.8)
    axes.set_title(RATIO_TITLE, fontsize=11)


def scan_figure(measured: Sequence[Record]) -> Figure:
    """Time relative to the bandwidth bound against length, one panel per pass."""
    figure = Figure(figsize=(13, 5.6), layout="constrained")
    passes = list(dict.fromkeys(r["pass"] for r in measured))
    panels = figure.subplots(1, len(passes), sharey=True, squeeze=False)[0]
    # The same colors whichever backends were measured.
    colors = series_colors([*BACKENDS, *(r["backend"] for r in measured)])
    markers = dict(zip(dict.fromkeys(_sizes(r) for r in measured), "os^Dv", strict=False))
    for axes, pass_ in zip(panels, passes, strict=True):
        chosen = [r for r in measured if r["pass"] == pass_]
        keyed = sorted(chosen, key=lambda r: (r["backend"], _sizes(r), r["length"]))
        for (backend, sizes), group in groupby(keyed, key=lambda r: (r["backend"], _sizes(r))):
            series = list({r["length"]: r for r in group}.values())
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
            newest = {r[key]: scale * r[value] for r in chosen if r["layer"] == layer}
            points = sorted(newest.items())
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
    handles, names = panels[0][0].get_legend_handles_labels()
    columns = max(len(names), 1)
    figure.legend(handles, names, loc="outside lower center", ncols=columns, fontsize=9)
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
    """Returns the look and the label of a variant."""
    if implementation == PAPER_LABEL:
        mark = {"marker": "*", "markersize": 12, "linestyle": "none", "color": colors[cell]}
        return mark | {"label": f"{cell_label(cell)}, {PAPER_LABEL}"}
    own = LABELS.get((implementation, backend), f"{implementation}, {backend}")
    return {
        "color": colors[cell],
        "linestyle": LINE_STYLES[implementation],
        "marker": BACKEND_MARKERS.get(backend, MARKERS[implementation]),
        "markersize": 5,
        "label": cell_label(cell) if implementation == USER else f"{cell_label(cell)}, {own}",
    }


def _sizes(record: Record) -> str:
    return f"batch {record['batch_size']} × {record['width']} features"


def _log_log(axes: Axes, sizes: Sequence[int]) -> None:
    axes.set(xscale="log", yscale="log", xticks=sizes, xticklabels=[f"{n:,}" for n in sizes])
    axes.xaxis.set_minor_formatter(NullFormatter())
    _log_ticks(axes.yaxis, *axes.get_ylim())
    axes.grid(which="major", alpha=0.35)


def _log_ticks(axis: Axis, low: float, high: float) -> None:
    """Labels some values of a logarithmic axis as plain numbers, however short it is."""
    if high < 10 * low:
        axis.set_major_locator(MaxNLocator(6, steps=(1, 2, 5, 10)))
        axis.set_minor_locator(NullLocator())
    elif high < 200 * low:  # there would be only one or two powers of ten
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_formatter(NullFormatter())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
