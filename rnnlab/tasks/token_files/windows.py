"""Windows of a token file as batches, of which only their own tokens are read."""

from collections.abc import Iterator

import numpy as np

from rnnlab.tasks.batch import IGNORE_INDEX, Batch, loss_mask
from rnnlab.tasks.batching.padding import pad_batch
from rnnlab.tasks.token_files.format import TokenFile


def read_windows(file: TokenFile, starts: np.ndarray, length: int, end: int | None = None) -> Batch:
    """Returns windows of a token file: each token is predicted from those before it.

    Where the file has several documents, `reset` is True at their first tokens, and the first token
    of a document is not scored, since no token of its own document precedes it.

    Args:
      file: the token file.
      starts: (batch,) of int64, index of the first input of each window.
      length: time steps of a window.
      end: index behind the last target; time steps behind it are padding. None: there is no
        padding.

    Returns:
      Batch of (batch, length), with a mask if `end` is given.
    """
    tokens, documents = file.views()
    mask = None
    if end is None:
        windows = np.lib.stride_tricks.sliding_window_view(tokens, length + 1)[starts]
        windows = windows.astype(np.int32)
    else:
        index = starts[:, None] + np.arange(length + 1)
        windows = tokens[np.minimum(index, end - 1)].astype(np.int32)
        mask = index[:, 1:] < end
    inputs, targets = windows[:, :-1], windows[:, 1:]
    if mask is not None:
        inputs = np.where(mask, inputs, np.int32(0))
        targets = np.where(mask, targets, np.int32(IGNORE_INDEX))
    if len(documents) == 1:
        return Batch(inputs, targets, mask)
    begins = _document_starts(documents, starts, length + 1)
    targets = np.where(begins[:, 1:], np.int32(IGNORE_INDEX), targets)
    return Batch(inputs, targets, mask, reset=begins[:, :-1])


def evaluation_windows(
    file: TokenFile, start: int, end: int, length: int, batch_size: int, most_tokens: int | None
) -> Iterator[tuple[Batch, np.ndarray]]:
    """Yields batches that score tokens `start` to `end - 1` once, each given the one before.

    Windows are consecutive. If they have more than `most_tokens` tokens, evenly spaced ones are
    taken. The first token of the file is not scored, since nothing precedes it.

    Args:
      file: the token file.
      start, end: the part.
      length: time steps of a window.
      batch_size: windows per batch.
      most_tokens: largest number of tokens to score; None: all.

    Yields:
      A batch, and the indices in the file of its scored tokens.
    """
    start = max(start, 1)
    total = -(-(end - start) // length)
    count = total if most_tokens is None else min(total, max(1, most_tokens // length))
    for first in range(0, count, batch_size):
        numbers = np.arange(first, min(first + batch_size, count), dtype=np.int64)
        # Not numbers * total // count, whose product may exceed the range of int64.
        numbers = numbers * (total // count) + numbers * (total % count) // count
        starts = start - 1 + numbers * length
        batch = read_windows(file, starts, length, end)
        position = (starts[:, None] + 1 + np.arange(length))[loss_mask(batch)]
        yield pad_batch(batch, batch_size), position


def _document_starts(documents: np.ndarray, starts: np.ndarray, length: int) -> np.ndarray:
    """Returns which tokens of windows are the first of a document, bool (windows, length)."""
    low = np.searchsorted(documents, starts.astype(np.uint64))
    counts = np.searchsorted(documents, (starts + length).astype(np.uint64)) - low
    window = np.repeat(np.arange(len(starts)), counts)
    before = np.cumsum(counts) - counts  # documents of the windows before each
    number = np.arange(len(window)) + np.repeat(low - before, counts)
    found = np.zeros((len(starts), length), bool)
    found[window, documents[number].astype(np.int64) - starts[window]] = True
    return found
