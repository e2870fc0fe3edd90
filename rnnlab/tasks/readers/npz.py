"""Sequences from a NumPy archive, with the token ids checked before JAX would clamp them."""

import os
import zipfile
from pathlib import Path

import numpy as np

from rnnlab.errors import DataError
from rnnlab.tasks.batch import IGNORE, Batch
from rnnlab.tasks.readers.errors import refuse

_KEYS = ("inputs", "targets", "lengths", "mask")
LARGEST = 4 << 30
"""The most bytes that an archive's arrays may take, unpacked."""


def read_npz(
    path: str | os.PathLike, *, vocab_size: int | None = None, num_classes: int | None = None
) -> Batch:
    """Reads all rows of an `.npz` file as one batch.

    Its arrays are `inputs`, token ids (rows, time) or values (rows, time, in_features); `targets`,
    classes (rows, time) with `IGNORE` where unscored, one class a row (rows,), which goes to the
    row's last real step, or values (rows, time, out_features) with NaN where unscored; and where
    rows have padding `lengths` (rows,) or `mask` (rows, time): it is on the right, and its inputs
    become 0. Nothing pickled is read.

    Args:
      path: the file.
      vocab_size: token ids must be below it; None allows any from 0.
      num_classes: classes must be below it; None allows any from 0.

    Raises:
      DataError: an array is missing, has another dtype or shape, or holds what is out of range, or
        the arrays are larger than `LARGEST`; row and column count from 0, as their indices do.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.npz")
    ...     np.savez(file, inputs=[[1, 2], [3, 0]], targets=[0, 1], lengths=[2, 1])
    ...     read_npz(file, vocab_size=4).targets.tolist()
    [[-1, 0], [1, -1]]
    """
    path = Path(path)
    arrays = _arrays(path)
    inputs, mask = arrays["inputs"], _mask(path, arrays)
    real = np.ones(inputs.shape[:2], bool) if mask is None else mask
    if inputs.ndim == 2:
        inputs = _ids(path, "inputs", inputs, real, vocab_size, lowest=0)
    else:
        with np.errstate(over="ignore"):  # to infinity, which is refused
            inputs = np.where(real[..., None], inputs, 0).astype(np.float32)
        _check_finite(path, inputs)
    return Batch(inputs, _targets(path, arrays["targets"], real, num_classes), mask)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """The archive's arrays, of the kinds and shapes that fit each other."""
    if path.is_dir() or not zipfile.is_zipfile(path):
        reason = "is no .npz file" if path.exists() else "is not there"
        raise refuse(path, f"{reason}; one written by numpy.savez is needed")
    arrays = {}
    try:
        with zipfile.ZipFile(path) as members:
            size = sum(member.file_size for member in members.infolist())
        if size > LARGEST:
            raise refuse(path, f"has {size} bytes of arrays; at most {LARGEST} are read: split it")
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in _KEYS if name in archive.files}
            names = ", ".join(archive.files) or "none"
    except DataError:
        raise
    except Exception as error:  # a damaged file brings NumPy's and Python's parsers to any of them
        raise refuse(path, f"cannot be read: {error}; plain arrays are needed") from error
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise refuse(path, "cannot be read: a member is no array; plain arrays are needed")
    for name in ("inputs", "targets"):
        if name not in arrays:
            raise refuse(path, f"has no array {name!r} (it has: {names}); add it")
    inputs, targets = arrays["inputs"], arrays["targets"]
    _check_array(path, "inputs", inputs, {2: "iu", 3: "fiu"})
    _check_array(path, "targets", targets, {1: "iu", 2: "iu", 3: "f"})
    if 0 in inputs.shape:
        raise refuse(path, f"inputs has shape {inputs.shape}; at least 1 in each is needed")
    wanted = inputs.shape[: min(targets.ndim, 2)]
    if targets.shape[:2] != wanted:
        raise refuse(path, f"targets has shape {targets.shape}; {wanted}, as inputs, is needed")
    return arrays


def _check_array(path: Path, name: str, array: np.ndarray, kinds: dict[int, str]) -> None:
    if array.ndim not in kinds or array.dtype.kind not in kinds[array.ndim]:
        words = {"iu": "integers", "f": "floats", "fiu": "numbers"}
        allowed = " or ".join(f"{words[kind]} with {axes} axes" for axes, kind in kinds.items())
        raise refuse(path, f"{name} is {array.dtype} of shape {array.shape}; {allowed} are needed")


def _mask(path: Path, arrays: dict[str, np.ndarray]) -> np.ndarray | None:
    rows, time = arrays["inputs"].shape[:2]
    if "lengths" in arrays and "mask" in arrays:
        raise refuse(path, "has both lengths and mask; one of them is needed")
    if "lengths" in arrays:
        lengths = arrays["lengths"]
        if lengths.shape != (rows,) or lengths.dtype.kind not in "iu":
            reason = f"lengths is {lengths.dtype} of shape {lengths.shape}"
            raise refuse(path, f"{reason}; integers of shape {(rows,)} are needed")
        wrong = np.flatnonzero((lengths < 1) | (lengths > time))
        if wrong.size:
            reason = f"lengths is {lengths[wrong[0]]}; 1 to {time} is needed"
            raise refuse(path, reason, row=int(wrong[0]))
        return np.arange(time)[None] < lengths[:, None]
    if "mask" not in arrays:
        return None
    mask = arrays["mask"]
    if mask.shape != (rows, time) or mask.dtype != bool:
        reason = f"mask is {mask.dtype} of shape {mask.shape}"
        raise refuse(path, f"{reason}; bool of shape {(rows, time)} is needed")
    wrong = np.flatnonzero((mask[:, 1:] & ~mask[:, :-1]).any(axis=1) | ~mask[:, 0])
    if wrong.size:
        reason = "mask is no right padding; True for the first steps, then False, is needed"
        raise refuse(path, reason, row=int(wrong[0]))
    return mask


def _ids(
    path: Path, name: str, ids: np.ndarray, real: np.ndarray, limit: int | None, *, lowest: int
) -> np.ndarray:
    """`ids` as int32, all in [lowest, limit) where `real`, and `lowest` elsewhere."""
    limit = np.iinfo(np.int32).max if limit is None else limit
    wrong = ids >= limit
    if ids.dtype.kind == "i":
        wrong |= ids < lowest
    wrong = np.argwhere(wrong & real)
    if len(wrong):
        row, column = (int(place) for place in wrong[0])
        ignored = f", or {IGNORE} where unscored," if lowest == IGNORE else ""
        reason = f"{name} holds {ids[row, column]}; an id in [0, {limit}){ignored} is needed"
        raise refuse(path, reason, row=row, column=column)
    checked = np.full(ids.shape, lowest, np.int32)
    checked[real] = ids[real]
    return checked


def _targets(path: Path, targets: np.ndarray, real: np.ndarray, limit: int | None) -> np.ndarray:
    if targets.ndim == 3:
        with np.errstate(over="ignore"):
            targets = np.where(real[..., None], targets, np.nan).astype(np.float32)
        infinite = np.argwhere(np.isinf(targets))
        if len(infinite):
            row, column = (int(place) for place in infinite[0][:2])
            reason = "targets is infinite; finite values, or NaN where unscored, are needed"
            raise refuse(path, reason, row=row, column=column)
        return targets
    if targets.ndim == 2:
        return _ids(path, "targets", targets, real, limit, lowest=IGNORE)
    labels = _ids(path, "targets", targets[:, None], real[:, :1], limit, lowest=0)
    placed = np.full(real.shape, IGNORE, np.int32)
    np.put_along_axis(placed, real.sum(axis=1)[:, None] - 1, labels, axis=1)
    return placed


def _check_finite(path: Path, values: np.ndarray) -> None:
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        row, step, feature = (int(place) for place in wrong[0])
        reason = f"inputs is {values[row, step, feature]} in feature {feature}"
        raise refuse(
            path, f"{reason}; finite values are needed: fill or flag gaps", row=row, column=step
        )
