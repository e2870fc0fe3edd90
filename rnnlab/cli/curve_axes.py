"""The axes of learning curves: which values they show, and on which scale."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from rnnlab.cli.seed_groups import SeedGroup

MIN_EVALUATIONS = 5
"""Evaluations of every run from which the untrained model's value may be outside the axis."""
LOG_RATIO = 3
"""Ratio of the largest to the smallest value above which an axis of losses is logarithmic."""
MIN_CURVES_HEIGHT = 0.25
"""Fraction of the axis that the curves fill at least; a baseline further away is out of view."""
SYMLOG_RATIO = 10
"""Ratio of the longest to the shortest run above which the axis of updates is logarithmic."""


class Line(NamedTuple):
    """The curves of one setting, one per seed: arrays (points, 2) of x and y."""

    group: SeedGroup
    seeds: list[np.ndarray]


def visible_values(lines: Sequence[Line]) -> list[float]:
    """Returns the values that the axis shows: all, or those after step 0 where runs are long."""
    seeds = [seed for line in lines for seed in line.seeds]
    is_long = all((seed[:, 0] > 0).sum() >= MIN_EVALUATIONS for seed in seeds)
    return [y for seed in seeds for x, y in seed if x > 0 or not is_long]


def with_near(
    values: Sequence[float], baselines: Sequence[float], *, is_linear: bool
) -> list[float]:
    """Returns the values of the curves and the baselines next to which the curves are not flat.

    Args:
      values: of the curves.
      baselines: values that are wanted in view.
      is_linear: whether the axis is linear whatever the values are.
    """
    curves = [y for y in values if math.isfinite(y)]

    def is_near(baseline: float) -> bool:
        together = min(*curves, baseline), max(*curves, baseline)
        scale = float if is_linear or not _is_logarithmic(*together) else math.log
        height = scale(max(curves)) - scale(min(curves))
        return height >= MIN_CURVES_HEIGHT * (scale(together[1]) - scale(together[0]))

    varies = bool(curves) and max(curves) > min(curves)
    return [*curves, *(b for b in baselines if not varies or is_near(b))]


def _is_logarithmic(low: float, high: float) -> bool:
    """Returns whether an axis of losses in this range is logarithmic."""
    return low > 0 and high > LOG_RATIO * low


def scale_y(axes: Axes, values: Sequence[float], is_linear: bool = False) -> None:
    """Shows all values, on a logarithmic axis if they are positive and their range is large."""
    finite = [y for y in values if math.isfinite(y)]
    if not finite:
        return
    low, high = min(finite), max(finite)
    if is_linear or not _is_logarithmic(low, high):
        padding = 0.05 * (high - low or abs(high) or 1)
        axes.set_ylim(low - padding, high + padding)
        return
    padding = (high / low) ** 0.05
    axes.set_yscale("log")
    axes.set_ylim(low / padding, high * padding)
    if high < 30 * low:  # one or two powers of ten
        axes.yaxis.set_major_locator(MaxNLocator(8, steps=(1, 2, 5, 10)))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:.4g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def scale_x(axes: Axes, lines: Sequence[Line]) -> None:
    """Shows short runs next to long ones: on a logarithmic axis, linear below the first point."""
    points = [seed[:, 0] for line in lines for seed in line.seeds if len(seed)]
    ends = [x.max() for x in points if x.max() > 0]
    if not ends or max(ends) <= SYMLOG_RATIO * min(ends):
        return
    if all((x > 0).all() for x in points):
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_minor_formatter(NullFormatter())
    else:
        axes.set_xscale("symlog", linthresh=min(x[x > 0].min() for x in points if (x > 0).any()))
        axes.set_xlim(left=0)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:,.10g}"))
