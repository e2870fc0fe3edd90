"""Drawings as inputs and targets of a model, with the scale that a training fixes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rnnlab.tasks.batch import Batch
from rnnlab.tasks.batching.packing import packed_batch

PEN_STATES = 3
"""States of the pen after a point: it stays down, it is lifted, or the drawing ends."""

DOWN, LIFTED, END = range(PEN_STATES)


@dataclass(frozen=True)
class SketchCoding:
    """Inputs and targets of drawings.

    The input of a time step is the point before: its movement in units of `scale`, whether the pen
    was lifted after it, and whether the time step is the first one. The target is the next
    point: its movement in units of `scale` and the state of the pen after it.

    Attributes:
      scale: deviation of the movements of the training part, in the units of the data.
      noise: width of the uniform noise on the targets, in the units of the data; 0: none.
      length: points of the longest drawing; a longer one is cut, and then has no end.

    >>> coding = SketchCoding(scale=2.0, noise=0.0, length=9)
    >>> inputs, targets = coding.sequence(np.array([[4, 0, 1], [2, 6, 1]]))
    >>> inputs.tolist(), targets.tolist()
    ([[0.0, 0.0, 0.0, 1.0], [2.0, 0.0, 1.0, 0.0]], [[2.0, 0.0, 1.0], [1.0, 3.0, 2.0]])
    """

    scale: float
    noise: float
    length: int

    @property
    def unit(self) -> float:
        """The unit of likelihoods, in the units of the data: the grid, or 1 without noise."""
        return self.noise or 1.0

    @property
    def in_features(self) -> int:
        """Number of input values of a time step."""
        return 4

    def sequence(self, drawing: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the inputs (time, 4) and the targets (time, 3) of a drawing, without noise.

        Args:
          drawing: (points, 3), see `rnnlab.tasks.readers.strokes.Drawings`.
        """
        points = drawing[: self.length].astype(np.float32)
        targets = points / np.array([self.scale, self.scale, 1], np.float32)
        inputs = np.zeros((len(points), self.in_features), np.float32)
        inputs[0, 3] = 1
        inputs[1:, :3] = targets[:-1]
        if len(drawing) <= self.length:
            targets[-1, 2] = END
        return inputs, targets

    def packed(self, drawings: Sequence[np.ndarray]) -> Batch:
        """Returns the sequences of drawings, several per row, each after a reset."""
        sequences = [self.sequence(x) for x in drawings]
        return packed_batch([x for x, _ in sequences], [y for _, y in sequences])

    def noisy(self, batch: Batch, rng: np.random.Generator) -> Batch:
        """Returns a batch whose targets have noise. Inputs stay exact."""
        if not self.noise:
            return batch
        targets = batch.targets.copy()
        shape = (*targets.shape[:-1], 2)
        width = self.noise / self.scale
        targets[..., :2] += (width * (rng.random(shape, np.float32) - 0.5)).astype(np.float32)
        return batch._replace(targets=targets)

    def drawing(self, points: np.ndarray) -> np.ndarray:
        """Returns generated points up to the first end, (points, 3), as drawings of the data are.

        Args:
          points: (time, 3), movements in units of `scale` and states of the pen.
        """
        ends = np.flatnonzero(points[:, 2] == END)
        kept = points[: ends[0] + 1] if len(ends) else points
        lifted = (kept[:, 2] != DOWN).astype(np.float32)
        return np.concatenate([kept[:, :2] * self.scale, lifted[:, None]], axis=1)
