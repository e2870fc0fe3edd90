"""Random changes of training examples, keyed by the seed and the number of the batch."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rnnlab.tasks.batch import Batch, last_steps, loss_mask
from rnnlab.tasks.batching.padding import ignore_value
from rnnlab.tasks.data import RngStream, rng_for

_KNOTS = 5
"""Points of the random speed of a time warp, between which it is linear."""


@dataclass(frozen=True)
class Augmentation:
    """Random changes of the examples of a training batch; 0 omits a change.

    Inputs are values, standardized as a rule: the strengths are relative to a deviation of 1, and a
    masked value becomes 0, the mean. Padding stays as it is.

    Attributes:
      jitter: deviation of the noise on every value.
      scale: deviation of the logarithm of a factor of all values of an example.
      time_warp: deviation of the logarithm of the speed, which varies over an example. The length
        stays; inputs are interpolated, and targets move with the nearest time step.
      window_slice: the largest share of time steps that an example loses at its two ends.
      time_mask: the largest share of adjacent time steps whose inputs are masked.
      feature_mask: the largest share of adjacent features that are masked.

    The only target of an example, if it is at its last time step, stays at its last time step.

    Raises:
      ValueError: a strength is out of range.

    Source: Um et al., arXiv 1706.00527, for jitter, scale and time warp; Le Guennec et al., "Data
    Augmentation for Time Series Classification using Convolutional Neural Networks" (2016), for
    the slice; Park et al., arXiv 1904.08779, for the masks.

    >>> batch = Batch(np.ones((1, 4, 1), np.float32), np.array([[-1, -1, -1, 2]]))
    >>> changed = Augmentation(scale=0.1).apply(batch, seed=0, n=0)
    >>> bool((changed.inputs == changed.inputs[0, 0, 0]).all()), changed.targets.tolist()
    (True, [[-1, -1, -1, 2]])
    """

    jitter: float = 0.0
    scale: float = 0.0
    time_warp: float = 0.0
    window_slice: float = 0.0
    time_mask: float = 0.0
    feature_mask: float = 0.0

    def __post_init__(self):
        for name in ("jitter", "scale", "time_warp"):
            if not 0 <= getattr(self, name) < np.inf:
                raise ValueError(
                    f"augment {name} must be a number >= 0, got {getattr(self, name)}; "
                    f"pass such as {name}=0.1"
                )
        for name in ("window_slice", "time_mask", "feature_mask"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(
                    f"augment {name} must be in [0, 1), a share, got {getattr(self, name)}; "
                    f"pass such as {name}=0.2"
                )

    @classmethod
    def parse(cls, changes: Sequence[str]) -> "Augmentation":
        """Returns the changes of texts such as "jitter=0.1", as a task's setting has them.

        Raises:
          ValueError: a change is unknown, is given twice or has no valid number.

        >>> Augmentation.parse(["jitter=0.1", "window-slice=0.5"]).window_slice
        0.5
        """
        names = [f.name for f in dataclasses.fields(cls)]
        strengths: dict[str, float] = {}
        for change in changes:
            name, _, number = change.partition("=")
            name = name.replace("-", "_")
            if name not in names or name in strengths:
                raise ValueError(
                    f"augment must have each of {', '.join(names)} at most once, got {change!r}; "
                    "write such as jitter=0.1"
                )
            try:
                strengths[name] = float(number)
            except ValueError:
                raise ValueError(
                    f"augment {name} must have a number, got {change!r}; write such as {name}=0.1"
                ) from None
        return cls(**strengths)

    def apply(self, batch: Batch, seed: int, n: int, *, features: slice | None = None) -> Batch:
        """Returns the changed examples of training batch n, the same at each call.

        Args:
          batch: examples whose inputs are values.
          seed, n: of the random numbers.
          features: which features jitter, scale and the feature mask change; None: all.

        Raises:
          ValueError: inputs are tokens, or the time warp or the slice meets examples that are
            packed or have label sequences.
        """
        if self == Augmentation():
            return batch
        if not np.issubdtype(batch.inputs.dtype, np.floating):
            raise ValueError(
                "augment must be used with inputs that are values, got token ids; remove it"
            )
        if (self.time_warp or self.window_slice) and not (batch.reset is batch.labels is None):
            raise ValueError(
                "augment time_warp and window_slice must be used with one sequence per row, whose "
                "targets are at its time steps, got packed rows or label sequences; use batching "
                "'pad' or remove them"
            )
        features = slice(None) if features is None else features
        rng = rng_for(RngStream.AUGMENT, seed, n)
        # Each change draws from its own generator: one more leaves the others as they are.
        slicing, warping, values, times, masked = rng.spawn(5)
        if self.window_slice:
            batch = random_slice(batch, self.window_slice, slicing)
        if self.time_warp:
            batch = time_warp(batch, self.time_warp, warping)
        inputs = batch.inputs.copy()
        rows = len(inputs)
        inputs[..., features] *= np.exp(self.scale * values.normal(size=(rows, 1, 1)))
        noise = values.normal(size=inputs[..., features].shape)
        inputs[..., features] += self.jitter * noise
        inputs[_runs(times, _lengths(batch), inputs.shape[1], self.time_mask)] = 0
        width = inputs[..., features].shape[-1]
        hidden = _runs(masked, np.full(rows, width), width, self.feature_mask)
        inputs[..., features] *= ~hidden[:, None]
        if batch.mask is not None:
            inputs = np.where(batch.mask[..., None], inputs, batch.inputs)
        return batch._replace(inputs=inputs)


def augmented(
    train_batch: Callable[[int], Batch],
    augmentation: Augmentation,
    seed: int,
    features: slice | None = None,
) -> Callable[[int], Batch]:
    """Returns a function from a number to a changed training batch, as `TaskData.train_batch`."""
    if augmentation == Augmentation():
        return train_batch
    return lambda n: augmentation.apply(train_batch(n), seed, n, features=features)


def random_slice(batch: Batch, share: float, rng: np.random.Generator) -> Batch:
    """Returns examples without up to `share` of their time steps at both ends; others become
    padding.

    >>> batch = Batch(np.arange(4.0).reshape(1, 4, 1), np.array([[-1, -1, -1, 1]]))
    >>> cut = random_slice(batch, 0.5, np.random.default_rng(1))
    >>> cut.inputs[0, :, 0].tolist(), cut.targets.tolist(), cut.mask.tolist()
    ([1.0, 2.0, 3.0, 0.0], [[-1, -1, 1, -1]], [[True, True, True, False]])
    """
    lengths, time = _lengths(batch), batch.inputs.shape[1]
    kept = np.maximum(lengths - np.floor(rng.uniform(size=len(lengths)) * share * lengths), 1)
    kept = np.minimum(kept.astype(int), lengths)
    start = np.floor(rng.uniform(size=len(lengths)) * (lengths - kept + 1)).astype(int)
    mask = np.arange(time)[None] < kept[:, None]
    source = np.where(mask, start[:, None] + np.arange(time)[None], 0)
    targets = _moved(batch.targets, source)
    targets[~mask] = ignore_value(targets)
    at_end = _is_only_at_end(batch)
    targets[last_steps(mask) & at_end[:, None]] = batch.targets[
        last_steps(_mask(batch)) & at_end[:, None]
    ]
    gaps = None
    if batch.gaps is not None:
        gaps = np.where(mask, _moved(batch.gaps, source), 0)
        gaps[:, 0] = 0
    inputs = np.where(mask[..., None], _moved(batch.inputs, source), 0)
    return batch._replace(inputs=inputs, targets=targets, mask=mask, gaps=gaps)


def time_warp(batch: Batch, strength: float, rng: np.random.Generator) -> Batch:
    """Returns examples read at a speed that varies, from their first to their last time step.

    >>> batch = Batch(np.arange(5.0).reshape(1, 5, 1), np.array([[0, 1, 2, 3, 4]]))
    >>> warped = time_warp(batch, 1.0, np.random.default_rng(0))
    >>> warped.inputs[0, :, 0].round(1).tolist(), warped.targets.tolist()
    ([0.0, 0.8, 2.5, 3.5, 4.0], [[0, 1, 2, 3, 4]])
    """
    position = _warped_positions(_lengths(batch), batch.inputs.shape[1], strength, rng)
    nearest = np.rint(position).astype(int)
    targets = np.where(
        _rowwise(_is_only_at_end(batch), batch.targets),
        batch.targets,
        _moved(batch.targets, nearest),
    )
    gaps = batch.gaps
    if gaps is not None:
        at = _interpolated(np.cumsum(gaps, axis=1, dtype=np.float64), position)
        gaps = np.diff(at, axis=1, prepend=at[:, :1]).astype(batch.gaps.dtype)
    return batch._replace(inputs=_interpolated(batch.inputs, position), targets=targets, gaps=gaps)


def _warped_positions(
    lengths: np.ndarray, time: int, strength: float, rng: np.random.Generator
) -> np.ndarray:
    """The fractional time step that each one reads, (examples, time), from 0 to the last one."""
    knots = strength * rng.normal(size=(len(lengths), _KNOTS))
    last = np.maximum(lengths - 1, 1)[:, None]
    steps = np.arange(time)[None]
    place = np.minimum(steps / last, 1) * (_KNOTS - 1)
    speed = np.exp(_interpolated(knots, place))
    speed[:, 0] = 0
    travelled = np.cumsum(np.where(steps < lengths[:, None], speed, 0), axis=1)
    total = travelled[:, -1:]
    position = travelled / np.where(total > 0, total, 1) * (lengths - 1)[:, None]
    return np.where(steps < lengths[:, None] - 1, position, steps)  # the last step, and padding


def _interpolated(values: np.ndarray, position: np.ndarray) -> np.ndarray:
    """Values (examples, time, ...) at fractional time steps, linear between their neighbours."""
    low = np.clip(np.floor(position).astype(int), 0, values.shape[1] - 1)
    # At a whole time step both are the same one, so that none reads the padding after it.
    high = np.minimum(np.ceil(position).astype(int), values.shape[1] - 1)
    fraction = _rowwise(position - low, values).astype(values.dtype)
    left = _moved(values, low)
    return left + fraction * (_moved(values, high) - left)


def _moved(values: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Values (examples, time, ...) of the time steps `source` (examples, new time)."""
    return np.take_along_axis(values, _rowwise(source, values), axis=1)


def _rowwise(x: np.ndarray, like: np.ndarray) -> np.ndarray:
    """x with axes of size 1 appended, as many as it needs to have those of `like`."""
    return x.reshape(*x.shape, *(1,) * (like.ndim - x.ndim))


def _runs(rng: np.random.Generator, lengths: np.ndarray, size: int, share: float) -> np.ndarray:
    """A run of up to `share` of each length at a random place, (examples, size) bool."""
    longest = np.floor(share * lengths).astype(int)
    run = np.floor(rng.uniform(size=len(lengths)) * (longest + 1)).astype(int)
    start = np.floor(rng.uniform(size=len(lengths)) * (lengths - run + 1)).astype(int)
    at = np.arange(size)[None]
    return (at >= start[:, None]) & (at < (start + run)[:, None])


def _mask(batch: Batch) -> np.ndarray:
    return np.ones(batch.inputs.shape[:2], bool) if batch.mask is None else batch.mask


def _lengths(batch: Batch) -> np.ndarray:
    return _mask(batch).sum(axis=1)


def _is_only_at_end(batch: Batch) -> np.ndarray:
    """Whether the last real time step of an example has its only target, (examples,) bool."""
    known = loss_mask(batch)
    known = known if known.ndim == 2 else known.any(-1)
    return (known.sum(1) == 1) & (known & last_steps(_mask(batch))).any(1)
