"""Training windows at random positions of the training part of series."""

from collections.abc import Callable

import numpy as np

from rnnlab.tasks.batch import Batch
from rnnlab.tasks.data import RngStream, rng_for


def random_windows(
    inputs: np.ndarray,
    targets: np.ndarray,
    length: int,
    batch_size: int,
    seed: int,
    *,
    every_position: bool = False,
) -> Callable[[int], Batch]:
    """Returns a function of training batches 0, 1, 2, ...: windows of random series.

    Args:
      inputs: (series, time, in_features) of the training part.
      targets: (series, time, out_features), NaN where an entry is not scored.
      length: time steps of a window.
      batch_size: windows per batch.
      seed: of the draws.
      every_position: whether windows without a target are drawn, too.

    >>> values = np.arange(12.0).reshape(2, 6, 1)
    >>> batch = random_windows(values, values, 3, 4, seed=0)(0)
    >>> batch.inputs.shape, bool((np.diff(batch.inputs, axis=1) == 1).all())
    ((4, 3, 1), True)
    """
    count = targets.shape[1] - length + 1
    if every_position:
        positions = np.arange(len(targets) * count)
    else:
        scored = np.cumsum((~np.isnan(targets)).any(axis=-1), axis=1)
        before = np.pad(scored, ((0, 0), (1, 0)))[:, :count]
        positions = np.flatnonzero(scored[:, length - 1 :] > before)

    def train_batch(n: int) -> Batch:
        drawn = rng_for(RngStream.TRAIN, seed, n).integers(len(positions), size=batch_size)
        series, start = np.divmod(positions[drawn], count)
        steps = start[:, None] + np.arange(length)
        return Batch(inputs[series[:, None], steps], targets[series[:, None], steps])

    return train_batch
