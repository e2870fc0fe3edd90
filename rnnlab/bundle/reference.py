"""Statistics of held-out data, by which new data of another kind is found.

Single time steps are not independent, so the distribution of a window's statistic on held-out data
is measured instead of derived: an alarm's threshold is one of its quantiles. For a language model
the statistic that sees most is its own surprise, the mean negative log likelihood of the inputs
that it reads. All statistics are of the model's inputs, as the preparation makes them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from scipy.special import log_softmax

from rnnlab.tasks.batch import Batch, loss_mask
from rnnlab.tasks.predictions import Outputs

LEVELS = (0.001, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99, 0.999)
"""Levels of the quantiles."""

WINDOWS = (100, 300, 1000)
"""Time steps of the windows where there is enough held-out data."""

MIN_WINDOWS = 20
"""Fewest windows of the longest length; with less data all lengths are shortened."""

MAX_STEPS = 100_000
"""Greatest number of held-out time steps that are read."""


@dataclass(frozen=True)
class Distribution:
    """A statistic over windows: its mean, its deviation and its quantiles at the levels."""

    mean: float
    deviation: float
    quantiles: tuple[float, ...]

    @classmethod
    def of(cls, values: np.ndarray) -> "Distribution":
        """Returns the distribution of values (windows,)."""
        values = np.asarray(values, np.float64)
        return cls(
            float(values.mean()),
            float(values.std()),
            tuple(np.quantile(values, LEVELS).tolist()),
        )


@dataclass(frozen=True)
class WindowReference:
    """Statistics of windows of one length.

    Attributes:
      steps: time steps of a window.
      count: number of windows, of which none overlap.
      surprise: mean negative log likelihood of the next inputs, in nats; None where the model does
        not predict them.
      stability: `population_stability` of the tokens; None where inputs are values.
      feature_means: mean of each feature of the inputs; empty where inputs are tokens.
    """

    steps: int
    count: int
    surprise: Distribution | None
    stability: Distribution | None
    feature_means: tuple[Distribution, ...]


@dataclass(frozen=True)
class FeatureReference:
    """Range, mean, deviation and quantiles of one feature of the inputs, over time steps."""

    minimum: float
    maximum: float
    mean: float
    deviation: float
    quantiles: tuple[float, ...]


@dataclass(frozen=True)
class Reference:
    """Statistics of held-out data.

    Attributes:
      data: name of the evaluation set.
      steps: number of time steps that were read.
      longest: time steps of the longest sequence.
      levels: of all quantiles.
      token_shares: share of each token id; empty where inputs are values.
      features: of each feature of the inputs; empty where inputs are tokens.
      longest_gap: greatest time between inputs; None where inputs have no gaps.
      windows: by length, the shortest first.
    """

    data: str
    steps: int
    longest: int
    levels: tuple[float, ...]
    token_shares: tuple[float, ...]
    features: tuple[FeatureReference, ...]
    longest_gap: float | None
    windows: tuple[WindowReference, ...]


class HeldOut(NamedTuple):
    """Held-out time steps in the order of their sequences, without padding.

    Attributes:
      inputs: (steps,) token ids or (steps, in_features) values.
      surprise: (scored steps,) nats of the targets; None where they are not the next inputs.
      longest: time steps of the longest sequence.
      longest_gap: see `Reference`.
    """

    inputs: np.ndarray
    surprise: np.ndarray | None
    longest: int
    longest_gap: float | None


def make_reference(
    data: str, batches: Iterable[Batch], outputs: Outputs | None, vocab_size: int | None
) -> Reference:
    """Returns the statistics of an evaluation set.

    Args:
      data: its name.
      batches: its batches, of which the first `MAX_STEPS` time steps are read.
      outputs: the model, if its targets are the next token; otherwise None.
      vocab_size: number of token ids; None where inputs are values.

    Raises:
      ValueError: it has no time step.
    """
    held_out = _read(batches, outputs)
    inputs, steps = held_out.inputs, len(held_out.inputs)
    if not steps:
        raise ValueError(f"the set {data!r} must have a time step, got none; add data")
    shares = None
    if vocab_size is not None:
        shares = np.bincount(inputs, minlength=vocab_size) / steps
    features = () if shares is not None else tuple(_feature(x) for x in inputs.T)
    windows = [_window(held_out, shares, length) for length in window_lengths(steps)]
    return Reference(
        data=data,
        steps=steps,
        longest=held_out.longest,
        levels=LEVELS,
        token_shares=() if shares is None else tuple(shares.tolist()),
        features=features,
        longest_gap=held_out.longest_gap,
        windows=tuple(windows),
    )


def window_lengths(steps: int) -> tuple[int, ...]:
    """Returns the lengths of windows for a number of held-out time steps.

    >>> window_lengths(50_000), window_lengths(2_000)
    ((100, 300, 1000), (10, 30, 100))
    """
    longest = min(WINDOWS[-1], steps // MIN_WINDOWS)
    return tuple(max(1, longest * n // WINDOWS[-1]) for n in WINDOWS)


def population_stability(counts: np.ndarray, shares: Sequence[float]) -> np.ndarray:
    """Returns the population stability index of tokens: sum of (p - q) log(p / q).

    p are the shares of a window and q those of held-out data, both smoothed by half a token.

    Args:
      counts: (*batch, vocab_size) number of each token in a window.
      shares: (vocab_size,) of held-out data.

    >>> population_stability(np.array([2, 2]), [0.5, 0.5]).item()
    0.0
    """
    total, size = counts.sum(-1, keepdims=True), counts.shape[-1]
    expected = np.asarray(shares) * total
    p, q = ((x + 0.5) / (total + 0.5 * size) for x in (counts, expected))
    return ((p - q) * np.log(p / q)).sum(-1)


def _read(batches: Iterable[Batch], outputs: Outputs | None) -> HeldOut:
    inputs: list[np.ndarray] = []
    surprise: list[np.ndarray] = []
    longest, longest_gap, steps = 0, None, 0
    for batch in batches:
        mask = np.ones(batch.inputs.shape[:2], bool) if batch.mask is None else batch.mask
        if not mask.any():
            continue
        inputs.append(np.asarray(batch.inputs)[mask])
        longest = max(longest, int(mask.sum(axis=1).max()))
        if batch.gaps is not None:
            longest_gap = max(longest_gap or 0.0, float(batch.gaps[mask].max()))
        if outputs is not None:
            scored = loss_mask(batch)
            logs = log_softmax(np.asarray(outputs(batch), np.float64)[scored], axis=-1)
            surprise.append(-np.take_along_axis(logs, batch.targets[scored][:, None], 1)[:, 0])
        steps += int(mask.sum())
        if steps >= MAX_STEPS:
            break
    return HeldOut(
        np.concatenate(inputs)[:MAX_STEPS] if inputs else np.zeros(0),
        np.concatenate(surprise)[:MAX_STEPS] if surprise else None,
        longest,
        longest_gap,
    )


def _window(held_out: HeldOut, shares: np.ndarray | None, steps: int) -> WindowReference:
    inputs = _windows(held_out.inputs, steps)
    surprise = stability = None
    if held_out.surprise is not None and len(held_out.surprise) >= steps:
        surprise = Distribution.of(_windows(held_out.surprise, steps).mean(axis=1))
    means: tuple[Any, ...] = ()
    if shares is None:
        means = tuple(map(Distribution.of, inputs.mean(axis=1, dtype=np.float64).T))
    else:
        counts = np.stack([np.bincount(window, minlength=len(shares)) for window in inputs])
        stability = Distribution.of(population_stability(counts, shares))
    return WindowReference(steps, len(inputs), surprise, stability, means)


def _windows(values: np.ndarray, steps: int) -> np.ndarray:
    """Consecutive windows (windows, steps, ...) of values (time, ...), without the rest."""
    count = len(values) // steps
    return values[: count * steps].reshape(count, steps, *values.shape[1:])


def _feature(values: np.ndarray) -> FeatureReference:
    values = values.astype(np.float64)
    return FeatureReference(
        float(values.min()),
        float(values.max()),
        float(values.mean()),
        float(values.std()),
        tuple(np.quantile(values, LEVELS).tolist()),
    )
