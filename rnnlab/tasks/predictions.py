"""Predictions of a trained model as a table: one row per prediction.

A task's `Preparation` holds what the training fixed about its data (vocabulary, classes, means and
scales). It turns new data into batches, and the outputs of a model into predictions in the data's
own units. It knows no model: it receives a function that maps a batch to outputs.
"""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from scipy.special import expit, softmax

from rnnlab.atomic_io import write_text
from rnnlab.errors import DataError
from rnnlab.optional import require_module
from rnnlab.tasks.batch import Batch, last_steps, loss_mask

Data = TypeVar("Data")

Outputs = Callable[[Batch], np.ndarray]
"""Returns a model's outputs (batch, time, out_features), from the initial carry; of a model that
generates label sequences these, (batch, label_time)."""

MAX_CLASS_COLUMNS = 50
"""Greatest number of classes whose probabilities are columns of their own."""


RUN_DATA = {"run_data": True}
"""Metadata of a preparation's field that holds data of the run. Its default is None, which it has
where the preparation is read from a bundle."""


@dataclass(frozen=True)
class Predictions:
    """Predictions as columns of equal length.

    Attributes:
      kind: what a row is: a `"forecast"` of a date, the `"class"` of a sequence or of a time step,
        the `"labels"` of a time step, the `"value"` of a sequence or of a time step, a `"symbol"`
        of a text, a `"text"` that is generated, a recommended item of a `"ranking"`,
        or a `"drawing"` with its likelihood.
      columns: arrays by name. `"actual"` holds the truth, where it is known.
      summary: a sentence about them.

    >>> Predictions("value", {"example": np.arange(2), "predicted": np.array([0.5, 2.0])}).to_csv()
    'example,predicted\\n0,0.5\\n1,2.0\\n'
    """

    kind: Literal["forecast", "class", "labels", "value", "symbol", "text", "ranking", "drawing"]
    columns: Mapping[str, np.ndarray]
    summary: str = ""

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))

    def to_csv(self) -> str:
        """Returns the table as CSV with a header; missing values are empty cells."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows(self.rows())
        return file.getvalue()

    def rows(self) -> list[tuple[object, ...]]:
        """Returns the cells of each row, as they are in a file."""
        return list(zip(*map(_cells, self.columns.values()), strict=True))

    def save(self, path: Path | str) -> None:
        """Writes the table to a CSV file, completely or not at all.

        Raises:
          InsufficientResourcesError: it could not be written.
        """
        write_text(Path(path), self.to_csv())

    def to_frame(self) -> Any:
        """Returns the table as a `pandas.DataFrame`.

        Raises:
          ValueError: pandas is not installed.
        """
        return require_module("pandas").DataFrame(dict(self.columns))


class Preparation(Protocol):
    """A task's vocabulary, classes, means and scales, fixed by the training data."""

    def predict(self, outputs: Outputs, source: Any, horizon: int | None) -> Predictions:
        """Returns the predictions of a model.

        Args:
          outputs: the model.
          source: new data: a file's path, or data in memory; None is the run's own data, which a
            preparation that is read from a bundle does not have.
          horizon: time steps to forecast; None is the model's.

        Raises:
          DataError: the new data does not fit the training data.
          ValueError: the task has no horizon, or `horizon` is out of range.
        """


def predict_batches(
    outputs: Outputs,
    batches: Iterable[Batch],
    loss: str,
    *,
    classes: Sequence[object] = (),
    last_step_only: bool = False,
    scored_only: bool = False,
    target_mean: np.ndarray | float = 0.0,
    target_scale: float = 1.0,
) -> Predictions:
    """Returns the predictions for every time step of examples, or for the last one of each.

    Examples and time steps are counted from 0, over all batches.

    Args:
      outputs: the model.
      batches: the examples. Targets that are not scored are unknown: their `actual` is empty.
      loss: of the task; it defines the meaning of the outputs, see `TaskData.loss`.
      classes: names of the classes; empty: their numbers.
      last_step_only: whether only the last time step of an example is predicted.
      scored_only: whether only time steps with a target are predicted.
      target_mean, target_scale: values are `target_mean + target_scale * output`.
    """
    rows = [
        _rows(outputs(batch), batch, last_step_only, scored_only)
        for batch in batches
        if len(batch.inputs)
    ]
    sizes = np.cumsum([0, *(count for *_, count in rows)])
    example = np.concatenate(
        [first + start for (first, *_), start in zip(rows, sizes, strict=False)]
    )
    step, raw, targets = (np.concatenate([row[k] for row in rows]) for k in (1, 2, 3))
    index = {"example": example} if last_step_only else {"example": example, "step": step}
    if loss == "categorical":
        return Predictions("class", index | _class_columns(raw, targets, classes))
    if loss == "binary":
        return Predictions("labels", index | _label_columns(raw, targets))
    mean, scale = np.broadcast_to(target_mean, raw.shape[-1:]), target_scale
    columns = {}
    for k in range(raw.shape[-1]):
        number = f" {k}" if raw.shape[-1] > 1 else ""
        columns[f"predicted{number}"] = mean[k] + scale * raw[:, k]
        columns[f"actual{number}"] = mean[k] + scale * targets[:, k]
    return Predictions("value", index | columns)


def require_run_data(data: Data | None) -> Data:
    """Returns the run's own data, from which a preparation predicts by default.

    Raises:
      DataError: it is None, since the preparation is of a bundle.
    """
    if data is None:
        raise DataError(
            "source must be given for a bundle, which has no data of its run, got None; pass a "
            "file, as in --data.path FILE"
        )
    return data


def with_summary(predictions: Predictions) -> Predictions:
    """Returns predictions with a sentence about their number, and how many of the known are right.

    >>> columns = {"predicted": np.array(["a", "b"]), "actual": np.array(["a", "a"])}
    >>> with_summary(Predictions("class", columns)).summary
    '2 predictions; 1 of 2 with a known class are right (50.0%).'
    """
    columns, text = predictions.columns, f"{len(predictions):,} predictions"
    if predictions.kind == "class":
        known = np.array([bool(str(x)) for x in columns["actual"]])
        right = int((columns["predicted"] == columns["actual"])[known].sum())
        if known.any():
            share = f"{right:,} of {known.sum():,} with a known class are right"
            text += f"; {share} ({right / known.sum():.1%})"
    elif predictions.kind == "value":
        errors = [
            values - columns[name.replace("predicted", "actual")]
            for name, values in columns.items()
            if name.startswith("predicted")
        ]
        known = ~np.isnan(errors)
        if known.any():
            rmse = np.sqrt(np.nanmean(np.square(errors)))
            text += f"; RMSE {rmse:.4g} over the {known.sum():,} known values"
    return Predictions(predictions.kind, columns, f"{text}.")


def _rows(
    raw: np.ndarray, batch: Batch, last_step_only: bool, scored_only: bool
) -> tuple[np.ndarray, ...]:
    """The example, time step, outputs and targets of each row, and the number of examples."""
    raw = np.asarray(raw, np.float64)
    keep = np.ones(batch.inputs.shape[:2], bool) if batch.mask is None else batch.mask.copy()
    examples = int(keep.any(axis=1).sum())  # examples that are only padding fill up the last batch
    scored = loss_mask(batch)
    if scored_only:
        keep &= scored.any(axis=-1) if scored.ndim == 3 else scored
    if last_step_only:
        keep = last_steps(keep)
    example, step = np.nonzero(keep)
    targets = batch.targets
    if targets.dtype.kind == "f":
        targets = np.where(scored, targets, np.nan)
    return example, step, raw[keep], targets[keep], examples


def _class_columns(
    logits: np.ndarray, targets: np.ndarray, classes: Sequence[object]
) -> dict[str, np.ndarray]:
    names = np.array([str(x) for x in classes or range(logits.shape[-1])])
    probabilities = softmax(logits, axis=-1)
    chosen = logits.argmax(axis=-1)
    columns = {
        "predicted": names[chosen],
        "probability": np.take_along_axis(probabilities, chosen[:, None], -1)[:, 0],
        "actual": np.where(targets >= 0, names[np.maximum(targets, 0)], ""),
    }
    if len(names) <= MAX_CLASS_COLUMNS:
        columns |= {f"p({name})": probabilities[:, k] for k, name in enumerate(names)}
    return columns


def _label_columns(logits: np.ndarray, targets: np.ndarray) -> dict[str, np.ndarray]:
    """The numbers of the labels that are more likely than not, and of those that hold."""

    def listed(rows: np.ndarray) -> np.ndarray:
        return np.array([" ".join(map(str, np.flatnonzero(row))) for row in rows])

    return {"predicted": listed(expit(logits) > 0.5), "actual": listed(targets > 0.5)}


def _cells(column: np.ndarray) -> list[object]:
    """The cells of a column; floats keep the digits that their type has."""
    if column.dtype.kind == "M":
        return ["" if np.isnat(x) else _date_text(x) for x in column]
    if column.dtype.kind == "f":
        return ["" if np.isnan(x) else repr(float(f"{x:.7g}")) for x in column]
    return column.tolist()


def _date_text(date: np.datetime64) -> str:
    return str(date.astype("datetime64[s]")).removesuffix("T00:00:00").replace("T", " ")
