"""Reader of drawings as movements of a pen, the form stroke-3 of sketch-rnn."""

import io
import os
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.npz import MAX_ARRAY_BYTES
from rnnlab.tasks.readers.pickled_arrays import read_array_of_arrays

PARTS = ("train", "valid", "test")
"""Members of an archive that has parts."""

PLAIN = ("strokes", "lengths")
"""Members of an archive that has plain arrays."""

Drawings = list[np.ndarray]
"""Drawings as arrays (points, 3) of float32: the movement in x and y to a point from the one before
it, and 1 where the pen is lifted after it, else 0. The y axis points down."""


def read_strokes(path: str | os.PathLike) -> dict[str, Drawings]:
    """Reads the drawings of an `.npz` file.

    The file has either the arrays `train`, `valid` and `test`, each an array of drawings as those
    of sketch-rnn and of Quick, Draw!; or, as `write_strokes` writes it, `strokes`, the points of
    all drawings one after another (points, 3), and `lengths`, the points of each. Nothing is
    unpickled.

    Args:
      path: the file.

    Returns:
      the drawings by part, `train`, `valid` and `test`; or all as `""`.

    Raises:
      DataError: the file is not of one of these forms. Messages count drawings from 0.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "a.npz")
    ...     write_strokes(file, [np.array([[3, 4, 0], [0, 2, 1]])])
    ...     read_strokes(file)[""][0].tolist()
    [[3.0, 4.0, 0.0], [0.0, 2.0, 1.0]]
    """
    path = Path(path)
    if path.is_dir() or not zipfile.is_zipfile(path):
        reason = "is not an .npz file" if path.exists() else "does not exist"
        raise data_error(path, f"{reason}; give one with strokes and lengths")
    try:
        with zipfile.ZipFile(path) as members:
            size = sum(member.file_size for member in members.infolist())
            if size <= MAX_ARRAY_BYTES:
                raw = {
                    name: members.read(f"{name}.npy")
                    for name in (*PARTS, *PLAIN)
                    if f"{name}.npy" in members.namelist()
                }
    except Exception as error:  # a corrupt file makes the parsers raise any kind
        raise data_error(path, f"cannot be read: {error}; copy it again") from None
    if size > MAX_ARRAY_BYTES:
        raise data_error(
            path, f"must have <= {MAX_ARRAY_BYTES} bytes of arrays, got {size}; split it"
        )
    if raw.keys() >= set(PLAIN):
        found = {"": _split(path, *(_plain(path, name, raw[name]) for name in PLAIN))}
    elif raw.keys() >= set(PARTS):
        found = {name: read_array_of_arrays(path, f"{name}.npy", raw[name]) for name in PARTS}
    else:
        reason = f"must have the arrays {' and '.join(PLAIN)}, or {', '.join(PARTS)}, got "
        raise data_error(path, f"{reason}{', '.join(raw) or 'none of them'}; add the others")
    return {
        name: [_drawing(path, name, k, x) for k, x in enumerate(of)] for name, of in found.items()
    }


def write_strokes(path: str | os.PathLike, drawings: Sequence[np.ndarray]) -> None:
    """Writes drawings to an `.npz` file of plain arrays.

    Args:
      path: the file.
      drawings: arrays (points, 3), see `Drawings`.
    """
    lengths = np.array([len(x) for x in drawings], np.int64)
    np.savez(path, strokes=np.concatenate(drawings), lengths=lengths)


def _plain(path: Path, name: str, raw: bytes) -> np.ndarray:
    try:
        return np.lib.format.read_array(io.BytesIO(raw), allow_pickle=False)
    except Exception as error:  # corrupt bytes make the parsers raise any kind
        raise data_error(path, f"cannot be read: {error}; save plain arrays", member=name) from None


def _split(path: Path, strokes: np.ndarray, lengths: np.ndarray) -> Drawings:
    if lengths.ndim != 1 or lengths.dtype.kind not in "iu" or (lengths < 1).any():
        reason = f"must be integers >= 1 of shape (drawings,), got {lengths.dtype} of shape"
        raise data_error(path, f"{reason} {lengths.shape}; correct it", member="lengths")
    if strokes.ndim != 2 or len(strokes) != lengths.sum():
        reason = f"must have the {lengths.sum()} points of lengths, in shape (points, 3), got"
        raise data_error(path, f"{reason} shape {strokes.shape}; correct it", member="strokes")
    return np.split(strokes, np.cumsum(lengths)[:-1])


def _drawing(path: Path, part: str, number: int, points: np.ndarray) -> np.ndarray:
    where = {"part": part or None, "drawing": number}
    if (
        points.ndim != 2
        or points.shape[1] != 3
        or not len(points)
        or points.dtype.kind not in "iuf"
    ):
        reason = f"must be numbers of shape (points, 3), got {points.dtype} of shape {points.shape}"
        raise data_error(path, f"{reason}; correct it", **where)
    points = points.astype(np.float32)
    if not np.isfinite(points).all():
        raise data_error(path, "must have finite numbers; correct it", **where)
    if not np.isin(points[:, 2], (0, 1)).all():
        raise data_error(path, "must have a pen of 0 or 1 in column 2; correct it", **where)
    return points
