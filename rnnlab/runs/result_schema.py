"""The fields of a run's result, and a check of records from files."""

from collections.abc import Mapping
from typing import Any

from rnnlab.train.metrics import is_metric

RESULT_STR_FIELDS = (
    "experiment",
    "preset",
    "task",
    "cell",
    "metric",
    "device",
    "platform",
    "processor",
)
RESULT_MAPPING_FIELDS = ("grid", "data", "model", "train", "metrics", "baselines", "versions")
RESULT_INT_FIELDS = ("seed", "parameters", "state_bytes", "best_step", "steps", "cores")
RESULT_NUMBER_FIELDS = ("seconds_to_best", "tokens_per_second")


def is_result(record: Any) -> bool:
    """Returns whether a record has the fields of a result, each of its type.

    >>> is_result({"metric": "mse"})
    False
    """
    types = dict.fromkeys(RESULT_STR_FIELDS, str) | dict.fromkeys(RESULT_MAPPING_FIELDS, Mapping)
    types |= dict.fromkeys(RESULT_INT_FIELDS, int) | {"curve": list}
    if not isinstance(record, Mapping) or not {*types, *RESULT_NUMBER_FIELDS} <= record.keys():
        return False
    if not all(isinstance(record[name], kind) for name, kind in types.items()):
        return False
    measured = [*record["metrics"].values(), *record["baselines"].values()]
    if not record["metrics"] or not all(isinstance(values, Mapping) for values in measured):
        return False
    points = [x for point in record["curve"] for x in (point if isinstance(point, list) else [""])]
    numbers = [*(x for values in measured for x in values.values()), *points]
    return (
        is_metric(record["metric"])
        and "jax" in record["versions"]
        and all(isinstance(point, list) and len(point) == 3 for point in record["curve"])
        and all(_is_number(x) for x in (*numbers, *(record[name] for name in RESULT_NUMBER_FIELDS)))
    )


def _is_number(x: Any) -> bool:
    """Returns whether a value is a float64 number, or null, which replaces NaN and Inf."""
    return x is None or (isinstance(x, int | float) and abs(x) < 1e308)
