"""Reader of labelled sequences from any kind of file that has one."""

import os
from pathlib import Path

import numpy as np

from rnnlab.tasks.batching.padding import pad
from rnnlab.tasks.readers.arrays import Examples, place
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.labelled_table import TableColumns, read_labelled_table
from rnnlab.tasks.readers.npz import read_npz
from rnnlab.tasks.readers.ts import read_ts

SUFFIXES = (".npz", ".ts", ".csv", ".tsv", ".parquet")
"""Suffixes, in lower case, of the files that are read."""

_SAVE = "save inputs and targets together: numpy.savez('data.npz', X=X, y=y)"
_ACTIONS = {
    ".npy": f"holds one array; {_SAVE}",
    ".wav": f"is audio; load it with scipy.io.wavfile.read, cut it into sequences and {_SAVE}",
    ".mat": f"is of MATLAB; load it with scipy.io.loadmat and {_SAVE}",
    ".pkl": f"is pickled; load it only if you trust it, and {_SAVE}",
    ".h5": f"is HDF5; load it with h5py and {_SAVE}",
    ".arff": f"is ARFF; load it with scipy.io.arff.loadarff and {_SAVE}",
}


def read_examples(
    path: str | os.PathLike,
    *,
    vocab_size: int | None = None,
    num_classes: int | None = None,
    labelled: bool = True,
    columns: TableColumns | None = None,
) -> Examples:
    """Reads the sequences of a file, and their targets.

    Args:
      path: an `.npz` or a `.ts` file, or a table: a `.csv`, `.tsv` or `.parquet` file.
      vocab_size: token ids must be less than it; None allows any from 0.
      num_classes: classes that are integers must be less than it; None allows any from 0.
      labelled: whether there must be targets.
      columns: the meaning of the columns of a table; None is that of their names.

    Raises:
      DataError: the file is of another kind, or its reader raises it.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".ts":
        return _read_ts(path, labelled)
    if suffix == ".npz":
        return read_npz(path, vocab_size=vocab_size, num_classes=num_classes, labelled=labelled)
    if suffix in SUFFIXES:
        return read_labelled_table(path, columns or TableColumns(), labelled=labelled)
    if suffix in _ACTIONS:
        raise data_error(path, _ACTIONS[suffix])
    kinds = f"{', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}"
    raise data_error(path, f"must be an {kinds} file, got {suffix or 'no suffix'!r}; {_SAVE}")


def _read_ts(path: Path, labelled: bool) -> Examples:
    read = read_ts(path, gaps=False)
    if read.labels is None and labelled:
        raise data_error(path, "must have labels, got none; write @classLabel true and the labels")
    inputs, mask = pad([sequence.astype(np.float32) for sequence in read.sequences])
    targets = None if read.labels is None else place(read.labels, mask)
    return Examples(inputs, targets, mask, read.classes or None)
