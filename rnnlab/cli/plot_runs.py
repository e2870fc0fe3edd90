"""The figure of `rnnlab compare`: the first metric over updates and over seconds."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from rnnlab.cli.compare import better_direction, format_setting
from rnnlab.plotting import cell_label, series_colors
from rnnlab.records import Record
from rnnlab.tables import device_label

TIME_AXES = ((0, "updates"), (1, "seconds, evaluations included"))


def curves_figure(results: Sequence[Record]) -> Figure:
    """Draws one line per run over updates and over seconds, and the trivial baselines.

    Runs of one cell share its color; their other grid settings choose the line style.
    """
    figure = Figure(figsize=(12, 5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    low, high = _y_limits(results)
    panels[0].set_ylim(low, high)
    colors = series_colors(result["cell"] for result in results)
    styles, baselines = _styles(results), _baselines(results)
    for axes, (column, label) in zip(panels, TIME_AXES, strict=True):
        drawn: set[str] = set()
        for result in results:
            name = _label(result)
            # The seeds of one setting share a line of the legend.
            axes.plot(
                [point[1] if column else point[0] for point in result["curve"]],
                [point[2] for point in result["curve"]],
                color=colors[result["cell"]],
                linestyle=styles[_grid_label(result)],
                label=None if name in drawn else name,
            )
            drawn.add(name)
        for style, (name, value) in zip((":", "-.", "--") * 9, baselines.items(), strict=False):
            if low < value < high:
                line = {"color": "black", "linewidth": 0.9, "linestyle": style}
                axes.axhline(value, label=name, **line)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    result = results[0]
    panels[0].set_ylabel(
        f"{next(iter(result['metrics']))} {result['metric']} ({better_direction(result)} is better)"
    )
    panels[1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    title = f"{result['experiment']}, preset {result['preset']}: {device_label(result)}"
    figure.suptitle(title, fontsize=10)
    return figure


def _y_limits(results: Sequence[Record]) -> tuple[float, float]:
    """Returns the ends of the y axis: the values after step 0 and the best baselines, padded."""
    known = [p for result in results for p in result["curve"] if p[2] is not None and p[2] == p[2]]
    values = [p[2] for p in known if p[0] > 0]
    pick = max if better_direction(results[0]) == "higher" else min
    values += [pick(_baselines([result]).values()) for result in results if _baselines([result])]
    low, high = min(values), max(values)
    padding = 0.05 * (high - low or 1)
    return low - padding, high + padding


def _baselines(results: Sequence[Record]) -> dict[str, float]:
    """Returns the values of the trivial baselines in the metric that is drawn.

    They are of the last evaluation set, which their names mention if the curve is of another one.
    """
    return {
        _baseline_label(name, list(result["metrics"])): values[result["metric"]]
        for result in results
        for name, values in result["baselines"].items()
        if result["metric"] in values
    }


def _baseline_label(name: str, sets: Sequence[str]) -> str:
    return name if sets[0] == sets[-1] else f"{name} ({sets[-1]} set)"


def _grid_label(result: Record) -> str:
    """Returns the grid settings of a run except its cell and seed, as text."""
    return ", ".join(
        f"{name.rpartition('.')[2]} {format_setting(value)}"
        for name, value in result["grid"].items()
        if name not in ("model.cell", "train.seed")
    )


def _label(result: Record) -> str:
    name = cell_label(result["cell"])
    return ", ".join(part for part in (name, _grid_label(result)) if part)


def _styles(results: Sequence[Record]) -> dict[str, object]:
    styles = ("-", "--", ":", "-.", (0, (1, 3)), (0, (5, 1, 1, 1, 1, 1)))
    others = list(dict.fromkeys(_grid_label(result) for result in results))
    return {other: styles[k % len(styles)] for k, other in enumerate(others)}
