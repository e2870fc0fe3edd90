"""Texts as sequences of labels, and back from the classes of time steps."""

import functools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

BLANK = 0
"""The class of a time step that adds no symbol."""


@dataclass(frozen=True)
class Alphabet:
    """The symbols of texts; label k is symbol k - 1, since class 0 is the blank of CTC.

    Attributes:
      symbols: single characters.

    >>> alphabet = Alphabet.of(["NO", "ON AN"])
    >>> alphabet.classes, alphabet.labels("NO").tolist()
    (('blank', ' ', 'A', 'N', 'O'), [3, 4])
    """

    symbols: tuple[str, ...]

    @classmethod
    def of(cls, texts: Iterable[str]) -> "Alphabet":
        """Returns the alphabet of texts, in order."""
        return cls(tuple(sorted(set("".join(texts)))))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes of a time step, the blank first."""
        return ("blank", *self.symbols)

    @functools.cached_property
    def _label(self) -> dict[str, int]:
        return {symbol: k for k, symbol in enumerate(self.symbols, 1)}

    def labels(self, text: str) -> np.ndarray:
        """Returns the labels of a text, (symbols,) int32; unknown symbols are omitted."""
        return np.array([self._label[x] for x in text if x in self._label], np.int32)

    def text(self, labels: np.ndarray) -> str:
        """Returns the text of labels up to the first negative one, one space between words.

        >>> Alphabet((" ", "A", "B")).text(np.array([1, 2, 1, 1, 3, -1]))
        'A B'
        """
        labels = np.asarray(labels)
        end = np.flatnonzero(labels < 0)
        used = labels[: end[0]] if len(end) else labels
        return " ".join("".join(self.symbols[k - 1] for k in used if k != BLANK).split())

    def best_path(self, outputs: np.ndarray) -> str:
        """Returns the text of the most likely class of each time step: greedy CTC decoding.

        Equal classes next to each other are one symbol; a blank between them separates two.

        Args:
          outputs: (time, classes) logits, without padding.

        >>> Alphabet(("A", "B")).best_path(np.eye(3)[[0, 1, 1, 0, 1, 2]])
        'AAB'
        """
        return self.text(emissions(np.argmax(outputs, -1))[1])


def emissions(classes: np.ndarray, before: int = BLANK) -> tuple[np.ndarray, np.ndarray]:
    """Returns at which time steps a path adds a label, and the labels.

    Args:
      classes: (time,) of each time step.
      before: class of the time step before the first one, where a stream continues.

    >>> steps, labels = emissions(np.array([0, 1, 1, 0, 1, 2]))
    >>> steps.tolist(), labels.tolist()
    ([1, 4, 5], [1, 1, 2])
    """
    previous = np.concatenate([[before], classes])[:-1]
    steps = np.flatnonzero((classes != BLANK) & (classes != previous))
    return steps, classes[steps]
