"""Interpolated modified Kneser-Ney n-grams: what counting predicts of a text.

A context length is the number of symbols that a prediction reads. The n of an n-gram counts the
predicted symbol as well, so an n-gram has a context length of n - 1.
"""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from rnnlab.validation import require_positive_int

CONTEXT_LENGTHS = (5, 6, 7)
"""Context lengths that `best_ngram` chooses from."""

# For orders with too few grams for the estimate, as in KenLM's `--discount_fallback`.
_FALLBACK_DISCOUNTS = (0.5, 1.0, 1.5)


class NGram(NamedTuple):
    """The predictions of one context length.

    Attributes:
      context_length: number of symbols that a prediction reads.
      discounts: D1, D2 and D3+ of the highest order.
      log_probabilities: (time,) float64, of each test symbol given the symbols before it, in nats.
    """

    context_length: int
    discounts: tuple[float, float, float]
    log_probabilities: np.ndarray

    @property
    def nll(self) -> float:
        """Mean negative log-likelihood in nats per symbol."""
        return -float(np.mean(self.log_probabilities))


class BestNGram(NamedTuple):
    """n-grams of several context lengths, one of which was chosen without the test text.

    Attributes:
      chosen: the context length that predicts the last tenth of the training text best.
      valid: predictions of the last tenth of the training text, counted on the rest of it, by
        context length.
      test: predictions of the test text, counted on all of the training text, by context length.
    """

    chosen: int
    valid: dict[int, NGram]
    test: dict[int, NGram]

    @property
    def nll(self) -> float:
        """Mean negative log-likelihood of the test text, in nats per symbol."""
        return self.test[self.chosen].nll


def best_ngram(
    train: np.ndarray,
    test: np.ndarray,
    vocab_size: int,
    context_lengths: Sequence[int] = CONTEXT_LENGTHS,
) -> BestNGram:
    """Scores `test` with n-grams, of which the last tenth of `train` chooses the context length.

    Args:
      train, test: symbol ids in [0, vocab_size), one axis; `train` has at least 2 symbols.
      vocab_size: number of symbols.
      context_lengths: the context lengths to choose from.

    Raises:
      ValueError: an array is empty, has other than one axis or has an id out of range.

    >>> text = np.array([0, 1, 1] * 50)
    >>> best = best_ngram(text, text, vocab_size=2, context_lengths=(1, 2))
    >>> best.chosen, round(best.nll, 3)
    (2, 0.02)
    """
    split = len(train) - max(1, len(train) // 10)

    def predictions(train: np.ndarray, test: np.ndarray) -> dict[int, NGram]:
        models = kneser_ney(train, test, vocab_size, context_lengths)
        return {model.context_length: model for model in models}

    valid = predictions(train[:split], train[split:])
    chosen = min(valid, key=lambda length: valid[length].nll)
    return BestNGram(chosen, valid, predictions(train, test))


def kneser_ney(
    train: np.ndarray, test: np.ndarray, vocab_size: int, context_lengths: Sequence[int]
) -> Iterator[NGram]:
    """Yields the predictions of each context length, in increasing order.

        p_k(w | c) = (n(c w) - D(n(c w)) + p_{k-1}(w | c') · sum over v of D(n(c v))) / n(c)

    for contexts c of k symbols, where c' is c without its oldest symbol, n(c) is the sum of n(c v)
    over all symbols v, and p_{-1} = 1 / vocab_size. In the highest order n(c w) is the count of the
    gram in `train`. In lower orders it is the continuation count: the number of different symbols
    before the gram in `train`. Where n(c) is 0, p_k is p_{k-1}. With N_j the number of grams of an
    order whose n is j, and Y = N_1 / (N_1 + 2 N_2), the discounts of that order are

        D(0) = 0, D(1) = 1 - 2 Y N_2 / N_1, D(2) = 2 - 3 Y N_3 / N_2, D(3+) = 3 - 4 Y N_4 / N_3

    or 0.5, 1 and 1.5 where one of the three is undefined or not positive. The first symbols of
    `test` have the shorter contexts that `test` itself gives.

    Args:
      train, test: symbol ids in [0, vocab_size), one axis.
      vocab_size: number of symbols.
      context_lengths: one or more lengths, each at least 0.

    Raises:
      ValueError: a context length is negative, or an array is empty, has other than one axis or has
        an id out of range.

    Source: Chen and Goodman (1998), An empirical study of smoothing techniques for language
    modeling, TR-10-98, Harvard University: interpolated modified Kneser-Ney, discounts by its
    equation 26.

    >>> text = np.array([0, 1] * 50)
    >>> [round(model.nll, 4) for model in kneser_ney(text, text, 2, context_lengths=(0, 1))]
    [0.6931, 0.022]
    """
    _validate(train, test, vocab_size, context_lengths)
    symbols = np.concatenate([train, test]).astype(np.int64)
    position = np.arange(symbols.size)
    # Numbers of the gram of k + 1 symbols that ends at each position and of its first k symbols.
    # Grams that would begin before the text have a number as well; the two masks exclude them.
    gram, context = symbols, np.zeros_like(symbols)
    lower = np.full(test.size, 1 / vocab_size)
    for k in range(max(context_lengths) + 1):
        counted = (position >= k) & (position < train.size)
        scored = position >= train.size + k
        context_of = np.zeros(gram.max() + 1, np.int64)
        context_of[gram[counted]] = context[counted]
        asked = gram[scored], context[scored]
        if k in context_lengths:
            counts = np.bincount(gram[counted], minlength=context_of.size)
            discounts = _discounts(counts)
            probabilities = _interpolate(counts, context_of, discounts, *asked, lower)
            yield NGram(k, discounts, np.log(probabilities))
        if k < max(context_lengths):
            counted &= position > k
            extended = np.unique(_shift(gram) * vocab_size + symbols, return_inverse=True)[1]
            suffix_of = np.full(extended.max() + 1, -1)
            suffix_of[extended[counted]] = gram[counted]
            counts = np.bincount(suffix_of[suffix_of >= 0], minlength=context_of.size)
            lower = _interpolate(counts, context_of, _discounts(counts), *asked, lower)
            gram, context = extended, _shift(gram)


def _interpolate(
    counts: np.ndarray,
    context_of: np.ndarray,
    discounts: tuple[float, float, float],
    gram: np.ndarray,
    context: np.ndarray,
    lower: np.ndarray,
) -> np.ndarray:
    """Probabilities of one order at each test symbol, from those of the order below.

    Args:
      counts, context_of: (grams,) the count of each gram and the number of its context.
      discounts: D1, D2 and D3+.
      gram, context: (scored,) numbers at the test symbols that have a full context: all but the
        first, which keep their `lower` probability.
      lower: (time,) probabilities of the order below.
    """
    discount = np.array([0.0, *discounts])[np.minimum(counts, 3)]
    total = np.bincount(context_of, counts, minlength=context.max(initial=0) + 1)
    discounted = np.bincount(context_of, discount, minlength=total.size)
    seen = total[context] > 0
    backed_off = lower[lower.size - gram.size :]
    kept = (counts - discount)[gram] + discounted[context] * backed_off
    probabilities = lower.copy()
    probabilities[lower.size - gram.size :] = np.where(
        seen, kept / np.where(seen, total[context], 1), backed_off
    )
    return probabilities


def _discounts(counts: np.ndarray) -> tuple[float, float, float]:
    """D1, D2 and D3+ of an order whose grams have these counts."""
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == j)) for j in (1, 2, 3, 4))
    if n1 == 0 or n2 == 0 or n3 == 0:
        return _FALLBACK_DISCOUNTS
    y = n1 / (n1 + 2 * n2)
    estimate = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return estimate if min(estimate) > 0 else _FALLBACK_DISCOUNTS


def _shift(numbers: np.ndarray) -> np.ndarray:
    """The number at the position before each; the first position has none and gets 0."""
    return np.concatenate([np.zeros(1, numbers.dtype), numbers[:-1]])


def _validate(
    train: np.ndarray, test: np.ndarray, vocab_size: int, context_lengths: Sequence[int]
) -> None:
    require_positive_int(vocab_size=vocab_size)
    if len(context_lengths) == 0 or min(context_lengths) < 0:
        raise ValueError(
            f"context_lengths must be one or more numbers >= 0, got {tuple(context_lengths)}; "
            f"use {CONTEXT_LENGTHS}"
        )
    for name, ids in (("train", train), ("test", test)):
        if ids.ndim != 1 or ids.size == 0:
            raise ValueError(
                f"{name} must have one axis and at least 1 symbol, got shape {ids.shape}; "
                "pass the ids of a text"
            )
        if ids.min() < 0 or ids.max() >= vocab_size:
            raise ValueError(
                f"{name} must have ids in [0, {vocab_size}), got {ids.min()} to {ids.max()}; "
                "raise vocab_size"
            )
