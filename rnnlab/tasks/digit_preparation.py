"""Classes of new recordings of digits."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.audio import FrontEnd
from rnnlab.tasks.batch import IGNORE_INDEX, Batch
from rnnlab.tasks.predictions import (
    RUN_DATA,
    Outputs,
    Predictions,
    predict_batches,
    require_run_data,
    with_summary,
)
from rnnlab.tasks.recordings import recording_batches
from rnnlab.tasks.speech_features import SpeechFeatures


@dataclass(frozen=True, eq=False)
class DigitPreparation:
    """The features and the front end of a classifier of recordings.

    Attributes:
      classes: their names.
      features: makes inputs from frames.
      front_end: makes frames from recordings.
      test: the batches of the training's own test part.
    """

    classes: tuple[str, ...]
    features: SpeechFeatures
    front_end: FrontEnd
    test: Callable[[], Iterable[Batch]] | None = field(default=None, repr=False, metadata=RUN_DATA)

    def predict(self, outputs: Outputs, source: Any, horizon: int | None) -> Predictions:
        """Returns the class of each recording with the probabilities of all.

        Args:
          outputs: the model.
          source: a WAV file, or a folder of them; None: the test part.
          horizon: None.

        Raises:
          DataError: a file cannot be read, or has another rate than the training data.
          ValueError: there is a horizon.
        """
        if horizon is not None:
            raise ValueError(f"horizon must be None for recordings, got {horizon}; omit it")
        options = {"classes": self.classes, "last_step_only": True}
        if source is None:
            batches = require_run_data(self.test)()
            return with_summary(predict_batches(outputs, batches, "categorical", **options))
        files, batches = [], []
        for file, batch in recording_batches(Path(source), self.features, self.front_end):
            files.append(file.name)
            unknown = np.full(batch.mask.shape, IGNORE_INDEX, np.int32)
            batches.append(batch._replace(targets=unknown))
        found = predict_batches(outputs, batches, "categorical", **options)
        columns = dict(found.columns)
        del columns["example"]
        return with_summary(Predictions("class", {"file": np.array(files), **columns}))
