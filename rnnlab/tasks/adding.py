"""The adding problem."""

import functools
from dataclasses import dataclass

import numpy as np

from rnnlab.tasks.batch import Batch
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.generated_data import generated_data
from rnnlab.validation import require_positive_int


@dataclass(frozen=True)
class Adding:
    """Add the two marked numbers of a sequence; the target is their sum at the last time step.

    A time step has a number, uniform in [0, 1), and a marker, which is 1 at one time step of each
    half and 0 elsewhere. The baseline `"constant"` is the best constant prediction, 1, with a mean
    squared error of 2/12 = 1/6.

    Attributes:
      length: number of time steps, at least 2.
      batch_size: examples per batch.
      evaluation_size: examples in each evaluation set.

    Raises:
      ValueError: a size is out of range.

    Source: arXiv 1511.06464, which marks one time step in each half; arXiv 1803.01271, section 4,
    draws both from the whole sequence.

    >>> task = Adding(length=4, batch_size=1)
    >>> batch = task.load(seed=0).train_batch(0)
    >>> print(batch.inputs.round(2))
    [[[0.85 1.  ]
      [0.64 0.  ]
      [0.51 1.  ]
      [0.27 0.  ]]]
    >>> print(batch.targets[..., 0].round(2))
    [[ nan  nan  nan 1.36]]
    """

    length: int = 600
    batch_size: int = 32
    evaluation_size: int = 1024

    def __post_init__(self):
        require_positive_int(batch_size=self.batch_size, evaluation_size=self.evaluation_size)
        if self.length < 2:
            raise ValueError(f"length must be >= 2, got {self.length}; raise it")

    def load(self, seed: int) -> TaskData:
        return generated_data(
            self,
            seed,
            functools.partial(sample_adding, length=self.length),
            loss="squared",
            metrics=("mse", "mae"),
            out_features=1,
            in_features=2,
            baselines=lambda test: {"constant": 1 / 6},
        )


def sample_adding(rng: np.random.Generator, batch_size: int, *, length: int) -> Batch:
    """Returns examples of `Adding`: inputs (batch_size, length, 2)."""
    inputs = np.zeros((batch_size, length, 2), np.float32)
    inputs[..., 0] = rng.random((batch_size, length), np.float32)
    half = length // 2
    example = np.arange(batch_size)
    inputs[example, rng.integers(0, half, batch_size), 1] = 1
    inputs[example, rng.integers(half, length, batch_size), 1] = 1
    targets = np.full((batch_size, length, 1), np.nan, np.float32)
    targets[:, -1, 0] = (inputs[..., 0] * inputs[..., 1]).sum(-1)
    return Batch(inputs, targets)
