"""The figure of `rnnlab run` and `rnnlab compare`: learning curves of runs."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnlab.cli.curve_axes import Line, scale_x, scale_y, visible_values, with_near
from rnnlab.cli.seed_groups import (
    CELL,
    SeedGroup,
    better_direction,
    format_metric,
    group_seeds,
    known_baselines,
    setting_names,
)
from rnnlab.plotting import cell_label, series_colors
from rnnlab.records import Record
from rnnlab.tables import device_labels

LINE_STYLES = ("-", "--", ":", "-.", (0, (1, 3)), (0, (5, 1, 1, 1, 1, 1)))
BASELINE_STYLES = (":", "-.", "--", (0, (8, 3)), (0, (1, 4)), (0, (5, 1, 1, 1, 1, 1)))
MARKERS = "osD^vPX<>"
MAX_SEED_LINES = 8
"""Most seeds of a setting that are drawn one by one next to their mean."""
MAX_MARKERS = 25
"""Most evaluations whose points are marked."""
EDGE_LINE_HEIGHT = 0.04
"""Height of a line of text at an edge, as a fraction of the axes."""
MAX_EDGE_LABELS = 3
"""Most baselines that are named at an edge of the axes."""


def curves_figure(
    results: Sequence[Record], losses: Sequence[Sequence[tuple[float, float]]] | None = None
) -> Figure:
    """Draws the first metric over updates and seconds, the training loss, and the baselines.

    Runs that differ only in their seed are one line, their mean, in a band from the lowest to the
    highest value, with a thin line per seed. Cells have their own colors and markers; other
    settings choose the line style. Axes show all values, except those of untrained models where
    every run is long, and the best baseline, unless it is so far away that the curves would be flat
    lines. They are logarithmic where linear ones would hide differences. The values of baselines
    that are out of view are at the edges.

    Args:
      results: results of runs with one metric.
      losses: logged updates and training losses of each run; empty where they are not known. Where
        none are known, the panel of the training loss is omitted.
    """
    groups, losses = group_seeds(results), losses or [()] * len(results)
    loss_of = {id(result): found for result, found in zip(results, losses, strict=True)}
    has_losses = any(map(len, losses))
    figure = Figure(figsize=(15.5 if has_losses else 11.5, 5.2), layout="constrained")
    panels = list(figure.subplots(1, 2 + has_losses))
    by_step = [Line(g, [_points(r["curve"], 0, 2) for r in g.results]) for g in groups]
    by_second = [Line(g, [_points(r["curve"], 1, 2) for r in g.results]) for g in groups]
    styles = _styles(groups)
    baselines = _baselines(groups)
    is_bounded = better_direction(results[0]) == "higher"  # accuracies are between 0 and 1
    limits = with_near(visible_values(by_step), _best_baselines(groups), is_linear=is_bounded)
    for axes, lines in zip(panels, (by_step, by_second), strict=False):
        _draw(axes, lines, styles, has_bands=lines is by_step)
        scale_y(axes, limits, is_linear=is_bounded)
        _draw_baselines(axes, baselines)
    first = results[0]
    set_name, direction = next(iter(first["metrics"])), better_direction(first)
    panels[0].set(ylabel=f"{set_name} {first['metric']} ({direction} is better)", xlabel="updates")
    panels[1].set(xlabel="seconds, evaluations included")
    panels[1].sharey(panels[0])
    if has_losses:
        logged = [Line(g, [_points(loss_of[id(r)], 0, 1) for r in g.results]) for g in groups]
        _draw(panels[2], logged, styles, is_noisy=True)
        scale_y(panels[2], [y for line in logged for seed in line.seeds for y in seed[:, 1]])
        panels[2].set(xlabel="updates", ylabel="training loss of logged updates")
        scale_x(panels[2], logged)
    scale_x(panels[0], by_step)
    scale_x(panels[1], by_second)
    handles, labels = panels[0].get_legend_handles_labels()
    columns = min(4 if has_losses else 3, len(labels))
    legend = {"loc": "outside lower center", "ncols": columns, "fontsize": 8}
    figure.legend(handles, labels, title=_caption(groups), title_fontsize=8, **legend)
    presets = dict.fromkeys(f"{r['experiment']}, preset {r['preset']}" for r in results)
    figure.suptitle(f"{', '.join(presets)}: {device_labels(results)}", fontsize=10)
    return figure


def _draw(
    axes: Axes,
    lines: Sequence[Line],
    styles: Mapping[int, Mapping],
    *,
    has_bands: bool = True,
    is_noisy: bool = False,
) -> None:
    """Draws each setting's mean over its seeds, their band, and single seeds.

    Args:
      axes: where to draw.
      lines: one per setting.
      styles: what `_styles` returns.
      has_bands: whether seeds have common x, so that a band between them has a meaning.
      is_noisy: whether points are many and vary much: they have thin lines and no markers.
    """
    for number, line in enumerate(lines):
        seeds = [seed for seed in line.seeds if len(seed)]
        if not seeds:
            continue
        look = dict(styles[number])
        marker = look.pop("marker")
        points, low, high = _mean_and_band(seeds)
        if len(seeds) > 1:
            if has_bands:
                band = {"color": look["color"], "alpha": 0.2, "linewidth": 0}
                axes.fill_between(points[:, 0], low, high, **band)
            if len(seeds) <= MAX_SEED_LINES and not is_noisy:
                for seed in seeds:
                    axes.plot(*seed.T, color=look["color"], linewidth=0.9, alpha=0.8)
        if len(points) > (1 if is_noisy else MAX_MARKERS):
            marker = None
        style = {"linewidth": 1.0 if is_noisy else 1.8, "markersize": 4.5, "marker": marker}
        axes.plot(*points.T, label=_label(line.group), **look, **style)
    axes.grid(alpha=0.3)


def _draw_baselines(axes: Axes, baselines: Mapping[str, float]) -> None:
    """Draws the baselines that are in view, and names all with their values in the legend.

    The values of the others are at the edge of the axes, with an arrow.
    """
    low, high = limits = axes.get_ylim()
    below, above = [], []
    for style, (name, value) in zip(BASELINE_STYLES * 9, baselines.items(), strict=False):
        label = f"{name}: {format_metric(value)}"
        if not low <= value <= high:
            (below if value < low else above).append((value, label))
            label += ", out of view"
        axes.axhline(value, label=label, color="0.25", linewidth=1, linestyle=style)
    axes.set_ylim(limits)
    _label_edge(axes, [label for _, label in sorted(below, reverse=True)], "\N{DOWNWARDS ARROW}", 0)
    _label_edge(axes, [label for _, label in sorted(above)], "\N{UPWARDS ARROW}", 1)


def _label_edge(axes: Axes, labels: Sequence[str], arrow: str, y: int) -> None:
    """Writes the nearest of what is out of view at the lower (y = 0) or upper (y = 1) edge."""
    if not labels:
        return
    lines = [f"{arrow} {label}" for label in labels[:MAX_EDGE_LABELS]]
    if len(labels) > MAX_EDGE_LABELS:
        lines.append(f"{arrow} {len(labels) - MAX_EDGE_LABELS} more")
    # Extend the axis, whatever its scale, so that no curve is behind the text.
    height = 0.02 + EDGE_LINE_HEIGHT * len(lines)
    edge = axes.transAxes.transform((0, y + height if y else -height))
    axes.set_ylim(**{"top" if y else "bottom": axes.transData.inverted().transform(edge)[1]})
    axes.annotate(
        "\n".join(lines),
        (1, y),
        xycoords="axes fraction",
        xytext=(-5, 5 - 10 * y),
        textcoords="offset points",
        ha="right",
        va="top" if y else "bottom",
        fontsize=8,
        color="0.25",
        parse_math=False,
    )


def _mean_and_band(seeds: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Returns the mean of several curves, and the lowest and highest y, at their common points.

    Points are matched by their number: runs of one setting are evaluated after the same updates. A
    run that stopped earlier ends the mean.
    """
    common = min(map(len, seeds))
    stacked = np.stack([seed[:common] for seed in seeds])
    return stacked.mean(0), stacked[..., 1].min(0), stacked[..., 1].max(0)


def _points(rows: Sequence[Sequence[float | None]], x: int, y: int) -> np.ndarray:
    """Returns two columns of some rows, (points, 2), with NaN for what a record could not hold."""
    pairs = [[math.nan if row[k] is None else row[k] for k in (x, y)] for row in rows]
    return np.array(pairs, np.float64).reshape(-1, 2)


def _best_baselines(groups: Sequence[SeedGroup]) -> list[float]:
    """Returns the best baseline of each group that has one."""
    known = (list(known_baselines(group.results[0]).values()) for group in groups)
    return [values[-1] for values in known if values]


def _styles(groups: Sequence[SeedGroup]) -> dict[int, dict[str, object]]:
    """Returns the color, marker and line style of each group, by its number."""
    cells = list(dict.fromkeys(group.results[0]["cell"] for group in groups))
    colors = series_colors(cells)
    others = list(dict.fromkeys(group.label(without=[CELL]) for group in groups))
    found = {}
    for number, group in enumerate(groups):
        cell, other = group.results[0]["cell"], others.index(group.label(without=[CELL]))
        marker = MARKERS[(cells.index(cell) + other // len(LINE_STYLES)) % len(MARKERS)]
        style = LINE_STYLES[other % len(LINE_STYLES)]
        found[number] = {"color": colors[cell], "marker": marker, "linestyle": style}
    return found


def _label(group: SeedGroup) -> str:
    count = len(group.results)
    others = group.label(without=[CELL])
    seeds = f"mean of {count} seeds" if count > 1 else ""
    return ", ".join(filter(None, (cell_label(group.results[0]["cell"]), others, seeds)))


def _baselines(groups: Sequence[SeedGroup]) -> dict[str, float]:
    """Returns the values of the baselines in the metric that is drawn, by their labels.

    A label names the data that the baseline is of if its value differs between data, and the last
    evaluation set if the curve is of another one.
    """
    data_names = [name for name in setting_names(groups) if name.startswith("data.")]
    by_name: dict[str, dict[str, float]] = {}
    for group in groups:
        data = group.label(without=[name for name in group.settings if name not in data_names])
        for name, value in reversed(known_baselines(group.results[0]).items()):
            by_name.setdefault(name, {}).setdefault(data, value)
    sets = list(groups[0].results[0]["metrics"])
    suffix = "" if sets[0] == sets[-1] else f" ({sets[-1]} set)"
    found = {}
    for name, values in by_name.items():
        if len(set(map(format_metric, values.values()))) == 1:
            found[f"{name}{suffix}"] = next(iter(values.values()))
        else:
            found |= {f"{name}, {data}{suffix}": value for data, value in values.items()}
    return found


def _caption(groups: Sequence[SeedGroup]) -> str | None:
    counts = [len(group.results) for group in groups]
    if max(counts) == 1:
        return None
    text = "lines: mean over seeds; bands: lowest to highest value"
    return f"{text}; thin lines: single seeds" if min(counts) <= MAX_SEED_LINES else text
