"""Results as a picture: the first metric against steps and against seconds."""

from collections.abc import Sequence

from matplotlib.figure import Figure

from rnnlab.cli.compare import better, text
from rnnlab.plotting import cell_label, series_colors
from rnnlab.records import Record
from rnnlab.tables import device_label

AXES = ((0, "updates"), (1, "seconds, evaluations included"))


def curves_figure(results: Sequence[Record]) -> Figure:
    """A line a run, one panel against updates and one against seconds, with the floors.

    Runs of one cell share its colour; what else they differ in sets the line's style.
    """
    figure = Figure(figsize=(12, 5), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    low, high = _limits(results)
    panels[0].set_ylim(low, high)
    colors = series_colors(row["cell"] for row in results)
    styles, floors = _styles(results), _floors_of(results)
    for axes, (column, label) in zip(panels, AXES, strict=True):
        drawn: set[str] = set()
        for row in results:
            name = _label(row)
            # Seeds of one setting are one line of the legend.
            axes.plot(
                [point[1] if column else point[0] for point in row["curve"]],
                [point[2] for point in row["curve"]],
                color=colors[row["cell"]],
                linestyle=styles[_others(row)],
                label=None if name in drawn else name,
            )
            drawn.add(name)
        for style, (name, value) in zip((":", "-.", "--") * 9, floors.items(), strict=False):
            if low < value < high:
                line = {"color": "black", "linewidth": 0.9, "linestyle": style}
                axes.axhline(value, label=name, **line)
        axes.set_xlabel(label)
        axes.grid(alpha=0.3)
    row = results[0]
    panels[0].set_ylabel(f"{next(iter(row['metrics']))} {row['metric']} ({better(row)} is better)")
    panels[1].legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5))
    title = f"{row['experiment']}, preset {row['preset']}: {device_label(row)}"
    figure.suptitle(title, fontsize=10)
    return figure


def _limits(results: Sequence[Record]) -> tuple[float, float]:
    """The axis' ends: what is reached after the start, and the best floor, with room."""
    known = [p for row in results for p in row["curve"] if p[2] is not None and p[2] == p[2]]
    values = [p[2] for p in known if p[0] > 0]
    pick = max if better(results[0]) == "higher" else min
    values += [pick(_floors_of([row]).values()) for row in results if _floors_of([row])]
    low, high = min(values), max(values)
    room = 0.05 * (high - low or 1)
    return low - room, high + room


def _floors_of(results: Sequence[Record]) -> dict[str, float]:
    """The trivial predictors' values in the metric that is drawn."""
    return {
        name: values[row["metric"]]
        for row in results
        for name, values in row["baselines"].items()
        if row["metric"] in values
    }


def _others(row: Record) -> str:
    """What a run was varied in beside its cell and seed."""
    return ", ".join(
        f"{name.rpartition('.')[2]} {text(value)}"
        for name, value in row["grid"].items()
        if name not in ("model.cell", "train.seed")
    )


def _label(row: Record) -> str:
    name = cell_label(row["cell"])
    return ", ".join(part for part in (name, _others(row)) if part)


def _styles(results: Sequence[Record]) -> dict[str, object]:
    styles = ("-", "--", ":", "-.", (0, (1, 3)), (0, (5, 1, 1, 1, 1, 1)))
    others = list(dict.fromkeys(_others(row) for row in results))
    return {other: styles[k % len(styles)] for k, other in enumerate(others)}
