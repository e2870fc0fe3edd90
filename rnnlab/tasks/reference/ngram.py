"""Interpolated n-grams with absolute discounting: what counting alone predicts of a text."""

import numpy as np

from rnnlab.validation import require_positive_int


def nll(
    train: np.ndarray, test: np.ndarray, order: int, vocab_size: int, discount: float = 0.75
) -> float:
    """Mean negative log-likelihood of `test`, in nats a symbol, under an n-gram counted on `train`.

        p_0(w)          = 1 / vocab_size
        p_k(w | c)      = max(n(c w) - d, 0) / n(c) + d · u(c) / n(c) · p_{k-1}(w | c')

    for contexts c of k - 1 symbols, c' is c without its oldest one: n counts in `train`, u(c) is
    the number of different symbols after c. Where c never occurs in `train`, p_k is p_{k-1}. The
    first symbols of `test` have the shorter contexts that `test` itself gives.

    Args:
      train, test: symbol ids in [0, vocab_size), one axis.
      order: symbols a gram, the predicted one included, at least 1.
      vocab_size: number of symbols.
      discount: d, in [0, 1]. 0.75 is the common choice; on the default text of `rnnlab.tasks.text`
        the estimate n_1 / (n_1 + 2 n_2), near 0.5, does worse (1.380 nats against 1.344).

    Raises:
      ValueError: discount is out of range, or an array is empty, has other than one axis or holds
        an id out of range.

    Source: Ney, Essen and Kneser (1994), absolute discounting.

    >>> text = np.array([0, 1] * 50)
    >>> round(nll(text, text, order=2, vocab_size=2), 4)
    0.0145
    """
    require_positive_int(order=order, vocab_size=vocab_size)
    if not 0 <= discount <= 1:
        raise ValueError(f"discount is {discount}; a number in [0, 1] is needed")
    for name, ids in (("train", train), ("test", test)):
        if ids.ndim != 1 or ids.size == 0:
            raise ValueError(f"{name} has shape {ids.shape}; one axis with symbols is needed")
        if ids.min() < 0 or ids.max() >= vocab_size:
            raise ValueError(
                f"{name} holds ids from {ids.min()} to {ids.max()}; [0, {vocab_size}) is needed"
            )
    symbols = np.concatenate([train, test]).astype(np.int64)
    here = np.arange(symbols.size)
    probability = np.full(test.size, 1 / vocab_size)
    # The number of the gram that ends at each position; of order 0 there is one, the empty gram.
    gram = np.zeros(symbols.size, np.int64)
    for k in range(1, order + 1):
        # Of the gram before each position, numbered by `gram`: position 0 has none.
        context = np.concatenate([gram[:1], gram[:-1]])
        gram = np.unique(context * vocab_size + symbols, return_inverse=True)[1]
        counted = (here >= k - 1) & (here < train.size)
        asked = here >= train.size + k - 1
        count = np.bincount(gram[counted], minlength=gram.max() + 1)
        total = np.bincount(context[counted], minlength=context.max() + 1)
        first = np.unique(gram[counted], return_index=True)[1]
        different = np.bincount(context[counted][first], minlength=total.size)
        n, c = count[gram[asked]], context[asked]
        lower = probability[k - 1 :]
        seen = np.maximum(total[c], 1)
        higher = (np.maximum(n - discount, 0) + discount * different[c] * lower) / seen
        probability[k - 1 :] = np.where(total[c] > 0, higher, lower)
    return float(-np.mean(np.log(probability)))
