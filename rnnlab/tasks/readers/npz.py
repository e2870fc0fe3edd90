"""Reader of examples from NumPy archives."""

import os
import zipfile
from pathlib import Path

import numpy as np

from rnnlab.errors import DataError
from rnnlab.tasks.readers.arrays import NAMES, Examples, to_examples
from rnnlab.tasks.readers.errors import data_error

MAX_ARRAY_BYTES = 4 << 30
"""Greatest size of the unpacked arrays of an archive."""


def read_npz(
    path: str | os.PathLike,
    *,
    vocab_size: int | None = None,
    num_classes: int | None = None,
    labelled: bool = True,
) -> Examples:
    """Reads all examples of an `.npz` file.

    Arrays of the file:

    - `inputs`, `X` or `x`: token ids, integers (examples, time); or values, floats (examples, time)
      or numbers (examples, time, in_features);
    - `targets`, `y` or `labels`: one per sequence, (examples,), or one per time step, (examples,
      time). Integers and strings are classes, `IGNORE_INDEX` or `""` where a time step is not
      scored; floats are values, NaN where not scored. Several values per time step have the shape
      (examples, time, out_features). The target of a sequence is that of its last time step;
    - `lengths` (examples,) or `mask` (examples, time), only if there is padding, which must be on
      the right; inputs become 0 there.

    Pickled data is not read.

    Args:
      path: the file.
      vocab_size: token ids must be less than it; None allows any from 0.
      num_classes: classes that are integers must be less than it; None allows any from 0.
      labelled: whether there must be targets.

    Raises:
      DataError: an array is missing, has a wrong dtype or shape, has a value out of range, or the
        arrays are larger than `MAX_ARRAY_BYTES`. Messages count examples and time steps from 0.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.npz")
    ...     np.savez(file, inputs=[[1, 2], [3, 0]], targets=[0, 1], lengths=[2, 1])
    ...     read_npz(file, vocab_size=4).targets.tolist()
    [[-1, 0], [1, -1]]
    """
    path = Path(path)
    arrays, others = _arrays(path)
    return to_examples(
        path,
        arrays,
        vocab_size=vocab_size,
        num_classes=num_classes,
        labelled=labelled,
        others=others,
    )


def _arrays(path: Path) -> tuple[dict[str, np.ndarray], list[str]]:
    """Returns the arrays of the archive that are in `NAMES`, and the names of the others."""
    if path.is_dir() or not zipfile.is_zipfile(path):
        reason = "is not an .npz file" if path.exists() else "does not exist"
        raise data_error(path, f"{reason}; give one written by numpy.savez")
    try:
        with zipfile.ZipFile(path) as members:
            size = sum(member.file_size for member in members.infolist())
        if size > MAX_ARRAY_BYTES:
            raise data_error(
                path, f"has {size} bytes of arrays; at most {MAX_ARRAY_BYTES} are read: split it"
            )
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in NAMES if name in archive.files}
            others = [name for name in archive.files if name not in NAMES]
    except DataError:
        raise
    except Exception as error:  # a corrupt file makes the parsers raise any kind
        action = "save plain arrays"
        if "Object arrays" in str(error):
            action = (
                "save strings as y.astype(str), and sequences of different lengths padded, with "
                "an array lengths, as Sequences.from_arrays does"
            )
        raise data_error(path, f"cannot be read: {error}; {action}") from error
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise data_error(path, "cannot be read: a member is not an array; save plain arrays")
    return arrays, others
