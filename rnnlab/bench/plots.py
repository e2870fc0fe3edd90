"""Result rows as pictures."""

from collections.abc import Sequence
from itertools import groupby

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from rnnlab.bench.speedup_table import CLASSIC_COUNTERPART, OWN, PAPER, describe, minimal_seconds
from rnnlab.plotting import cell_label, series_colors
from rnnlab.records import Record
from rnnlab.registry import cell_entries
from rnnlab.tables import machine

STYLES = {"rnnlab": "-", OWN: "-", "flax.nnx.RNN": "--", "Python loop": ":", "torch": "-."}


def _families() -> dict[str, tuple[str, ...]]:
    """The panels of the speedup figure: each cell with those that are compared with it."""
    families = {}
    for name, entry in cell_entries().items():
        if entry.compared_with is None:
            members = [e for e in cell_entries().values() if e.compared_with == name]
            title = " and ".join([entry.label, *(e.label for e in members)])
            families[title] = (name, *(e.name for e in members))
    # Panels with several cells come first.
    return dict(sorted(families.items(), key=lambda family: -len(family[1])))


FAMILIES = _families()


def speedup_figure(rows: Sequence[Record]) -> Figure:
    """Step time against length by family, and the times that a classic step takes a minimal one's.

    Draws the training step where it was measured, else the forward pass.
    """
    pass_ = "train" if any(r["pass"] == "train" for r in rows) else rows[0]["pass"]
    rows = [r for r in rows if r["pass"] == pass_]
    lengths = sorted({r["length"] for r in rows})
    what = "training step" if pass_ == "train" else "forward pass"
    families = {
        title: chosen
        for title, cells in FAMILIES.items()
        if (chosen := [r for r in rows if r["cell"] in cells])
    }
    if own := [r for r in rows if r["implementation"] == OWN]:
        minimal = [r for r in rows if (r["cell"], r["implementation"]) == ("mingru", "rnnlab")]
        families["Your own cells"] = minimal + own
    compared = [
        r
        for r in rows
        if (r["cell"] in CLASSIC_COUNTERPART or r["implementation"] == OWN)
        and minimal_seconds(rows, r)
    ]
    count = len(families) + bool(compared)
    across = min(count, 2)
    down = -(-count // 2)
    figure = Figure(figsize=(6.5 * across, 4.9 * down), layout="constrained")
    panels = list(figure.subplots(down, across, squeeze=False).flat)
    for axes, (title, chosen) in zip(panels, families.items(), strict=False):
        for key, line in _lines(chosen):
            axes.plot(
                [r["length"] for r in line], [1e3 * r["step_seconds"] for r in line], **_style(*key)
            )
        axes.set(title=f"{title}: {what} of one layer", ylabel="time (ms)")
    if compared:
        _ratio_panel(panels[len(families)], rows, compared, pass_)
    for axes in panels[:count]:
        axes.set_xlabel("sequence length (steps)")
        _log_log(axes, lengths)
        axes.legend(fontsize=8)
    for axes in panels[count:]:
        axes.remove()
    figure.suptitle(describe(rows), fontsize=10)
    return figure


def _ratio_panel(
    axes: Axes, rows: Sequence[Record], compared: Sequence[Record], pass_: str
) -> None:
    for key, line in _lines(compared):
        ratios = [r["step_seconds"] / minimal_seconds(rows, r) for r in line]
        axes.plot([r["length"] for r in line], ratios, **_style(*key))
    axes.axhline(1, color="black", linewidth=0.8)
    measured = {(r["cell"], r["length"]) for r in compared} if pass_ == "train" else set()
    for cell in CLASSIC_COUNTERPART:
        points = {n: ratio for (c, n), ratio in PAPER.items() if c == cell and (c, n) in measured}
        if points:
            label = f"{cell_label(cell)}: the paper's figure (T4 GPU, its loop)"
            mark = {
                "marker": "*",
                "markersize": 12,
                "linestyle": "none",
                "color": series_colors([cell])[cell],
            }
            axes.plot(list(points), list(points.values()), label=label, **mark)
    axes.set(
        title="Classic cell over its minimal twin",
        ylabel="times as long as rnnlab's minGRU or minLSTM",
    )


def scan_figure(rows: Sequence[Record]) -> Figure:
    """Time over the floor of the same bytes, against length, one panel a pass."""
    figure = Figure(figsize=(13, 5.6), layout="constrained")
    passes = list(dict.fromkeys(r["pass"] for r in rows))
    panels = figure.subplots(1, len(passes), sharey=True, squeeze=False)[0]
    colors = series_colors(r["backend"] for r in rows)
    markers = dict(zip(dict.fromkeys(_lanes(r) for r in rows), "os^Dv", strict=False))
    for axes, pass_ in zip(panels, passes, strict=True):
        chosen = [r for r in rows if r["pass"] == pass_]
        keyed = sorted(chosen, key=lambda r: (r["backend"], _lanes(r), r["length"]))
        for (backend, lanes), line in groupby(keyed, key=lambda r: (r["backend"], _lanes(r))):
            line = list(line)
            axes.plot(
                [r["length"] for r in line],
                [r["ratio"] for r in line],
                color=colors[backend],
                marker=markers[lanes],
                label=f"{backend}, {lanes}",
            )
        axes.axhline(1, color="black", linewidth=0.8)
        axes.set(title=pass_, xlabel="sequence length (steps)")
        _log_log(axes, sorted({r["length"] for r in chosen}))
    panels[0].set_ylabel("time over that of the same bytes, read and written once")
    panels[-1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.02, 0.5))
    figure.suptitle(f"{machine(rows[0])}; {rows[0]['dtype']}", fontsize=10)
    return figure


PANELS = (
    # axis, what is drawn, its unit, title
    ("length", "step_seconds", "time of a step (ms)", 1e3, "Time of a training step"),
    ("length", "temp_bytes", "temporary buffers (MB)", 1e-6, "Memory of a training step"),
    ("length", "state_bytes", "state of one stream (bytes)", 1, "State carried from step to step"),
    ("length", "compile_seconds", "time to compile (s)", 1, "Compilation"),
    ("batch", "tokens_per_second", "tokens a second", 1, "What a batch buys"),
    ("width", "step_seconds", "time of a step (ms)", 1e3, "Width"),
)
SIZES = {
    "length": ("length", "sequence length (steps)"),
    "batch": ("batch_size", "sequences in a batch"),
    "width": ("width", "width (features)"),
}


def growth_figure(rows: Sequence[Record]) -> Figure:
    """Cost of a layer's training step along each axis that was measured."""
    figure = Figure(figsize=(16, 9.2), layout="constrained")
    panels = figure.subplots(2, 3)
    layers = list(dict.fromkeys(r["layer"] for r in rows))
    colors = series_colors(layers)
    for axes, (axis, value, label, scale, title) in zip(panels.flat, PANELS, strict=True):
        key, what = SIZES[axis]
        chosen = [r for r in rows if r["axis"] == axis and r[value]]
        for layer in layers:
            line = sorted((r[key], scale * r[value]) for r in chosen if r["layer"] == layer)
            if line:
                axes.plot(
                    *zip(*line, strict=True),
                    color=colors[layer],
                    marker="o",
                    label=cell_label(layer),
                )
        axes.set(title=title, xlabel=what, ylabel=label)
        if chosen:
            _log_log(axes, sorted({r[key] for r in chosen}))
    panels[0][0].legend(fontsize=9)
    figure.suptitle(f"{machine(rows[0])}; {rows[0]['dtype']}", fontsize=10)
    return figure


FIGURES = {"speedup": speedup_figure, "scan": scan_figure, "growth": growth_figure}


def _lines(rows: Sequence[Record]):
    def key(row):
        return row["cell"], row["implementation"], row["backend"]

    order = list(dict.fromkeys(map(key, rows)))
    ordered = sorted(rows, key=lambda r: (order.index(key(r)), r["length"]))
    return [(k, list(group)) for k, group in groupby(ordered, key)]


def _style(cell: str, implementation: str, backend: str) -> dict[str, object]:
    plain = implementation in ("Python loop", "flax.nnx.RNN", OWN) or backend == "native"
    return {
        "color": series_colors([cell])[cell],
        "linestyle": STYLES[implementation],
        "marker": "s" if backend == "associative" else "o",
        "markersize": 4.5,
        "label": f"{cell_label(cell)}: {implementation}" + ("" if plain else f", {backend}"),
    }


def _lanes(row: Record) -> str:
    return f"batch {row['batch_size']} × {row['width']} features"


def _log_log(axes: Axes, lengths: Sequence[int]) -> None:
    axes.set(xscale="log", yscale="log", xticks=lengths, xticklabels=[f"{n:,}" for n in lengths])
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_minor_formatter(NullFormatter())
    low, high = axes.get_ylim()
    if high < 50 * low:  # powers of ten alone would be one or two
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,g}"))
    axes.grid(which="major", alpha=0.35)
