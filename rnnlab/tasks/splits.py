"""Training, validation and test parts: by class, by group and by time."""

from collections.abc import Sequence

import numpy as np

from rnnlab.errors import DataError
from rnnlab.tasks.data import RngStream, rng_for


def stratified(labels: np.ndarray, fractions: Sequence[float]) -> list[np.ndarray]:
    """Returns the indices of parts that each have the given fraction of every class.

    The parts are the same for every seed. A class with too few examples for a fraction is missing
    from that part; a class that the fractions would use up stays in the first part.

    Args:
      labels: (examples,) classes.
      fractions: of the parts after the first, which gets the remaining examples.

    Returns:
      The indices of each part, in increasing order.

    Raises:
      ValueError: a fraction is not in (0, 1), or their sum is 1 or more.
      DataError: a part gets no example.

    >>> [part.tolist() for part in stratified(np.array([0, 0, 0, 1, 1, 1]), [1 / 3])]
    [[1, 2, 4, 5], [0, 3]]
    """
    _require_fractions(fractions)
    rng = rng_for(RngStream.FIXED, len(labels))
    parts = [[] for _ in range(len(fractions) + 1)]
    for label in np.unique(labels):
        indices = rng.permutation(np.flatnonzero(labels == label))
        sizes = [round(fraction * len(indices)) for fraction in fractions]
        if sum(sizes) >= len(indices):
            sizes = [0] * len(fractions)
        bounds = np.cumsum([len(indices) - sum(sizes), *sizes])[:-1]
        for part, members in zip(parts, np.split(indices, bounds), strict=True):
            part.append(members)
    parts = [np.sort(np.concatenate(part)) for part in parts]
    kinds = f"{len(labels)} examples in {len(np.unique(labels))} classes"
    return _require_examples(parts, fractions, kinds)


def by_group(groups: np.ndarray, fractions: Sequence[float]) -> list[np.ndarray]:
    """Returns the indices of parts such that each group is in one part as a whole.

    Examples of one patient, engine or customer resemble each other: a model that has seen some of
    them is not tested on new ones. The groups are permuted, the same for every seed, and go to the
    last part until it has its fraction of the examples, then to the part before it.

    Args:
      groups: (examples,) the group of each, of any type that can be sorted.
      fractions: of the parts after the first, which gets the remaining groups.

    Returns:
      The indices of each part, in increasing order.

    Raises:
      ValueError: a fraction is not in (0, 1), or their sum is 1 or more.
      DataError: a part gets no group.

    >>> [part.tolist() for part in by_group(np.array(["b", "a", "b", "c", "c"]), [0.3])]
    [[0, 1, 2], [3, 4]]
    """
    _require_fractions(fractions)
    groups = np.asarray(groups)
    _, number = np.unique(groups, return_inverse=True)
    sizes = np.bincount(number)
    part_of = np.zeros(len(sizes), int)
    order = iter(rng_for(RngStream.FIXED, len(sizes)).permutation(len(sizes)))
    for part in range(len(fractions), 0, -1):
        wanted, size = fractions[part - 1] * len(groups), 0
        while size < wanted and (group := next(order, None)) is not None:
            part_of[group] = part
            size += sizes[group]
    parts = [np.flatnonzero(part_of[number] == part) for part in range(len(fractions) + 1)]
    return _require_examples(parts, fractions, f"{len(groups)} examples in {len(sizes)} groups")


def by_time(times: np.ndarray, fractions: Sequence[float]) -> list[np.ndarray]:
    """Returns the indices of parts of which each is later than the one before it.

    Examples of the same time stay in one part, the earlier one.

    Args:
      times: (examples,) numbers or dates.
      fractions: of the parts after the first, which gets the earliest examples.

    Returns:
      The indices of each part, in increasing order.

    Raises:
      ValueError: a fraction is not in (0, 1), or their sum is 1 or more.
      DataError: a part gets no example.

    >>> [part.tolist() for part in by_time(np.array([5, 1, 4, 4]), [0.3])]
    [[1, 2, 3], [0]]
    """
    _require_fractions(fractions)
    times = np.asarray(times)
    shares = np.cumsum([1 - sum(fractions), *fractions])[:-1]
    last = np.sort(times)[np.maximum(np.round(shares * len(times)).astype(int) - 1, 0)]
    number = np.searchsorted(last, times)
    parts = [np.flatnonzero(number == part) for part in range(len(fractions) + 1)]
    return _require_examples(parts, fractions, f"{len(times)} examples by time")


def _require_fractions(fractions: Sequence[float]) -> None:
    if not all(0 < fraction < 1 for fraction in fractions) or sum(fractions) >= 1:
        raise ValueError(
            f"fractions must be in (0, 1) with a sum < 1, got {list(fractions)}; "
            "lower valid or test"
        )


def _require_examples(
    parts: list[np.ndarray], fractions: Sequence[float], kinds: str
) -> list[np.ndarray]:
    if not all(map(len, parts)):
        raise DataError(
            f"valid and test must leave no part empty, got fractions {list(fractions)} of {kinds}; "
            "add examples or raise the fractions"
        )
    return parts
