"""Bigram baselines against counts in plain Python."""

import math
from collections import Counter

import numpy as np

from rnnlab.tasks.batch import Batch
from rnnlab.tasks.reference.bigram import bigram_baselines


def batches_of(ids, length):
    for k in range(0, len(ids) - length, length):
        targets = ids[k + 1 : k + 1 + length].copy()
        targets[0] = -1
        yield Batch(ids[None, k : k + length], targets[None])


def test_bigram_baselines_equal_counts_in_plain_python():
    rng = np.random.default_rng(0)
    ids = rng.choice(6, p=[0.4, 0.3, 0.1, 0.1, 0.09, 0.01], size=300).astype(np.int32)
    train, test = list(batches_of(ids[:200], 7)), list(batches_of(ids[200:], 9))

    def pairs(batches):
        return [
            (int(c), int(w))
            for x in batches
            for c, w in zip(x.inputs[0], x.targets[0], strict=True)
            if w >= 0
        ]

    counts, singles = Counter(pairs(train)), Counter(w for _, w in pairs(train))
    losses = [0.0, 0.0]
    for c, w in pairs(test):
        unigram = (singles[w] + 1) / (sum(singles.values()) + 6)
        seen = sum(n for (a, _), n in counts.items() if a == c)
        different = sum(1 for a, _ in counts if a == c)
        kept = max(counts[c, w] - 0.75, 0) + 0.75 * different * unigram
        losses[0] -= math.log(unigram)
        losses[1] -= math.log(kept / seen if seen else unigram)
    found = bigram_baselines(train, test, 6)
    expected = [math.log(6), *(x / len(pairs(test)) for x in losses)]
    np.testing.assert_allclose(list(found.values()), expected, rtol=1e-12)
