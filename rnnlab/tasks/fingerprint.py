"""Digest of a data set, by which a resumed run checks that its data has not changed."""

import hashlib

import numpy as np


def fingerprint(*parts: np.ndarray | str) -> str:
    """Returns the SHA-256 of arrays, with dtypes and shapes, and of strings on their preparation.

    >>> fingerprint(np.zeros(2), "scaled") == fingerprint(np.zeros((2, 1)), "scaled")
    False
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, str):
            digest.update(part.encode())
        else:
            digest.update(f"{part.dtype.str}{part.shape}".encode())
            digest.update(np.ascontiguousarray(part).tobytes())
        digest.update(b"\0")
    return digest.hexdigest()
