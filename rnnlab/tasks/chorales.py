"""Polyphonic music: predict the keys that sound at the next time step of a chorale."""

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnlab.optional import require_module
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.batching.padding import pad, split_batches
from rnnlab.tasks.batching.sampler import EpochSampler
from rnnlab.tasks.data import RngStream, TaskData, rng_for
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.text import read_bytes
from rnnlab.validation import require_positive_int

NUM_KEYS = 88
LOWEST_KEY = 21
"""MIDI number of the first key."""

_PARTS = ("traindata", "validdata", "testdata")

# Of the pieces of music21, like 76 and 77 of the 382 pieces of the .mat file.
_EVAL_FRACTION = 0.2


@dataclass(frozen=True)
class Chorales:
    """Predict which of 88 keys sound at the next time step of a Bach chorale.

    A time step is 88 zeros and ones. The loss of a time step is summed over its keys and averaged
    over all predicted time steps of all pieces, so that results compare with those of the TCN paper
    (`JSB_Chorales.mat` of its code: 229, 76 and 77 pieces; GRU 8.43, LSTM 8.45, TCN 8.10 nats).
    Baselines are the frequency of each key, and its frequency given its previous time step.

    Attributes:
      path: a `.mat` file of piano rolls with `traindata`, `validdata` and `testdata`; None takes
        the chorales of music21, parsed at `quarters_per_step` and split the same way for every
        seed: other pieces, other figures.
      batch_size: pieces per batch, padded to the longest of the training part.
      quarters_per_step: quarter notes per time step, for music21: 0.25 is a sixteenth note.
      limit: number of pieces of music21, from the first; None is all 371, which take about a
        minute.

    Raises:
      ValueError: a setting is out of range, scipy or music21 is not installed, or the file does not
        contain piano rolls.

    Source: arXiv 1206.6392 for the task, arXiv 1803.01271 for the measure.

    >>> Chorales(batch_size=4)
    Chorales(path=None, batch_size=4, quarters_per_step=1.0, limit=None)
    """

    path: Path | None = None
    batch_size: int = 8
    quarters_per_step: float = 1.0
    limit: int | None = None

    def __post_init__(self):
        require_positive_int(batch_size=self.batch_size)
        if self.limit is not None:
            require_positive_int(limit=self.limit)
        if not 0 < self.quarters_per_step <= 4:
            raise ValueError(
                f"quarters_per_step must be in (0, 4], got {self.quarters_per_step}; use 1"
            )

    def load(self, seed: int) -> TaskData:
        """Reads the pieces. `seed` orders the training batches."""
        if self.path is None:
            pieces = _split(corpus_pieces(self.quarters_per_step, self.limit))
        else:
            pieces = read_mat(self.path)
        train, valid, test = (_batch(part) for part in pieces)
        sampler = EpochSampler(len(train.inputs), self.batch_size, seed)
        return TaskData(
            loss="binary",
            metrics=("nll",),
            out_features=NUM_KEYS,
            train_batch=functools.partial(sampler.take, train),
            eval_sets={
                "valid": functools.partial(split_batches, valid, self.batch_size),
                "test": functools.partial(split_batches, test, self.batch_size),
            },
            baselines=functools.partial(_baselines, pieces[0], pieces[2]),
            in_features=NUM_KEYS,
            autoregressive=True,
            fingerprint=fingerprint(*(piece for part in pieces for piece in part)),
        )


def read_mat(path: str | os.PathLike) -> tuple[list[np.ndarray], ...]:
    """Returns the training, validation and test pieces of a `.mat` file: (time, 88) of 0 and 1.

    Raises:
      DataError: the file does not contain piano rolls.
      ValueError: scipy is not installed.
    """
    path, scipy_io = Path(path), require_module("scipy.io")
    read_bytes(path)
    try:
        parts = scipy_io.loadmat(path, variable_names=_PARTS)
    except Exception as error:  # scipy's readers raise what their parsers happen to meet
        raise data_error(
            path, f"is not a .mat file that scipy reads: {error}; convert it"
        ) from error
    for name in _PARTS:
        if name not in parts:
            raise data_error(
                path, f"must have the arrays {', '.join(_PARTS)}, got no {name!r}; add it"
            )
        for number, piece in enumerate(parts[name].ravel()):
            shape = np.shape(piece)
            if len(shape) != 2 or shape[0] < 2 or shape[1] != NUM_KEYS:
                reason = f"{name} {number} must have shape (>= 2, {NUM_KEYS}), got {shape}; fix it"
                raise data_error(path, reason)
            if not np.isin(piece, (0, 1)).all():
                raise data_error(path, f"{name} {number} must consist of 0 and 1; fix it")
    return tuple([np.asarray(x, np.float32) for x in parts[name].ravel()] for name in _PARTS)


@functools.lru_cache(maxsize=2)
def corpus_pieces(quarters_per_step: float, limit: int | None) -> tuple[np.ndarray, ...]:
    """Returns music21's chorales as piano rolls (time, 88).

    Raises:
      ValueError: music21 is not installed.
    """
    corpus = require_module("music21.corpus")
    names = corpus.chorales.Iterator(returnType="filename")
    rolls = []
    for _, name in zip(range(limit or len(names)), names, strict=False):
        notes = [
            (float(note.offset), float(note.duration.quarterLength), pitch.midi)
            for note in corpus.parse(name).flatten().notes
            for pitch in note.pitches
        ]
        rolls.append(piano_roll(notes, quarters_per_step))
    return tuple(rolls)


def piano_roll(notes: Sequence[tuple[float, float, int]], quarters_per_step: float) -> np.ndarray:
    """Returns which keys sound at times 0, quarters_per_step, ...: (time, 88) of 0 and 1.

    Args:
      notes: start and duration in quarter notes, and MIDI number, of each note.
      quarters_per_step: quarter notes per time step.

    >>> roll = piano_roll([(0.0, 2.0, 60), (1.5, 0.5, 64)], quarters_per_step=1.0)
    >>> [(np.flatnonzero(step) + LOWEST_KEY).tolist() for step in roll]
    [[60], [60]]
    """
    end = max(start + duration for start, duration, _ in notes)
    roll = np.zeros((int(np.ceil(round(end / quarters_per_step, 6))), NUM_KEYS), np.float32)
    for start, duration, number in notes:
        if not 0 <= number - LOWEST_KEY < NUM_KEYS:
            highest = LOWEST_KEY + NUM_KEYS - 1
            raise ValueError(
                f"notes must be in {LOWEST_KEY} to {highest}, got {number}; transpose the piece"
            )
        # Triplets are not binary fractions, so times are rounded before they become time steps.
        times = np.round(np.array([start, start + duration]) / quarters_per_step, 6)
        first, last = np.ceil(times).astype(int)
        roll[first:last, number - LOWEST_KEY] = 1
    return roll


def _split(pieces: Sequence[np.ndarray]) -> tuple[list[np.ndarray], ...]:
    size = int(len(pieces) * _EVAL_FRACTION)
    if size < 1:
        raise ValueError(f"limit must be >= 5 to be split, got {len(pieces)}; raise it")
    order = rng_for(RngStream.FIXED, len(pieces)).permutation(len(pieces))
    return tuple([pieces[piece] for piece in part] for part in np.split(order, [-2 * size, -size]))


def _batch(pieces: Sequence[np.ndarray]) -> Batch:
    inputs, mask = pad([piece[:-1] for piece in pieces])
    targets, _ = pad([piece[1:] for piece in pieces], value=np.nan)
    return Batch(inputs, targets, mask)


def _baselines(train: Sequence[np.ndarray], test: Sequence[np.ndarray]) -> dict[str, float]:
    """Losses of each key's frequency, and of its frequency given its previous time step.

    Counts start at 1, so that no probability is 0.
    """
    previous = np.concatenate([piece[:-1] for piece in train])
    current = np.concatenate([piece[1:] for piece in train])
    frequency = (current.sum(axis=0) + 1) / (len(current) + 2)
    continued = (np.sum(previous * current, axis=0) + 1) / (np.sum(previous, axis=0) + 2)
    started = (np.sum((1 - previous) * current, axis=0) + 1) / (np.sum(1 - previous, axis=0) + 2)
    inputs = np.concatenate([piece[:-1] for piece in test])
    targets = np.concatenate([piece[1:] for piece in test])
    return {
        "key frequency": _nll(np.broadcast_to(frequency, targets.shape), targets),
        "repeat last step": _nll(np.where(inputs == 1, continued[None], started[None]), targets),
    }


def _nll(probability: np.ndarray, keys: np.ndarray) -> float:
    """Nats per time step, summed over its keys."""
    return float(-np.mean(np.sum(np.log(np.where(keys == 1, probability, 1 - probability)), 1)))
