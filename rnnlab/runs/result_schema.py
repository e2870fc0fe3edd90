"""What a run's result has, and whether a row from elsewhere is one."""

from collections.abc import Mapping
from typing import Any

from rnnlab.train.metrics import METRICS

NAMES = ("experiment", "preset", "task", "cell", "metric", "device", "platform", "processor")
SETTINGS = ("varied", "data", "model", "train", "metrics", "floors", "versions")
COUNTS = ("seed", "parameters", "state_bytes", "best_step", "steps", "cores")
TIMES = ("seconds_to_best", "tokens_per_second")


def is_result(row: Any) -> bool:
    """Whether a row has a result's fields, of their kinds.

    >>> is_result({"metric": "mse"})
    False
    """
    kinds = dict.fromkeys(NAMES, str) | dict.fromkeys(SETTINGS, Mapping) | {"curve": list}
    kinds |= dict.fromkeys(COUNTS, int)
    if not isinstance(row, Mapping) or not {*kinds, *TIMES} <= row.keys():
        return False
    if not all(isinstance(row[name], kind) for name, kind in kinds.items()):
        return False
    measured = [*row["metrics"].values(), *row["floors"].values()]
    if not row["metrics"] or not all(isinstance(values, Mapping) for values in measured):
        return False
    points = [x for point in row["curve"] for x in (point if isinstance(point, list) else [""])]
    numbers = [*(x for values in measured for x in values.values()), *points]
    return (
        row["metric"] in METRICS
        and "jax" in row["versions"]
        and all(isinstance(point, list) and len(point) == 3 for point in row["curve"])
        and all(_is_number(x) for x in (*numbers, *(row[name] for name in TIMES)))
    )


def _is_number(x: Any) -> bool:
    """A number that float64 has, or null, which stands for one that is not finite."""
    return x is None or (isinstance(x, int | float) and abs(x) < 1e308)
