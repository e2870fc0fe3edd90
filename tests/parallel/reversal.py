"""A task whose target is its source read from the end, for runs of encoder-decoders."""

import functools
from dataclasses import dataclass

import numpy as np

from rnnlab.tasks.batch import IGNORE_INDEX, Batch, Source
from rnnlab.tasks.data import RngStream, TaskData, rng_for
from rnnlab.tasks.decoding import Decoding

LETTERS, LENGTH, END, BEGIN = 4, 3, 4, 5


@dataclass(frozen=True)
class Reversal:
    """Sources of 1 to 3 letters. The decoder's tokens are the letters, an end and a begin."""

    batch_size: int = 8
    evaluation_size: int = 10
    beam: int = 1

    def load(self, seed):
        sets = {
            name: functools.partial(evaluation, k, self.evaluation_size)
            for k, name in enumerate(("valid", "test"))
        }
        return TaskData(
            loss="categorical",
            metrics=("exact", "nll"),
            out_features=BEGIN + 1,
            train_batch=lambda n: pairs(rng_for(RngStream.TRAIN, seed, n), self.batch_size),
            eval_sets=sets,
            baselines=dict,
            vocab_size=BEGIN + 1,
            source_vocab_size=LETTERS,
            autoregressive=True,
            decode=targets_of,
            decoding=Decoding(LENGTH, begin=BEGIN, end=END, beam=self.beam),
        )


def evaluation(k, size):
    return [pairs(rng_for(RngStream.EVAL, k), size)]


def pairs(rng, size):
    lengths = rng.integers(1, LENGTH + 1, size=size)
    source = rng.integers(LETTERS, size=(size, LENGTH)).astype(np.int32)
    mask = np.arange(LENGTH) < lengths[:, None]
    inputs = np.full((size, LENGTH + 1), BEGIN, np.int32)
    targets = np.full((size, LENGTH + 1), IGNORE_INDEX, np.int32)
    for n, length in enumerate(lengths):
        letters = source[n, :length][::-1]
        inputs[n, 1 : length + 1] = targets[n, :length] = letters
        targets[n, length] = END
    known = targets != IGNORE_INDEX
    return Batch(np.where(known, inputs, 0), targets, known, source=Source(source, mask))


def targets_of(labels, batch):
    for row, target in zip(labels, batch.targets, strict=True):
        known = target[(target != IGNORE_INDEX) & (target != END)]
        if len(known):  # the others are padding
            yield tuple(row[row != IGNORE_INDEX].tolist()), tuple(known.tolist())


def exact(predictions, references):
    """Returns the share of predictions that equal their reference."""
    return float(np.mean([a == b for a, b in zip(predictions, references, strict=True)]))
