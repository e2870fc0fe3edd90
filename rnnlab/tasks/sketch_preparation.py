"""The likelihood of new drawings, with the scale that a training fixes."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnnlab.heads import Mixture
from rnnlab.tasks.batch import Batch, loss_mask
from rnnlab.tasks.batching.padding import pad, split_batches
from rnnlab.tasks.data import RngStream, rng_for
from rnnlab.tasks.predictions import RUN_DATA, Outputs, Predictions, require_run_data
from rnnlab.tasks.readers.strokes import Drawings, read_strokes
from rnnlab.tasks.sketch_coding import SketchCoding


@dataclass(frozen=True)
class SketchPreparation:
    """The scale and the head of a training on drawings.

    Attributes:
      coding: inputs and targets.
      head: of the model.
      batch_size: drawings per batch.
      test: the test part of the training's own drawings.
    """

    coding: SketchCoding
    head: Mixture
    batch_size: int
    test: Drawings | None = field(default=None, repr=False, metadata=RUN_DATA)

    def predict(self, outputs: Outputs, source: Any, horizon: int | None) -> Predictions:
        """Returns how likely a model finds each drawing, in nats per point.

        The columns are `drawing`, its number; `points`; `nats`, the mean negative log likelihood of
        its points in units of the grid; and `pen_nats`, the part of the pen.

        Args:
          outputs: the model.
          source: an `.npz` file of `rnnlab.tasks.readers.strokes.read_strokes`, of whose parts the
            last is read, or a list of drawings; None is the run's test part.
          horizon: must be None.

        Raises:
          DataError: the file is invalid.
          ValueError: `horizon` is not None.
        """
        if horizon is not None:
            raise ValueError(
                f"horizon must be None for drawings, of which every point is predicted, got "
                f"{horizon}; remove it"
            )
        drawings = self._drawings(source)
        points, nats, pen_nats = [], [], []
        for batch in self._batches(drawings):
            raw = np.asarray(outputs(batch), np.float32)
            movement, pen = self.nats(raw, batch.targets)
            counts = loss_mask(batch).any(-1).sum(1)
            real = counts > 0
            points.append(counts[real])
            nats.append((movement + pen).sum(1)[real] / counts[real])
            pen_nats.append(pen.sum(1)[real] / counts[real])
        count, mean, of_pen = (np.concatenate(x) for x in (points, nats, pen_nats))
        columns = {
            "drawing": np.arange(len(count)),
            "points": count,
            "nats": mean,
            "pen_nats": of_pen,
        }
        total = float(np.average(mean, weights=count))
        summary = f"{len(count):,} drawings of {count.sum():,} points; {total:.4f} nats per point."
        return Predictions("drawing", columns, summary)

    def nats(self, outputs: np.ndarray, targets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the nats of each movement, in units of the grid, and of each pen state.

        Args:
          outputs: (*batch, out_features).
          targets: (*batch, 3), NaN where a point is not scored, which has 0.
        """
        movement, pen = (np.asarray(x, np.float64) for x in self.head.nats(outputs, targets))
        known = ~np.isnan(targets).any(-1)
        units = 2 * np.log(self.coding.scale / self.coding.unit)
        return movement + np.where(known, units, 0), pen

    def _drawings(self, source: Any) -> Drawings:
        if source is None:
            return require_run_data(self.test)
        return source if isinstance(source, list) else list(read_strokes(source).values())[-1]

    def _batches(self, drawings: Drawings) -> list[Batch]:
        sequences = [self.coding.sequence(x) for x in drawings]
        inputs, mask = pad([x for x, _ in sequences])
        targets, _ = pad([y for _, y in sequences], value=np.nan)
        batch = self.coding.noisy(Batch(inputs, targets, mask), rng_for(RngStream.EVAL, 2))
        return list(split_batches(batch, min(self.batch_size, len(inputs))))
