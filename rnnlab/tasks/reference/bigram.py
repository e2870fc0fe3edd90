"""Unigrams and bigrams of token ids, counted and scored batch by batch in constant memory."""

from collections.abc import Iterable

import numpy as np

from rnnlab.tasks.batch import Batch, loss_mask

DISCOUNT = 0.75
"""What is subtracted from each count of a bigram, for bigrams that were not counted."""


def bigram_baselines(
    counted: Iterable[Batch], scored: Iterable[Batch], vocab_size: int
) -> dict[str, float]:
    """Returns the mean negative log-likelihood in nats of the targets of batches, by predictor.

        unigram:  p(w) = (n(w) + 1) / (N + V)
        bigram:   p(w | c) = (max(n(c w) - D, 0) + D k(c) p(w)) / n(c)

    where c is the input of a time step, n are counts, N is the number of counted targets, V that of
    ids, and k(c) the number of different targets after c. Where n(c) is 0 the bigram is p(w).

    Args:
      counted: batches to count.
      scored: batches to score.
      vocab_size: number of ids.

    Source: Ney, Essen and Kneser (1994), On structuring probabilistic dependences in stochastic
    language modelling: interpolated absolute discounting, with `DISCOUNT` as D.

    >>> batch = Batch(np.array([[0, 1, 0, 1]]), np.array([[1, 0, 1, 0]]))
    >>> {k: round(x, 3) for k, x in bigram_baselines([batch], [batch], 2).items()}
    {'uniform': 0.693, 'unigram': 0.693, 'bigram': 0.208}
    """
    pairs, counts = _count(counted, vocab_size)
    context, symbol = pairs // vocab_size, pairs % vocab_size
    # Weights of `bincount` are floats, which hold counts exactly up to 2**53.
    unigram = np.bincount(symbol, counts, vocab_size) + 1.0
    unigram /= unigram.sum()
    seen = np.bincount(context, counts, vocab_size)
    different = np.bincount(context, minlength=vocab_size)
    sums, number = np.zeros(2), 0
    for batch in scored:
        keep = loss_mask(batch)
        inputs, targets = batch.inputs[keep].astype(np.int64), batch.targets[keep].astype(np.int64)
        asked = inputs * vocab_size + targets
        index = np.minimum(np.searchsorted(pairs, asked), max(len(pairs) - 1, 0))
        found = np.where(pairs[index] == asked, counts[index], 0) if len(pairs) else 0
        lower = unigram[targets]
        kept = np.maximum(found - DISCOUNT, 0) + DISCOUNT * different[inputs] * lower
        bigram = np.where(seen[inputs] > 0, kept / np.maximum(seen[inputs], 1), lower)
        sums += [np.log(lower).sum(), np.log(bigram).sum()]
        number += len(targets)
    means = -sums / max(number, 1)
    uniform = float(np.log(vocab_size))
    return {"uniform": uniform, "unigram": float(means[0]), "bigram": float(means[1])}


def _count(batches: Iterable[Batch], vocab_size: int) -> tuple[np.ndarray, np.ndarray]:
    """The pairs of input and target that occur, as sorted numbers, and how often each does."""
    pairs, counts = np.zeros(0, np.int64), np.zeros(0, np.int64)
    for batch in batches:
        keep = loss_mask(batch)
        codes = batch.inputs[keep].astype(np.int64) * vocab_size + batch.targets[keep]
        more, number = np.unique(codes, return_counts=True)
        pairs, inverse = np.unique(np.concatenate([pairs, more]), return_inverse=True)
        counts = np.bincount(inverse, np.concatenate([counts, number])).astype(np.int64)
    return pairs, counts
