"""Hidden Markov models of speech: a Gaussian per state, states from left to right.

The classical recognizer and aligner. A sequence of frames passes its states in order; a state may
be optional. Training alternates the best path of each sequence (Viterbi) with the means and
variances of the frames of each state. All transitions are equally likely.

Source: Rabiner, Proc. IEEE 77 (1989); Viterbi training: Juang and Rabiner, IEEE Trans. ASSP 38
(1990).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

VARIANCE_FLOOR = 0.05
"""Smallest variance of a state, relative to that of all frames."""

_BATCH = 32


class StatePath(NamedTuple):
    """The states that a sequence passes, in order.

    Attributes:
      states: (length,) numbers of states, which several places may share.
      optional: (length,) bool, which of them may be omitted; never two in a row.
    """

    states: np.ndarray
    optional: np.ndarray


class GaussianStates(NamedTuple):
    """Diagonal Gaussians.

    Attributes:
      means, variances: (states, features).
    """

    means: np.ndarray
    variances: np.ndarray

    def log_likelihoods(self, frames: np.ndarray) -> np.ndarray:
        """Returns the log densities of frames (time, features), (time, states)."""
        precision = 1 / self.variances
        constant = -0.5 * np.log(2 * np.pi * self.variances).sum(1)
        constant -= 0.5 * (np.square(self.means) * precision).sum(1)
        return (
            constant - 0.5 * np.square(frames) @ precision.T + frames @ (self.means * precision).T
        )


def train(
    sequences: Sequence[np.ndarray],
    paths: Sequence[StatePath],
    num_states: int,
    iterations: int = 8,
) -> GaussianStates:
    """Returns the states of Viterbi training, from an even division of each sequence.

    Args:
      sequences: (time, features) of each sequence.
      paths: of each sequence. One that has fewer frames than states is skipped.
      num_states: number of states.
      iterations: realignments.

    >>> path = StatePath(np.array([0, 1]), np.zeros(2, bool))
    >>> sequences = [np.array([[0.0], [0.1], [4.9], [5.0], [5.1], [5.0]])] * 2
    >>> train(sequences, [path] * 2, 2).means.round(2).tolist()
    [[0.05], [5.0]]
    """
    frames = np.concatenate(sequences)
    floor = VARIANCE_FLOOR * frames.var(0) + 1e-12
    start = GaussianStates(
        np.repeat(frames.mean(0)[None], num_states, 0),
        np.repeat(frames.var(0)[None], num_states, 0),
    )
    places = [
        np.arange(len(x)) * len(path.states) // len(x)
        for x, path in zip(sequences, paths, strict=True)
    ]
    states = start
    for n in range(iterations + 1):
        if n:
            places = align(states, sequences, paths)[0]
        kept = [k for k, place in enumerate(places) if len(place)]
        number = np.concatenate([paths[k].states[places[k]] for k in kept])
        values = np.concatenate([sequences[k] for k in kept])
        states = _estimated(values, number, num_states, floor, start)
    return states


def align(
    states: GaussianStates, sequences: Sequence[np.ndarray], paths: Sequence[StatePath]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns the most likely place in its path of each frame, and its log likelihood.

    Args:
      states: the Gaussians.
      sequences: (time, features) of each sequence.
      paths: of each sequence.

    Returns:
      For each sequence the places (time,), empty if it has fewer frames than states; and the log
      likelihoods (sequences,), minus infinity there.
    """
    places: list[np.ndarray] = [np.zeros(0, int)] * len(sequences)
    scores = np.full(len(sequences), -np.inf)
    order = sorted(range(len(sequences)), key=lambda k: len(sequences[k]))
    for first in range(0, len(order), _BATCH):
        chosen = order[first : first + _BATCH]
        found, score = _viterbi(
            [states.log_likelihoods(sequences[k]) for k in chosen], [paths[k] for k in chosen]
        )
        for k, place, value in zip(chosen, found, score, strict=True):
            scores[k] = value
            if np.isfinite(value):
                places[k] = place
    return places, scores


def _viterbi(
    log_densities: Sequence[np.ndarray], paths: Sequence[StatePath]
) -> tuple[list[np.ndarray], np.ndarray]:
    """The best places and their scores, of several sequences at the same time."""
    lengths = np.array([len(x) for x in log_densities])
    sizes = np.array([len(path.states) for path in paths])
    rows, time, width = np.arange(len(lengths)), lengths.max(), sizes.max()
    emitted = np.full((time, len(lengths), width), -np.inf)
    skippable = np.zeros((len(lengths), width), bool)
    for row, (x, path) in enumerate(zip(log_densities, paths, strict=True)):
        emitted[: len(x), row, : len(path.states)] = x[:, path.states]
        skippable[row, : len(path.states)] = path.optional
    score = np.full((len(lengths), width), -np.inf)
    score[:, 0] = emitted[0, :, 0]
    if width > 1:
        score[:, 1] = np.where(skippable[:, 0], emitted[0, :, 1], -np.inf)
    moved = np.zeros((time, len(lengths), width), np.int8)
    for t in range(1, time):
        options = np.full((3, len(lengths), width), -np.inf)
        options[0] = score
        options[1, :, 1:] = score[:, :-1]
        options[2, :, 2:] = np.where(skippable[:, 1:-1], score[:, :-2], -np.inf)
        moved[t] = options.argmax(0)
        running = (t < lengths)[:, None]
        score = np.where(running, options.max(0) + emitted[t], score)
    last = sizes - 1
    before = np.maximum(last - 1, 0)
    skips_last = skippable[rows, last] & (score[rows, before] > score[rows, last])
    place = np.where(skips_last, before, last)
    total = score[rows, place]
    found = np.zeros((time, len(lengths)), int)
    for t in range(time - 1, -1, -1):
        found[t] = place
        place = np.where(t < lengths, place - moved[t, rows, place], place)
    return [found[:length, row] for row, length in enumerate(lengths)], total


def _estimated(
    values: np.ndarray, number: np.ndarray, count: int, floor: np.ndarray, default: GaussianStates
) -> GaussianStates:
    """The Gaussian of the frames of each state; the default of a state without frames."""
    frames = np.bincount(number, minlength=count)[:, None]
    sums, squares = np.zeros(default.means.shape), np.zeros(default.means.shape)
    np.add.at(sums, number, values)
    np.add.at(squares, number, np.square(values))
    means = sums / np.maximum(frames, 1)
    variances = np.maximum(squares / np.maximum(frames, 1) - np.square(means), floor)
    return GaussianStates(
        np.where(frames > 0, means, default.means),
        np.where(frames > 0, variances, default.variances),
    )
