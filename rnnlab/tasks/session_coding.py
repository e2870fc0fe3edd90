"""Sessions as token ids and targets, with the items that a training fixes."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from rnnlab.tasks.batch import IGNORE_INDEX, Batch
from rnnlab.tasks.batching.packing import packed_batch
from rnnlab.tasks.readers.sessions import SessionLog

Target = Literal["item", "action"]

UNKNOWN = 0
"""The token id and the class of an item that the training part does not have."""


@dataclass(frozen=True)
class SessionCoding:
    """Token ids and classes of items and actions.

    Item k is token and class k + 1, 0 is any other item. Where inputs have actions, they are
    tokens after those of the items, and the action at an item is a time step after it. The first
    one is an unknown action.

    Attributes:
      items: names of the items of the training part.
      actions: names of the actions.
      target: what is predicted: the next item, or the action at an item.
      reads_actions: whether inputs have actions.
      length: items of the longest sequence; a longer session is cut into several.

    >>> coding = SessionCoding(("a", "b"), ("buy", "look"), "item", reads_actions=True, length=9)
    >>> inputs, targets = coding.sequence(np.array([1, 2, 1]), np.array([1, 0, -1]))
    >>> inputs.tolist(), targets.tolist()
    ([1, 5, 2, 4], [-1, 2, -1, 1])
    """

    items: tuple[str, ...] = field(repr=False)
    actions: tuple[str, ...]
    target: Target
    reads_actions: bool
    length: int

    @property
    def vocab_size(self) -> int:
        """Number of token ids."""
        return 1 + len(self.items) + (1 + len(self.actions) if self.reads_actions else 0)

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return ("(new item)", *self.items) if self.target == "item" else self.actions

    @property
    def steps_per_item(self) -> int:
        """Number of time steps of an item."""
        return 2 if self.reads_actions else 1

    def numbers(self, log: SessionLog) -> tuple[np.ndarray, np.ndarray]:
        """Returns the items and the actions of all events of a log, (events,) of int32 each.

        Items are classes, `UNKNOWN` where the training part does not have them. Actions are indices
        in `actions`, -1 where unknown.
        """
        known = {name: number for number, name in enumerate(self.items, 1)}
        items = np.array([known.get(name, UNKNOWN) for name in log.names], np.int32)[log.items]
        if log.actions is None:
            return items, np.full(len(items), -1, np.int32)
        known = {name: number for number, name in enumerate(self.actions)}
        codes = np.array([*(known.get(name, -1) for name in log.action_names), -1], np.int32)
        return items, codes[log.actions]

    def read(self, items: np.ndarray, actions: np.ndarray) -> np.ndarray:
        """Returns the inputs of a session whose actions are all known so far, (time,) of int32.

        Args:
          items: (events,) classes.
          actions: (events,) indices, -1 where unknown.
        """
        if not self.reads_actions:
            return items
        tokens = actions + 2 + len(self.items)
        return np.stack([items, tokens], axis=1).reshape(-1).astype(np.int32)

    def sequence(self, items: np.ndarray, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Returns the inputs and the targets of a session, (time,) of int32 each.

        Args:
          items: (events,) classes.
          actions: (events,) indices, -1 where unknown.
        """
        if self.target == "action":
            inputs = self.read(items, actions)
            targets = np.full(len(inputs), IGNORE_INDEX, np.int32)
            targets[:: self.steps_per_item] = actions
            # Nothing is predicted from the action at the last item.
            end = len(inputs) - (1 if self.reads_actions else 0)
            return inputs[:end], targets[:end]
        inputs = self.read(items[:-1], actions[:-1])
        targets = np.full(len(inputs), IGNORE_INDEX, np.int32)
        targets[self.steps_per_item - 1 :: self.steps_per_item] = items[1:]
        return inputs, targets

    def packed(self, sessions: Sequence[tuple[np.ndarray, np.ndarray]]) -> Batch:
        """Returns the sequences of sessions, several per row, each after a reset.

        Args:
          sessions: the items and the actions of each, as in `sequence`.
        """
        steps = self.length * self.steps_per_item
        inputs, targets = [], []
        for session in sessions:
            tokens, classes = self.sequence(*session)
            for start in range(0, len(tokens), steps):
                inputs.append(tokens[start : start + steps])
                targets.append(classes[start : start + steps])
        return packed_batch(inputs, targets)
