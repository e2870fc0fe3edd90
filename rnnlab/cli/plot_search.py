"""The figure of `rnnlab search`: the values of the trials, in order and over each setting."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnnlab.cli.curve_axes import scale_y
from rnnlab.cli.search_table import format_value
from rnnlab.searches.space import Range
from rnnlab.searches.training import Search, SearchResult
from rnnlab.searches.trial_files import FINISHED, PRUNED, TrialRecord

COLORS = {FINISHED: "#332288", PRUNED: "#BBBBBB"}
BEST_COLOR = "#CC6677"
MARKERS = {FINISHED: "o", PRUNED: "v"}
MAX_PANELS_PER_ROW = 4
MAX_LABEL_LENGTH = 12
"""Characters of a choice on an axis; longer ones are cut."""


def search_figure(result: SearchResult, opened: Search) -> Figure:
    """Draws the value of each trial in order and over each setting of the space.

    The axis of the values shows all finished trials. Pruned trials outside of it are at its edge.
    Below a setting is its share of the importance, by PED-ANOVA, which needs some finished trials.

    Args:
      result: trials, of which at least one is finished.
      opened: the search.
    """
    axes_of = opened.study.space.axes
    count = 1 + len(axes_of)
    columns = min(count, MAX_PANELS_PER_ROW)
    rows = math.ceil(count / columns)
    figure = Figure(figsize=(3.4 * columns + 0.6, 3.3 * rows + 0.7), layout="constrained")
    panels = list(np.ravel(figure.subplots(rows, columns, squeeze=False, sharey=True)))
    trials = [trial for trial in result.trials if trial.value is not None]
    scale_y(panels[0], [trial.value for trial in trials if trial.state == FINISHED])
    limits = panels[0].get_ylim()
    _draw_order(panels[0], trials, result.best, opened.study.maximize, limits)
    importances = opened.study.importances()
    for axes, (name, values) in zip(panels[1:], axes_of.items(), strict=False):
        _draw_setting(axes, name, values, trials, result, opened, limits)
        share = f"\n{importances[name]:.0%} of the importance" if name in importances else ""
        axes.set_xlabel(name.replace("+", ", ") + share)
    for axes in panels[count:]:
        axes.set_visible(False)
    direction = "higher" if opened.study.maximize else "lower"
    for axes in panels[::columns]:
        axes.set_ylabel(f"{result.split} {result.metric} ({direction} is better)")
    panels[0].set_ylim(limits)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=8)
    record = opened.record
    figure.suptitle(
        f"{record['experiment']}, preset {record['preset']}: {len(result.trials)} trials",
        fontsize=10,
    )
    return figure


def _draw_order(
    axes: Axes,
    trials: Sequence[TrialRecord],
    best: TrialRecord,
    maximize: bool,
    limits: tuple[float, float],
) -> None:
    """Draws the values in the order of the trials, and the best value so far."""
    _draw_points(axes, trials, [trial.number for trial in trials], limits, with_labels=True)
    finished = sorted((t for t in trials if t.state == FINISHED), key=lambda t: t.number)
    so_far = (np.maximum if maximize else np.minimum).accumulate([t.value for t in finished])
    numbers = [t.number for t in finished]
    style = {"where": "post", "color": BEST_COLOR, "linewidth": 1.2}
    axes.step([*numbers, max(t.number for t in trials)], [*so_far, so_far[-1]], **style)
    axes.plot([], [], color=BEST_COLOR, label="best so far")
    axes.plot(best.number, best.value, "*", color=BEST_COLOR, markersize=12, label="best", zorder=4)
    axes.set_xlabel("trial")
    axes.xaxis.get_major_locator().set_params(integer=True)


def _draw_setting(
    axes: Axes,
    name: str,
    values: Range | tuple,
    trials: Sequence[TrialRecord],
    result: SearchResult,
    opened: Search,
    limits: tuple[float, float],
) -> None:
    """Draws the values over one setting, for the trials that have it."""
    having = [trial for trial in trials if name in trial.parameters]
    if isinstance(values, Range):
        places = {trial.number: trial.parameters[name] for trial in having}
        axes.set_xscale("log" if values.log else "linear")
    else:
        labels = [_cut(format_value(value)) for value in values]
        stored = list(opened.study.space.labels(name))
        # Points of one choice are next to each other, not on each other.
        spread = {t.number: 0.3 * ((t.number * 0.618) % 1 - 0.5) for t in having}
        places = {t.number: stored.index(t.parameters[name]) + spread[t.number] for t in having}
        axes.set_xticks(range(len(labels)), labels)
        axes.set_xlim(-0.5, len(labels) - 0.5)
    _draw_points(axes, having, [places[trial.number] for trial in having], limits)
    best = result.best
    if best.number in places:
        axes.plot(places[best.number], best.value, "*", color=BEST_COLOR, markersize=12, zorder=4)


def _draw_points(
    axes: Axes,
    trials: Sequence[TrialRecord],
    places: Sequence[float],
    limits: tuple[float, float],
    with_labels: bool = False,
) -> None:
    """Draws one point per trial, by its state."""
    for state, color in COLORS.items():
        points = [(x, t.value) for x, t in zip(places, trials, strict=True) if t.state == state]
        if not points:
            continue
        xs, ys = zip(*points, strict=True)
        style = {"color": color, "marker": MARKERS[state], "linestyle": "none", "markersize": 5}
        label = state if with_labels else None
        axes.plot(xs, np.clip(ys, *limits), label=label, zorder=3, clip_on=False, **style)
    axes.grid(alpha=0.3)


def _cut(text: str) -> str:
    return text if len(text) <= MAX_LABEL_LENGTH else f"{text[: MAX_LABEL_LENGTH - 1]}…"
