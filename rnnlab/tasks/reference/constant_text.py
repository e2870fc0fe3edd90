"""A trivial recognizer: the same text for every recording."""

import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from rnnlab.optional import require_module
from rnnlab.tasks.reference.text_scores import EXTRA, cer, wer

CANDIDATES = 500
"""Greatest number of texts that are compared, the most frequent ones."""

_UNITS: dict[str, Callable[[str], Any]] = {"word": str.split, "character": str}


def constant_text_scores(
    train: Sequence[str], test: Sequence[str]
) -> Mapping[str, Mapping[str, float]]:
    """Returns the error rates on `test` of the two best constant texts of `train`.

    One has the lowest word error rate on the training texts, the other the lowest character error
    rate. Empty if jiwer is not installed.

    Args:
      train: the training texts.
      test: the texts that are scored.

    >>> constant_text_scores(["NO", "NO", "YES"], ["NO", "YES"])["constant text (by word)"]["wer"]
    0.5
    """
    if not find_spec("jiwer"):
        return {}
    return _scores(tuple(train), tuple(test))


@functools.lru_cache(maxsize=4)
def _scores(train: tuple[str, ...], test: tuple[str, ...]) -> dict[str, dict[str, float]]:
    distance = require_module("rapidfuzz.distance.Levenshtein", EXTRA).distance
    count = Counter(train)
    frequent = sorted(count, key=lambda text: (-count[text], text))[:CANDIDATES]
    found = {}
    for unit, split in _UNITS.items():
        references = [(split(text), n) for text, n in count.items()]

        def edits(text: str, split=split, references=references) -> int:
            return sum(n * distance(split(text), reference) for reference, n in references)

        constant = [min(frequent, key=edits)] * len(test)
        found[f"constant text (by {unit})"] = {
            "wer": wer(constant, test),
            "cer": cer(constant, test),
        }
    return found
