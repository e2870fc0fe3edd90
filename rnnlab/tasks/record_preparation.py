"""Predictions from new irregular records, with the scales of a training."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from rnnlab.tasks.predictions import (
    RUN_DATA,
    Outputs,
    Predictions,
    predict_batches,
    require_run_data,
    with_summary,
)
from rnnlab.tasks.record_data import RecordBatches
from rnnlab.tasks.record_features import RecordFeatures
from rnnlab.tasks.record_parts import RecordLayout, RecordPart, read_records


@dataclass(frozen=True)
class RecordPreparation:
    """The layout, the scales and the classes that a training on irregular records fixes.

    Attributes:
      layout: of event tables.
      features: of the training part.
      classes: names of the classes.
      max_steps: the last time steps of a record that are kept.
      batch_size: records per batch.
      test: the test part of the training's own data.
    """

    layout: RecordLayout
    features: RecordFeatures = field(repr=False)
    classes: tuple[str, ...]
    max_steps: int
    batch_size: int
    test: RecordPart | None = field(default=None, repr=False, metadata=RUN_DATA)

    def predict(self, outputs: Outputs, source: Any, horizon: int | None) -> Predictions:
        """Returns the class of each record and its probability; `example` is the record's id.

        Args:
          outputs: the model.
          source: an event table, as a path or a data frame; None is the test part.
          horizon: must be None.

        Raises:
          DataError: the table is invalid or has none of the variables of the training.
          ValueError: `horizon` is not None.
        """
        if horizon is not None:
            raise ValueError(
                f"horizon must be None for labelled records, which have no future values, got "
                f"{horizon}; remove it"
            )
        is_new = source is not None
        part = read_records(source, self.layout) if is_new else require_run_data(self.test)
        batches = RecordBatches(part, self.features, self.max_steps)
        found = predict_batches(
            outputs,
            batches.batches(min(self.batch_size, len(part.ids))),
            "categorical",
            classes=self.classes,
            last_step_only=True,
        )
        columns = {**found.columns, "example": part.ids[found.columns["example"]]}
        return with_summary(dataclasses.replace(found, columns=columns))
