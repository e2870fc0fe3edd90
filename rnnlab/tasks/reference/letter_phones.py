"""Pronunciations by rules that are counted in a dictionary: letters aligned with phones.

Each letter of a word is aligned with none, one or two successive phones, by hard expectation
maximization. A word is then pronounced letter by letter, by what its letters usually stand for.
"""

import copy
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from rnnlab.tasks.batching.padding import pad

Phones = tuple[str, ...]

CONTEXTS = ((3, 3), (2, 3), (2, 2), (1, 2), (1, 1), (0, 1))
"""Letters before and after a letter that decide on its phones, the widest first."""

EDGE = "_"
"""The letter before the first and after the last one of a word."""

MAX_PHONES = 2
"""Phones that a letter stands for, at most."""

MAX_LETTERS = 18
"""Length of the longest word that is aligned, in letters and in phones."""

SAMPLE = 20_000
"""Words from which the alignment is learned."""


@dataclass(frozen=True, eq=False)
class LetterPhones:
    """Rules of a dictionary: the most common phones of letters.

    Attributes:
      by_letter: the most common phones of each letter.
      by_context: for each of `CONTEXTS`, the most common phones of a letter with its neighbors.
    """

    by_letter: dict[str, Phones]
    by_context: tuple[dict[str, Phones], ...]

    def by_single_letters(self, word: str) -> Phones:
        """Returns the most common phones of each letter, joined."""
        return tuple(phone for letter in word for phone in self.by_letter.get(letter, ()))

    def by_known_contexts(self, word: str) -> Phones:
        """Returns the most common phones of each letter in the widest context that is known."""
        phones: list[str] = []
        for k, letter in enumerate(word):
            windows = (
                known.get(_window(word, k, *widths))
                for known, widths in zip(self.by_context, CONTEXTS, strict=True)
            )
            found = next((x for x in windows if x is not None), None)
            phones += self.by_letter.get(letter, ()) if found is None else found
        return tuple(phones)


def count_letter_phones(
    words: Sequence[str], phones: Sequence[Phones], rounds: int = 4
) -> LetterPhones:
    """Returns what letters stand for in words that are aligned with their phones.

    Words are skipped that are longer than `MAX_LETTERS` or have too many phones for an alignment.

    Args:
      words: not empty.
      phones: of each word.
      rounds: iterations of the alignment.

    Source: alignments as in Pagel, Lenzo and Black (1998), cmp-lg/9808010; the look-up of contexts
    as in Weijters (1991).

    >>> rules = count_letter_phones(["cab", "back"], [("K", "AE", "B"), ("B", "AE", "K")])
    >>> rules.by_known_contexts("cab")
    ('K', 'AE', 'B')
    """
    chunks = _aligned(words, phones, rounds)
    single: defaultdict[str, Counter] = defaultdict(Counter)
    counts: tuple[defaultdict[str, Counter], ...] = tuple(defaultdict(Counter) for _ in CONTEXTS)
    for word, parts in chunks:
        for k, part in enumerate(parts):
            single[word[k]][part] += 1
            for known, widths in zip(counts, CONTEXTS, strict=True):
                known[_window(word, k, *widths)][part] += 1
    return LetterPhones(_most_common(single), tuple(map(_most_common, counts)))


def _most_common(counts: dict[str, Counter]) -> dict[str, Phones]:
    return {key: counter.most_common(1)[0][0] for key, counter in counts.items()}


def _window(word: str, k: int, before: int, after: int) -> str:
    padded = EDGE * before + word + EDGE * after
    return padded[k : k + before + after + 1]


class _Pairs:
    """Words and phones as padded numbers."""

    def __init__(self, pairs: Sequence[tuple[str, Phones]]):
        letter_names = sorted({letter for word, _ in pairs for letter in word})
        phone_names = sorted({phone for _, of in pairs for phone in of})
        letter_ids = {name: k for k, name in enumerate(letter_names)}
        phone_ids = {name: k for k, name in enumerate(phone_names, 1)}
        self.num_letters = len(letter_names)
        # A chunk of phones is a number: 0 without phones, p for phone p, p * base + q for two.
        self.base = len(phone_names) + 1
        self.letters, self.letter_mask = pad(
            [np.array([letter_ids[x] for x in word]) for word, _ in pairs]
        )
        self.phones, phone_mask = pad([np.array([phone_ids[x] for x in of]) for _, of in pairs])
        self.counts = phone_mask.sum(1)
        self.chunks = _chunk_ids(self.phones, self.base)

    def part(self, rows: slice) -> "_Pairs":
        """Returns some of the pairs."""
        part = copy.copy(self)
        for name in ("letters", "letter_mask", "phones", "counts", "chunks"):
            setattr(part, name, getattr(self, name)[rows])
        return part


def _aligned(
    words: Sequence[str], phones: Sequence[Phones], rounds: int
) -> list[tuple[str, list[Phones]]]:
    """The words with the phones of each letter."""
    known = [
        (word, of)
        for word, of in zip(words, phones, strict=True)
        if len(word) <= MAX_LETTERS and 0 < len(of) <= min(MAX_PHONES * len(word), MAX_LETTERS)
    ]
    if not known:
        return []
    pairs = _Pairs(known)
    sample = pairs.part(slice(None, None, -(-len(known) // SAMPLE)))
    scores = _first_scores(sample)
    for _ in range(rounds):
        sizes = _best_sizes(scores, sample)
        flat = sample.chunks.reshape(len(sizes), -1)
        at = np.cumsum(sizes, axis=1) * (MAX_PHONES + 1) + sizes
        found = np.take_along_axis(flat, at, axis=1)
        counts = np.full(scores.shape, 0.1)
        np.add.at(counts, (sample.letters[sample.letter_mask], found[sample.letter_mask]), 1)
        scores = np.log(counts / counts.sum(1, keepdims=True))
    starts = range(0, len(known), SAMPLE)
    sizes = np.concatenate(
        [_best_sizes(scores, pairs.part(slice(start, start + SAMPLE))) for start in starts]
    )
    bounds = np.pad(np.cumsum(sizes, axis=1), ((0, 0), (1, 0)))
    return [
        (word, [of[i:j] for i, j in pairwise(bounds[k, : len(word) + 1].tolist())])
        for k, (word, of) in enumerate(known)
    ]


def _first_scores(pairs: _Pairs) -> np.ndarray:
    """Scores (letters, chunks) to start from: which phones are about where a letter is."""
    base, letters = pairs.base, pairs.letters
    near = np.full((pairs.num_letters, base), 1.0)
    for shift in (-1, 0, 1):
        at = np.clip(np.arange(letters.shape[1]) + shift, 0, pairs.phones.shape[1] - 1)
        phones = pairs.phones[:, at]
        keep = pairs.letter_mask & (phones > 0)
        np.add.at(near, (letters[keep], phones[keep]), 1)
    joint = near / near.sum()
    ratio = np.log(joint / (joint.sum(1, keepdims=True) * joint.sum(0)))
    scores = (ratio[:, :, None] + ratio[:, None, :] - 3.0).reshape(len(ratio), -1)
    scores[:, :base], scores[:, 0] = ratio, -1.0
    return scores


def _chunk_ids(ids: np.ndarray, base: int) -> np.ndarray:
    """Numbers (words, phones + 1, 3) of the chunks of 0, 1 and 2 phones that end at a position."""
    one = np.pad(ids, ((0, 0), (1, 0)))
    two = np.pad(ids[:, :-1] * base + ids[:, 1:], ((0, 0), (2, 0)))
    return np.stack([np.zeros_like(one), one, two], axis=-1)


def _best_sizes(scores: np.ndarray, pairs: _Pairs) -> np.ndarray:
    """The number of phones of each letter (words, letters) in the best alignment (Viterbi)."""
    letters, chunks = pairs.letters, pairs.chunks
    rows, positions = chunks.shape[:2]
    best = np.full((rows, positions), -np.inf)
    best[:, 0] = 0.0
    steps = []
    for k in range(letters.shape[1]):
        padded = np.pad(best, ((0, 0), (MAX_PHONES, 0)), constant_values=-np.inf)
        starts = (MAX_PHONES - size for size in range(MAX_PHONES + 1))
        before = np.stack([padded[:, start : start + positions] for start in starts], axis=-1)
        options = before + scores[letters[:, k, None, None], chunks]
        stays = ~pairs.letter_mask[:, k]
        sizes = np.where(stays[:, None], 0, options.argmax(-1))
        best = np.where(stays[:, None], best, options.max(-1))
        steps.append(sizes)
    position, found = pairs.counts.copy(), np.zeros(letters.shape, int)
    for k in reversed(range(letters.shape[1])):
        found[:, k] = steps[k][np.arange(rows), position]
        position -= found[:, k]
    return found
