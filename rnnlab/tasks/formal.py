"""Formal languages: questions about a string, of lengths not trained on."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.batch import IGNORE, Batch, scored
from rnnlab.tasks.data import FIXED, TaskData, generator
from rnnlab.tasks.generated_data import Sampler, generated, majority_share
from rnnlab.validation import require_one_of, require_positive_int


class Strings(NamedTuple):
    """Strings, their lengths, and what is to be answered about them.

    Attributes:
      text: (batch, steps) symbols; what is beyond a row's length means nothing.
      length: (batch,) of int.
      answer: (batch, answers) classes, `IGNORE` after a row's last.
    """

    text: np.ndarray
    length: np.ndarray
    answer: np.ndarray


class Language(NamedTuple):
    """One kind of question.

    Attributes:
      draw: strings for a generator, lengths (batch,) and a size.
      size: the published number of symbols, positions or residues.
      symbols: number of symbols for a size.
      classes: number of classes for a size and the greatest length.
      steps: most steps of a row, queries included, for the greatest length.
      fixed: no other size is defined.
      odd: lengths are odd.
    """

    draw: Callable[[np.random.Generator, np.ndarray, int], Strings]
    size: int
    symbols: Callable[[int], int] = lambda size: size
    classes: Callable[[int, int], int] = lambda size, longest: size
    steps: Callable[[int], int] = lambda longest: longest + 1
    fixed: bool = False
    odd: bool = False


def _draw(rng, length, size):
    """Uniform symbols, and which of them are within the lengths."""
    text = rng.integers(0, size, (len(length), length.max()))
    return text, np.arange(length.max()) < length[:, None]


def _even_pairs(rng, length, size):
    text, _ = _draw(rng, length, size)
    last = text[np.arange(len(text)), length - 1]
    return Strings(text, length, (text[:, :1] != last[:, None]).astype(int))


def _parity(rng, length, size):
    text, real = _draw(rng, length, size)
    return Strings(text, length, (text * real).sum(-1, keepdims=True) % 2)


def _cycle_navigation(rng, length, size):
    text, real = _draw(rng, length, 3)
    return Strings(text, length, ((text - 1) * real).sum(-1, keepdims=True) % size)


def _counts(text, real, size):
    """How often each symbol occurs in each row."""
    cell = np.arange(len(text))[:, None] * size + text
    return np.bincount(cell[real], minlength=len(text) * size).reshape(-1, size)


def _majority(rng, length, size):
    text, real = _draw(rng, length, size)
    backwards = _counts(text, real, size)[:, ::-1]
    return Strings(text, length, size - 1 - backwards.argmax(-1)[:, None])


def _majority_count(rng, length, size):
    text, real = _draw(rng, length, size)
    return Strings(text, length, _counts(text, real, size).max(-1, keepdims=True))


def _modular_arithmetic(rng, length, modulus):
    text = rng.integers(0, modulus, (len(length), length.max()))
    text[:, 1::2] = rng.integers(modulus, modulus + 3, text[:, 1::2].shape)
    # The value is `total + term`, where further factors go into `term`, the last of the terms.
    total, term = np.zeros(len(text), int), text[:, 0].copy()
    for step in range(1, length.max(), 2):
        operator, number = text[:, step] - modulus, text[:, step + 1]
        times = operator == 2
        new_total = np.where(times, total, total + term)
        new_term = np.where(times, term * number, np.where(operator == 1, -number, number))
        real = step < length
        total = np.where(real, new_total, total) % modulus
        term = np.where(real, new_term, term) % modulus
    return Strings(text, length, ((total + term) % modulus)[:, None])


def _missing_duplicate(rng, length, size):
    word, _ = _draw(rng, length, size)
    kept = rng.integers(0, length)
    answer = np.take_along_axis(word, kept[:, None], -1)
    steps = np.arange(2 * length.max())
    again = steps - length[:, None] * (steps >= length[:, None])
    text = np.take_along_axis(word, np.minimum(again, word.shape[1] - 1), -1)
    return Strings(text, length + kept, answer)


def _bucket_sort(rng, length, size):
    text, real = _draw(rng, length, size)
    answer = np.sort(np.where(real, text, size), -1)
    return Strings(text, length, np.where(real, answer, IGNORE))


LANGUAGES = {
    "even_pairs": Language(_even_pairs, 2, fixed=True),
    "parity": Language(_parity, 2, fixed=True),
    "majority": Language(_majority, 63),
    "majority_count": Language(_majority_count, 63, classes=lambda size, longest: longest + 1),
    "cycle_navigation": Language(_cycle_navigation, 5, symbols=lambda size: 3),
    "modular_arithmetic": Language(
        _modular_arithmetic, 5, symbols=lambda modulus: modulus + 3, odd=True
    ),
    "missing_duplicate": Language(_missing_duplicate, 9, steps=lambda longest: 2 * longest),
    "bucket_sort": Language(_bucket_sort, 10, steps=lambda longest: 2 * longest),
}
"""The languages of `FormalLanguage` by name."""


@dataclass(frozen=True)
class FormalLanguage:
    """A question about a string, trained on short strings and tested on longer ones.

    A row is the string and then as many query symbols, the last id of the vocabulary, as there are
    answers; the answers alone are scored. With the symbols 0 to k - 1, uniform and independent:

    - `"even_pairs"`: k = 2; 0 if the first symbol is the last one, that is if the number of places
      where neighbours differ is even, else 1.
    - `"parity"`: k = 2; the sum of the symbols, modulo 2.
    - `"cycle_navigation"`: a walk of steps left, none and right (0, 1, 2) on a circle of `size`
      positions; the position where it ends, from 0.
    - `"modular_arithmetic"`: numbers below `size` and operators between them (`size` +, `size + 1`
      -, `size + 2` *); the value modulo `size`, products first. Lengths are odd.
    - `"majority"`: k = `size`; the commonest symbol, of equally common ones the greatest.
    - `"majority_count"`: k = `size`; how often the commonest symbol occurs. Longer strings
      have counts that shorter ones never had.
    - `"missing_duplicate"`: k = `size`; the string and its beginning once more, cut at a uniform
      place; the next symbol. Nothing marks where the copy begins, so that where little of it is
      seen even the best guess can fail.
    - `"bucket_sort"`: k = `size`; the string sorted, one symbol a query.

    The floor `"length alone"` is what the commonest answer for a row's length and the answer's
    place reaches: all that can be had without reading a symbol.

    Attributes:
      language: one of the above.
      size: as above; None: the published one (63, 63, 9 and 10 symbols for the last four, else 5).
      train_length: strings have 1 to this number of symbols in training and in `"valid"`.
      test_lengths: least and greatest length in `"test"`, whose rows are in order of length.
      batch_size: sequences in a batch.
      evaluation_size: sequences in each held-out set.

    Raises:
      ValueError: the language is unknown, or a size or a length is out of range.

    Source: arXiv 2207.02098, and the release of arXiv 2410.01201 for `"majority"`,
    `"majority_count"`, `"missing_duplicate"` and the numbers of symbols; `"missing_duplicate"` is
    another task in the former: a hole in two copies.

    >>> task = FormalLanguage("modular_arithmetic", train_length=7, batch_size=2)
    >>> batch = task.load(seed=0).train_batch(0)
    >>> print(batch.inputs)
    [[2 6 1 6 0 8 0 0]
     [4 7 4 5 3 7 3 8]]
    >>> print(batch.targets)
    [[-1 -1 -1 -1 -1  1 -1 -1]
     [-1 -1 -1 -1 -1 -1 -1  0]]
    >>> print(batch.mask.sum(-1))
    [6 8]
    """

    language: str = "parity"
    size: int | None = None
    train_length: int = 40
    test_lengths: tuple[int, int] = (41, 256)
    batch_size: int = 128
    evaluation_size: int = 2048

    def __post_init__(self):
        require_one_of("language", self.language, LANGUAGES)
        require_positive_int(train_length=self.train_length, batch_size=self.batch_size)
        require_positive_int(evaluation_size=self.evaluation_size)
        least, greatest = self.test_lengths
        if not 1 <= least <= greatest:
            raise ValueError(
                f"test_lengths is {self.test_lengths}; a least length of at least 1 and a "
                f"greatest one not below it are needed"
            )
        rules = LANGUAGES[self.language]
        if rules.odd and least == greatest and least % 2 == 0:
            raise ValueError(f"test_lengths is {self.test_lengths}; {self.language} needs odd ones")
        if self.size is not None:
            if rules.fixed and self.size != rules.size:
                raise ValueError(f"size is {self.size}; {self.language} has {rules.size} symbols")
            if self.size < 2:
                raise ValueError(f"size is {self.size}; at least 2 is needed")

    def load(self, seed: int) -> TaskData:
        rules = LANGUAGES[self.language]
        size = self.size or rules.size
        short, long = (1, self.train_length), self.test_lengths
        sample = functools.partial(sample_language, language=self.language, size=size)
        test = functools.partial(sample, lengths=long)
        return generated(
            self,
            seed,
            functools.partial(sample, lengths=short),
            test=test,
            loss="categorical",
            metrics=("accuracy", "nll"),
            out_features=rules.classes(size, max(short[1], long[1])),
            vocab_size=rules.symbols(size) + 1,
            baselines=lambda batches: {
                "majority class": majority_share(batches),
                "length alone": _length_alone(test, batches),
            },
        )


def sample_language(
    rng: np.random.Generator, batch_size: int, *, language: str, size: int, lengths: tuple[int, int]
) -> Batch:
    """Rows of `FormalLanguage`, their lengths uniform between the two of `lengths` and in order."""
    rules = LANGUAGES[language]
    allowed = np.arange(lengths[0], lengths[1] + 1)
    allowed = allowed[allowed % 2 == 1] if rules.odd else allowed
    text, length, answer = rules.draw(rng, np.sort(rng.choice(allowed, batch_size)), size)
    queries = (answer != IGNORE).sum(-1)
    step = np.arange(rules.steps(lengths[1]))
    mask = step < (length + queries)[:, None]
    asked = mask & (step >= length[:, None])
    inputs = np.zeros(mask.shape, np.int32)
    inputs[:, : text.shape[1]] = text
    inputs[~mask] = 0
    inputs[asked] = rules.symbols(size)
    targets = np.full(asked.shape, IGNORE, np.int32)
    targets[asked] = answer[answer != IGNORE]
    return Batch(inputs, targets, mask)


def _length_alone(sample: Sampler, test: list[Batch]) -> float:
    """Accuracy on `test` of the commonest answer, among other draws, for a length and a place."""

    def asked(batches):
        found = []
        for batch in batches:
            row, step = np.nonzero(scored(batch))
            place = batch.mask.sum(-1)[row] * batch.mask.shape[1] + step
            found.append((place, batch.targets[row, step]))
        return (np.concatenate(part) for part in zip(*found, strict=True))

    place, answer = asked(sample(generator(FIXED, k), 2048) for k in range(8))
    classes = answer.max() + 1
    pair, count = np.unique(place * classes + answer, return_counts=True)
    pair = pair[np.argsort(count, kind="stable")]
    test_place, test_answer = asked(test)
    guess = np.full(max(place.max(), test_place.max()) + 1, IGNORE)
    guess[pair // classes] = pair % classes  # the last written, the commonest, stays
    return float(np.mean(guess[test_place] == test_answer))
