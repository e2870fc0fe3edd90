"""Actions of users without a network: the most common one after what is known."""

from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np


class Visit(NamedTuple):
    """An item of a session, and the last action before it, -1 where unknown."""

    item: int
    last_action: int


CONTEXTS: dict[str, Callable[[Visit], Hashable]] = {
    "most common action": lambda visit: (),
    "most common action of the item": lambda visit: visit.item,
    "most common next action": lambda visit: visit.last_action,
    "most common next action of the item": lambda visit: visit,
}
"""What a predictor knows, by its name."""


def scores(
    train: Sequence[tuple[np.ndarray, np.ndarray]],
    test: Sequence[tuple[np.ndarray, np.ndarray]],
    num_actions: int,
) -> dict[str, dict[str, float]]:
    """Returns the accuracy of all predictors on the known actions of test sessions, by name.

    Args:
      train: the items and the actions of each session, (time,) each; an action is -1 where unknown.
      test: the same.
      num_actions: number of actions.

    >>> session = (np.array([0, 1, 0]), np.array([1, 0, 1]))
    >>> scores([session], [session], 2)["most common action"]
    {'accuracy': 0.6666666666666666}
    """
    visits, actions = _visits(train)
    tested, truth = _visits(test)
    found = {}
    for name, context in CONTEXTS.items():
        counts: dict[Hashable, Counter] = defaultdict(Counter)
        for visit, action in zip(visits, actions, strict=True):
            counts[context(visit)][action] += 1
        common = np.bincount(actions, minlength=num_actions).argmax()
        best = {key: counter.most_common(1)[0][0] for key, counter in counts.items()}
        predicted = [best.get(context(visit), common) for visit in tested]
        found[name] = {"accuracy": float(np.mean(np.equal(predicted, truth)))}
    return found


def _visits(
    sessions: Sequence[tuple[np.ndarray, np.ndarray]],
) -> tuple[list[Visit], list[int]]:
    """Returns the visits whose action is known, and their actions."""
    visits, found = [], []
    for items, actions in sessions:
        last = -1
        for item, action in zip(items.tolist(), actions.tolist(), strict=True):
            if action >= 0:
                visits.append(Visit(item, last))
                found.append(action)
            last = action
    return visits, found
