"""Examples from plain arrays. Token ids and classes are checked, since JAX would clamp them."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.batch import IGNORE_INDEX
from rnnlab.tasks.readers.errors import data_error

INPUT_NAMES = ("inputs", "X", "x")
"""Names of the array of inputs."""

TARGET_NAMES = ("targets", "y", "labels")
"""Names of the array of targets."""

NAMES = (*INPUT_NAMES, *TARGET_NAMES, "lengths", "mask")
"""Names of all arrays that are read."""


class Examples(NamedTuple):
    """Sequences and their targets.

    Attributes:
      inputs: token ids (examples, time) of int32, or values (examples, time, in_features) of
        float32; 0 in padding.
      targets: classes (examples, time) of int32, `IGNORE_INDEX` where not scored; or values
        (examples, time, out_features) of float32, NaN where not scored. The target of a whole
        sequence is at its last time step. None: unknown.
      mask: (examples, time) bool, False in padding, which is on the right; None: no padding.
      classes: names of the classes; None where they are numbers, or where targets are values.
      features: names of the columns of a table that are the inputs; None: there is no table.
      ids: what distinguishes the sequences of a table; None: their numbers.
    """

    inputs: np.ndarray
    targets: np.ndarray | None
    mask: np.ndarray | None = None
    classes: tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    ids: tuple[str, ...] | None = None


def to_examples(
    path: Path,
    arrays: Mapping[str, np.ndarray],
    *,
    vocab_size: int | None = None,
    num_classes: int | None = None,
    labelled: bool = True,
    others: Sequence[str] = (),
) -> Examples:
    """Returns the examples in arrays.

    Args:
      path: where they come from, for messages.
      arrays: as `rnnlab.tasks.readers.npz` describes them.
      vocab_size: token ids must be less than it; None allows any from 0.
      num_classes: classes must be less than it; None allows any from 0.
      labelled: whether there must be targets, one for every sequence if not one per time step.
      others: names of arrays that are not read, for messages.

    Raises:
      DataError: an array is missing, has a wrong dtype or shape, or a value out of range. Messages
        count examples and time steps from 0.

    >>> arrays = {"X": np.array([[0.5, 2.0]]), "y": np.array(["up"])}
    >>> to_examples(Path("a.npz"), arrays)
    Examples(inputs=array([[[0.5],
            [2. ]]], dtype=float32), targets=array([[-1,  0]], dtype=int32), mask=None, \
classes=('up',), features=None, ids=None)
    """
    inputs, targets = (_named(path, arrays, names) for names in (INPUT_NAMES, TARGET_NAMES))
    for names, found in ((INPUT_NAMES, inputs), (TARGET_NAMES, targets)):
        if found is None and (labelled or names == INPUT_NAMES):
            known = ", ".join(sorted([*arrays, *others])) or "none"
            wanted = "{!r}, {!r} or {!r}".format(*names)
            raise data_error(path, f"must have an array {wanted}, got {known}; rename or add it")
    inputs = _inputs(path, inputs)
    mask = _mask(path, arrays, *inputs.shape[:2])
    real = np.ones(inputs.shape[:2], bool) if mask is None else mask
    if inputs.ndim == 2:
        inputs = _ids(path, "inputs", inputs, real, vocab_size, lowest=0)
    else:
        with np.errstate(over="ignore"):  # to infinity, which is an error below
            inputs = np.where(real[..., None], inputs, 0).astype(np.float32)
        _check_finite(path, inputs)
    if targets is None:
        return Examples(inputs, None, mask)
    _check_targets(path, targets, inputs.shape[:2])
    if targets.dtype.kind == "f":
        return Examples(inputs, _values(path, targets, real), mask)
    if targets.dtype.kind in "US":
        numbers, classes = _numbered(path, targets, real, labelled)
        return Examples(inputs, place(numbers, real), mask, classes)
    one_each = targets.ndim == 1
    checked = _ids(
        path,
        "targets",
        targets[:, None] if one_each else targets,
        real[:, :1] if one_each else real,
        num_classes,
        lowest=0 if one_each and labelled else IGNORE_INDEX,
    )
    return Examples(inputs, place(checked[:, 0], real) if one_each else checked, mask)


def place(targets: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Returns targets by time step, of which those of sequences are at their last time step.

    Args:
      targets: classes or values, (examples,) or (examples, time).
      real: (examples, time) bool, False in padding.
    """
    unscored = np.nan if targets.dtype.kind == "f" else IGNORE_INDEX
    placed = np.full(real.shape, unscored, targets.dtype)
    if targets.ndim == 1:
        np.put_along_axis(placed, real.sum(axis=1)[:, None] - 1, targets[:, None], axis=1)
    else:
        placed[real] = targets[real]
    return placed


def class_names(names: Sequence[str]) -> tuple[str, ...]:
    """Returns the different names in order: by number if all are whole numbers, else by letter.

    >>> class_names(["10", "9", "9"]), class_names(["b", "10"])
    (('9', '10'), ('10', 'b'))
    """
    different = sorted(set(names))
    if all(name.removeprefix("-").isdecimal() for name in different):
        different.sort(key=int)
    return tuple(different)


def _named(
    path: Path, arrays: Mapping[str, np.ndarray], names: tuple[str, ...]
) -> np.ndarray | None:
    found = [name for name in names if name in arrays]
    if len(found) > 1:
        raise data_error(path, f"must have one of {' and '.join(found)}, got both; remove one")
    return arrays[found[0]] if found else None


def _inputs(path: Path, inputs: np.ndarray) -> np.ndarray:
    """Inputs as integers with 2 axes, or numbers with 3."""
    kinds = {2: "iuf", 3: "fiub"}
    if inputs.dtype.kind not in kinds.get(inputs.ndim, ""):
        actions = {
            1: "add a batch axis, as in inputs[None], for one sequence",
            4: "flatten the axes after time into one",
        }
        action = actions.get(inputs.ndim, "convert them to numbers")
        raise data_error(
            path,
            "inputs must be token ids (integers of shape (examples, time)) or values (floats of "
            "shape (examples, time) or numbers of shape (examples, time, features)), got "
            f"{inputs.dtype} of shape {inputs.shape}; {action}",
        )
    if 0 in inputs.shape:
        raise data_error(path, f"inputs must not be empty, got shape {inputs.shape}; add data")
    return inputs[..., None] if inputs.ndim == 2 and inputs.dtype.kind == "f" else inputs


def _check_targets(path: Path, targets: np.ndarray, shape: tuple[int, ...]) -> None:
    axes = {"f": (1, 2, 3)} | dict.fromkeys("biuUS", (1, 2))
    if targets.ndim not in axes.get(targets.dtype.kind, ()):
        raise data_error(
            path,
            "targets must be classes (integers or strings) or values (floats) of shape (examples,) "
            "or (examples, time), or floats of shape (examples, time, values), got "
            f"{targets.dtype} of shape {targets.shape}; convert them",
        )
    wanted = shape[: min(targets.ndim, 2)]
    if targets.shape[:2] == wanted:
        return
    action = "fix one"
    if targets.ndim == 2 and len(targets) == shape[0] and targets.dtype.kind in "biuf":
        if targets.shape[1] == 1:
            action = "give one target per sequence as targets[:, 0]"
        elif ((targets == 0).sum(axis=1) == targets.shape[1] - 1).all():
            action = "give classes instead of one-hot vectors: targets.argmax(axis=1)"
    reason = f"targets must have shape {wanted}, as inputs, got {targets.shape}; {action}"
    raise data_error(path, reason)


def _mask(
    path: Path, arrays: Mapping[str, np.ndarray], examples: int, time: int
) -> np.ndarray | None:
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
        action = "fix it, or store floats if these are values" if name == "inputs" else "fix it"
        reason = f"{name} must be in [0, {limit}){ignored}, got {ids[example, step]}; {action}"
        raise data_error(path, reason, example=example, time_step=step)
    checked = np.full(ids.shape, lowest, np.int32)
    checked[real] = ids[real]
    return checked


def _values(path: Path, targets: np.ndarray, real: np.ndarray) -> np.ndarray:
    """Values by time step, (examples, time, values) of float32, NaN where not scored."""
    if targets.ndim < 3:
        targets = place(targets, real)[..., None]
    with np.errstate(over="ignore"):
        targets = np.where(real[..., None], targets, np.nan).astype(np.float32)
    infinite = np.argwhere(np.isinf(targets))
    if len(infinite):
        example, step = map(int, infinite[0][:2])
        reason = "targets must be finite, or NaN if not scored, got infinity; fix it"
        raise data_error(path, reason, example=example, time_step=step)
    return targets


def _numbered(
    path: Path, labels: np.ndarray, real: np.ndarray, labelled: bool
) -> tuple[np.ndarray, tuple[str, ...]]:
    """The numbers of labels that are strings, and their names. An empty string is not scored."""
    if labels.dtype.kind == "S":
        try:
            labels = np.char.decode(labels, "utf-8")
        except UnicodeDecodeError as error:
            reason = f"targets must be UTF-8, got {error.object[:40]!r}; convert them to strings"
            raise data_error(path, reason) from None
    known = labels != ""
    if labels.ndim == 1 and labelled and not known.all():
        reason = "targets must not have an empty label; name it or remove the sequence"
        raise data_error(path, reason, example=int(known.argmin()))
    known &= real[:, 0] if labels.ndim == 1 else real
    classes = class_names(labels[known].tolist())
    numbers = {name: number for number, name in enumerate(classes)}
    found = np.full(labels.shape, IGNORE_INDEX, np.int32)
    found[known] = [numbers[name] for name in labels[known].tolist()]
    return found, classes


def _check_finite(path: Path, values: np.ndarray) -> None:
    wrong = np.argwhere(~np.isfinite(values))
    if len(wrong):
        example, step, feature = map(int, wrong[0])
        reason = f"inputs must be finite, got {values[example, step, feature]} in feature {feature}"
        raise data_error(path, f"{reason}; fill or flag gaps", example=example, time_step=step)
