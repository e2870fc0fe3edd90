"""A trained model with the data that it was trained on, which predicts from new data."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
from flax import nnx

from rnnlab.models import SequenceModel
from rnnlab.runs.api import load_trained_model
from rnnlab.runs.locate import find_run
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.predictions import Outputs, Predictions, predict_batches, with_summary
from rnnlab.train.evaluate import make_decode, make_predict
from rnnlab.train.prefetch import validate_batch


@dataclasses.dataclass(frozen=True, eq=False)
class TrainedModel:
    """The model of a run, with the parameters of its best step, or of a bundle.

    Attributes:
      path: the run directory, or the folder of the bundle.
      model: the model.
      data: the data of the run; of a bundle only its description, without any batch.
    """

    path: Path
    model: SequenceModel
    data: TaskData

    def predict(self, source: Any = None, *, horizon: int | None = None) -> Predictions:
        """Returns the model's predictions.

        Args:
          source: the data to predict from. None: the test part of the run's own data, and for a
            series also what follows its end. A path (for a text only a `pathlib.Path`) or data in
            memory: new data of the same kind, see the run's task.
          horizon: time steps to forecast; None: as many as the model was trained for. Only for
            forecasting.

        Raises:
          DataError: the new data does not fit the training data.
          ValueError: the task predicts only from its own data, or has no horizon.
        """
        if self.data.preparation is not None:
            return self.data.preparation.predict(
                model_outputs(self.model, self.data), source, horizon
            )
        if source is not None:
            raise ValueError(
                f"the task of {self.path} generates its data and cannot read other data; omit it"
            )
        if horizon is not None:
            raise ValueError(f"{self.path} is not a run on a series to forecast; omit horizon")
        if not self.data.eval_sets:
            raise ValueError(
                f"{self.path} must be a run where a task generates its data, which a bundle does "
                "not have; predict with the run, or call the model"
            )
        (*_, batches) = self.data.eval_sets.values()
        return with_summary(
            predict_batches(
                model_outputs(self.model, self.data),
                batches(),
                self.data.loss,
                classes=self.data.classes or self.data.vocabulary,
                scored_only=True,
                target_scale=self.data.target_scale,
            )
        )


def model_outputs(model: SequenceModel, data: TaskData) -> Outputs:
    """Returns a model as a function of a batch, on the host.

    The function returns outputs (batch, time, out_features) of float64; of a model that generates
    label sequences these, (batch, label_time) of int32, by the decoder of `data.decoding`.

    Args:
      model: the model.
      data: that of its run, whose sizes a batch must fit.
    """
    graphdef, params = nnx.split(model, nnx.Param)
    decode = make_decode(graphdef, data.decoding)
    predict = make_predict(graphdef)

    def outputs(batch: Batch) -> np.ndarray:
        validate_batch(data, batch)
        if decode is not None:
            return np.asarray(decode(params, batch))
        return np.asarray(predict(params, batch), np.float64)

    return outputs


def load(path: Path | str, *, strict: bool = False) -> TrainedModel:
    """Returns the trained model of a run.

    Args:
      path: the run directory, or a directory that contains only one run, such as `runs/latest`.
      strict: fail if the best checkpoint is corrupt instead of using the latest valid one.

    Raises:
      CheckpointError: the directory has no run, or no valid checkpoint.
    """
    path = find_run(Path(path))
    return TrainedModel(path, *load_trained_model(path, strict=strict))
