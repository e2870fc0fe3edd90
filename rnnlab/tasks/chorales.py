"""Polyphonic music: which keys sound at the next step of a chorale."""

import functools
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnlab.optional import extra
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.batching.padding import cut, pad
from rnnlab.tasks.batching.sampler import Order
from rnnlab.tasks.data import FIXED, TaskData, generator
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.readers.errors import refuse
from rnnlab.tasks.readers.text import read_bytes
from rnnlab.validation import require_positive_int

KEYS = 88
LOWEST = 21
"""MIDI number of the first key."""

_PARTS = ("traindata", "validdata", "testdata")

# Of the pieces from music21, as 76 and 77 of the 382 pieces of the .mat file.
_HELDOUT_SHARE = 0.2


@dataclass(frozen=True)
class Chorales:
    """Predicts the keys of the next step of a Bach chorale, each of 88 as sounding or not.

    A step is 88 zeros and ones. The loss of a step is summed over its keys and averaged over all
    steps of all pieces, each but the first, so that figures compare with those of the TCN paper
    (`JSB_Chorales.mat` of its code: 229, 76 and 77 pieces; GRU 8.43, LSTM 8.45, TCN 8.10 nats).

    Attributes:
      path: a `.mat` file of piano rolls with `traindata`, `validdata` and `testdata`; None takes
        the chorales of music21, parsed at `quarters_per_step` and split the same way for every
        seed: other pieces, other figures.
      batch_size: pieces a batch, padded to the longest of the training part.
      quarters_per_step: quarter notes a step, for music21: 0.25 is a sixteenth.
      limit: the first pieces of music21 alone; all 371 take about a minute. None is all.

    Raises:
      ValueError: a setting is out of range, scipy or music21 is not installed, or the file is none
        such.

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
        order = Order(len(train.inputs), self.batch_size, seed)
        return TaskData(
            loss="binary",
            metrics=("nll",),
            out_features=KEYS,
            train_batch=functools.partial(order.take, train),
            eval_sets={
                "valid": functools.partial(cut, valid, self.batch_size),
                "test": functools.partial(cut, test, self.batch_size),
            },
            baselines=functools.partial(_baselines, pieces[0], pieces[2]),
            in_features=KEYS,
            autoregressive=True,
            fingerprint=fingerprint(*(piece for part in pieces for piece in part)),
        )


def read_mat(path: str | os.PathLike) -> tuple[list[np.ndarray], ...]:
    """The training, validation and test pieces of a `.mat` file: arrays (time, 88) of 0 and 1.

    Raises:
      DataError: the file is no such one.
      ValueError: scipy is not installed.
    """
    path, scipy_io = Path(path), extra("scipy.io")
    read_bytes(path)
    try:
        parts = scipy_io.loadmat(path, variable_names=_PARTS)
    except Exception as error:  # scipy's readers raise what their parsers happen to meet
        raise refuse(path, f"is no .mat file that scipy reads: {error}") from error
    for name in _PARTS:
        if name not in parts:
            raise refuse(path, f"has no {name!r}; {', '.join(_PARTS)} are needed")
        for number, piece in enumerate(parts[name].ravel()):
            shape = np.shape(piece)
            if len(shape) != 2 or shape[0] < 2 or shape[1] != KEYS:
                reason = f"{name} {number} has shape {shape}; (2 or more, {KEYS}) is needed"
                raise refuse(path, reason)
            if not np.isin(piece, (0, 1)).all():
                raise refuse(path, f"{name} {number} holds other than 0 and 1")
    return tuple([np.asarray(x, np.float32) for x in parts[name].ravel()] for name in _PARTS)


@functools.lru_cache(maxsize=2)
def corpus_pieces(quarters_per_step: float, limit: int | None) -> tuple[np.ndarray, ...]:
    """music21's chorales as piano rolls (time, 88), a step each `quarters_per_step` quarter notes.

    Raises:
      ValueError: music21 is not installed.
    """
    corpus = extra("music21.corpus")
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
    """What sounds at times 0, quarters_per_step, 2·quarters_per_step, ...: (time, 88) of 0 and 1.

    Args:
      notes: start and duration in quarter notes, and MIDI number, of each note.
      quarters_per_step: quarter notes a step.

    >>> roll = piano_roll([(0.0, 2.0, 60), (1.5, 0.5, 64)], quarters_per_step=1.0)
    >>> [(np.flatnonzero(step) + LOWEST).tolist() for step in roll]
    [[60], [60]]
    """
    end = max(start + duration for start, duration, _ in notes)
    roll = np.zeros((int(np.ceil(round(end / quarters_per_step, 6))), KEYS), np.float32)
    for start, duration, number in notes:
        if not 0 <= number - LOWEST < KEYS:
            raise ValueError(f"notes holds {number}; {LOWEST} to {LOWEST + KEYS - 1} are needed")
        # Triplets are no binary fractions: their ends are a step's only up to rounding.
        times = np.round(np.array([start, start + duration]) / quarters_per_step, 6)
        first, last = np.ceil(times).astype(int)
        roll[first:last, number - LOWEST] = 1
    return roll


def _split(pieces: Sequence[np.ndarray]) -> tuple[list[np.ndarray], ...]:
    held = int(len(pieces) * _HELDOUT_SHARE)
    if held < 1:
        raise ValueError(f"limit is {len(pieces)}; at least 5 pieces are needed to split")
    order = generator(FIXED, len(pieces)).permutation(len(pieces))
    return tuple([pieces[piece] for piece in rows] for rows in np.split(order, [-2 * held, -held]))


def _batch(pieces: Sequence[np.ndarray]) -> Batch:
    inputs, mask = pad([piece[:-1] for piece in pieces])
    targets, _ = pad([piece[1:] for piece in pieces], value=np.nan)
    return Batch(inputs, targets, mask)


def _baselines(train: Sequence[np.ndarray], test: Sequence[np.ndarray]) -> dict[str, float]:
    """Each key by its frequency; and by its frequency given whether it sounded a step before.

    Counts start at 1, so that nothing is certain.
    """
    before = np.concatenate([piece[:-1] for piece in train])
    after = np.concatenate([piece[1:] for piece in train])
    frequency = (after.sum(axis=0) + 1) / (len(after) + 2)
    held = (np.sum(before * after, axis=0) + 1) / (np.sum(before, axis=0) + 2)
    begun = (np.sum((1 - before) * after, axis=0) + 1) / (np.sum(1 - before, axis=0) + 2)
    seen = np.concatenate([piece[:-1] for piece in test])
    asked = np.concatenate([piece[1:] for piece in test])
    return {
        "key frequency": _nll(np.broadcast_to(frequency, asked.shape), asked),
        "repeat last step": _nll(np.where(seen == 1, held[None], begun[None]), asked),
    }


def _nll(probability: np.ndarray, keys: np.ndarray) -> float:
    """Nats a step, summed over its keys."""
    return float(-np.mean(np.sum(np.log(np.where(keys == 1, probability, 1 - probability)), 1)))
