"""A small file of the format of MIT-BIH: short records of all patients, with beats of all kinds."""

import numpy as np

from rnnlab.tasks.readers.ecg import DS1, DS2

CODES = np.array([1, 1, 8, 1, 5, 1, 6, 1, 13, 1, 28, 1, 5, 1, 1, 8])
"""Annotation codes of a record: 15 beats, of which one is unknown, and a change of rhythm."""


def ecg_arrays(beats=1, planted=(), seed=0):
    """The arrays of a file of all records.

    Args:
      beats: how often the codes are repeated.
      planted: names of records in which every third beat comes late, after a constant signal. What
        is the same at every beat would not be seen: features are relative to the usual beat.
      seed: of the shapes.
    """
    codes = np.tile(CODES, beats)
    arrays = {}
    changed = np.arange(len(codes)) % 3 == 0
    for number, name in enumerate((*DS1, *DS2, "102")):
        rng = np.random.default_rng([seed, number])
        gaps = np.where(codes == 8, 60, 90) + rng.integers(0, 5, len(codes))
        if name in planted:
            gaps = np.where(changed, 3 * gaps, gaps)
        at = np.cumsum(gaps)
        signal = rng.normal(0, 4, at[-1] + 60)
        shape = np.exp(-np.square(np.arange(-9, 9) / 4))
        for place, code in zip(at, codes, strict=True):
            signal[place - 9 : place + 9] += 200 * shape * (2 if code == 5 else 1)
        if name in planted:
            for place in at[changed]:
                signal[place - 9 : place] = 3000
        values = np.rint(signal).astype(np.int16)
        arrays |= {
            f"signal_{name}": np.diff(values, prepend=np.int16(0)).astype(np.int16),
            f"sample_{name}": (3 * at).astype(np.int32),
            f"code_{name}": codes.astype(np.int8),
            f"lead_{name}": np.array("MLII"),
        }
    return arrays
