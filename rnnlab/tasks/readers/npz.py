"""Reader of examples from NumPy archives. It checks token ids, which JAX would clamp."""

import os
import zipfile
from pathlib import Path

import numpy as np

from rnnlab.errors import DataError
from rnnlab.tasks.batch import IGNORE_INDEX, Batch
from rnnlab.tasks.readers.errors import data_error

_KEYS = ("inputs", "targets", "lengths", "mask")
MAX_ARRAY_BYTES = 4 << 30
"""Greatest size of the unpacked arrays of an archive."""


def read_npz(
    path: str | os.PathLike, *, vocab_size: int | None = None, num_classes: int | None = None
) -> Batch:
    """Reads all examples of an `.npz` file as one batch.

    Arrays of the file:

    - `inputs`: token ids (examples, time) or values (examples, time, in_features);
    - `targets`: classes (examples, time), `IGNORE_INDEX` where not scored; or one class per example
      (examples,), which goes to its last time step; or values (examples, time, out_features), NaN
      where not scored;
    - `lengths` (examples,) or `mask` (examples, time), only if there is padding, which must be on
      the right; inputs become 0 there.

    Pickled data is not read.

    Args:
      path: the file.
      vocab_size: token ids must be less than it; None allows any from 0.
      num_classes: classes must be less than it; None allows any from 0.

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
    arrays = _arrays(path)
    inputs, mask = arrays["inputs"], _mask(path, arrays)
    real = np.ones(inputs.shape[:2], bool) if mask is None else mask
    if inputs.ndim == 2:
        inputs = _ids(path, "inputs", inputs, real, vocab_size, lowest=0)
    else:
        with np.errstate(over="ignore"):  # to infinity, which is an error below
            inputs = np.where(real[..., None], inputs, 0).astype(np.float32)
        _check_finite(path, inputs)
    return Batch(inputs, _targets(path, arrays["targets"], real, num_classes), mask)


def _arrays(path: Path) -> dict[str, np.ndarray]:
    """Returns the arrays of the archive, with dtypes and shapes that fit each other."""
    if path.is_dir() or not zipfile.is_zipfile(path):
        reason = "is not an .npz file" if path.exists() else "does not exist"
        raise data_error(path, f"{reason}; give one written by numpy.savez")
    arrays = {}
    try:
        with zipfile.ZipFile(path) as members:
            size = sum(member.file_size for member in members.infolist())
        if size > MAX_ARRAY_BYTES:
            raise data_error(
                path, f"has {size} bytes of arrays; at most {MAX_ARRAY_BYTES} are read: split it"
            )
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in _KEYS if name in archive.files}
            names = ", ".join(archive.files) or "none"
    except DataError:
        raise
    except Exception as error:  # a corrupt file makes the parsers raise any kind
        raise data_error(path, f"cannot be read: {error}; save plain arrays") from error
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise data_error(path, "cannot be read: a member is not an array; save plain arrays")
    for name in ("inputs", "targets"):
        if name not in arrays:
            raise data_error(path, f"must have an array {name!r}, got {names}; add it")
    inputs, targets = arrays["inputs"], arrays["targets"]
    _check_array(path, "inputs", inputs, {2: "iu", 3: "fiu"})
    _check_array(path, "targets", targets, {1: "iu", 2: "iu", 3: "f"})
    if 0 in inputs.shape:
        raise data_error(path, f"inputs must not be empty, got shape {inputs.shape}; add data")
    wanted = inputs.shape[: min(targets.ndim, 2)]
    if targets.shape[:2] != wanted:
        raise data_error(
            path, f"targets must have shape {wanted}, as inputs, got {targets.shape}; fix one"
        )
    return arrays


def _check_array(path: Path, name: str, array: np.ndarray, kinds: dict[int, str]) -> None:
    if array.ndim not in kinds or array.dtype.kind not in kinds[array.ndim]:
        words = {"iu": "integers", "f": "floats", "fiu": "numbers"}
        allowed = " or ".join(f"{words[kind]} with {axes} axes" for axes, kind in kinds.items())
        raise data_error(
            path, f"{name} must be {allowed}, got {array.dtype} of shape {array.shape}; convert it"
        )


def _mask(path: Path, arrays: dict[str, np.ndarray]) -> np.ndarray | None:
    examples, time = arrays["inputs"].shape[:2]
    if "lengths" in arrays and "mask" in arrays:
        raise data_error(path, "must have lengths or mask, got both; remove one")
    if "lengths" in arrays:
        lengths = arrays["lengths"]
        if lengths.shape != (examples,) or lengths.dtype.kind not in "iu":
            reason = f"lengths must be integers of shape {(examples,)}"
            raise data_error(
                path, f"{reason}, got {lengths.dtype} of shape {lengths.shape}; convert it"
            )
        wrong = np.flatnonzero((lengths < 1) | (lengths > time))
        if wrong.size:
            reason = f"lengths must be in 1 to {time}, got {lengths[wrong[0]]}; fix it"
            raise data_error(path, reason, example=int(wrong[0]))
        return np.arange(time)[None] < lengths[:, None]
    if "mask" not in arrays:
        return None
    mask = arrays["mask"]
    if mask.shape != (examples, time) or mask.dtype != bool:
        reason = f"mask must be bool of shape {(examples, time)}"
        raise data_error(path, f"{reason}, got {mask.dtype} of shape {mask.shape}; convert it")
    wrong = np.flatnonzero((mask[:, 1:] & ~mask[:, :-1]).any(axis=1) | ~mask[:, 0])
    if wrong.size:
        reason = "mask must be True, then False (right padding), got gaps; move the gaps to the end"
        raise data_error(path, reason, example=int(wrong[0]))
    return mask


def _ids(
    path: Path, name: str, ids: np.ndarray, real: np.ndarray, limit: int | None, *, lowest: int
) -> np.ndarray:
    """Returns `ids` as int32, all in [lowest, limit) where `real`, and `lowest` elsewhere."""
    limit = np.iinfo(np.int32).max if limit is None else limit
    wrong = ids >= limit
    if ids.dtype.kind == "i":
        wrong |= ids < lowest
    wrong = np.argwhere(wrong & real)
    if len(wrong):
        example, step = map(int, wrong[0])
        ignored = f", or {IGNORE_INDEX} if not scored" if lowest == IGNORE_INDEX else ""
        reason = f"{name} must be in [0, {limit}){ignored}, got {ids[example, step]}; fix it"
        raise data_error(path, reason, example=example, time_step=step)
    checked = np.full(ids.shape, lowest, np.int32)
    checked[real] = ids[real]
    return checked


def _targets(path: Path, targets: np.ndarray, real: np.ndarray, limit: int | None) -> np.ndarray:
    if targets.ndim == 3:
        with np.errstate(over="ignore"):
            targets = np.where(real[..., None], targets, np.nan).astype(np.float32)
        infinite = np.argwhere(np.isinf(targets))
        if len(infinite):
            example, step = map(int, infinite[0][:2])
            reason = "targets must be finite, or NaN if not scored, got infinity; fix it"
            raise data_error(path, reason, example=example, time_step=step)
        return targets
    if targets.ndim == 2:
        return _ids(path, "targets", targets, real, limit, lowest=IGNORE_INDEX)
    labels = _ids(path, "targets", targets[:, None], real[:, :1], limit, lowest=0)
    placed = np.full(real.shape, IGNORE_INDEX, np.int32)
    np.put_along_axis(placed, real.sum(axis=1)[:, None] - 1, labels, axis=1)
    return placed


def _check_finite(path: Path, values: np.ndarray) -> None:
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        example, step, feature = map(int, wrong[0])
        reason = f"inputs must be finite, got {values[example, step, feature]} in feature {feature}"
        raise data_error(path, f"{reason}; fill or flag gaps", example=example, time_step=step)
