"""Formal languages: questions about strings that are longer than the training strings."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.batch import IGNORE_INDEX, Batch, loss_mask
from rnnlab.tasks.data import RngStream, TaskData, rng_for
from rnnlab.tasks.generated_data import Sampler, generated_data, majority_accuracy
from rnnlab.validation import require_one_of, require_positive_int


class StringBatch(NamedTuple):
    """Strings, their lengths and the answers about them.

    Attributes:
      text: (batch, time) symbols; those beyond the length of a string are arbitrary.
      length: (batch,) of int.
      answer: (batch, answers) classes, `IGNORE_INDEX` after the last answer of a string.
    """

    text: np.ndarray
    length: np.ndarray
    answer: np.ndarray


class LanguageSpec(NamedTuple):
    """A generator of the strings of a language and their answers.

    Attributes:
      sample: returns strings for a generator, lengths (batch,) and a size.
      size: the published number of symbols, positions or residues.
      num_symbols: number of symbols for a size.
      num_classes: number of classes for a size and the greatest length.
      max_steps: greatest number of time steps, queries included, for the greatest length.
      fixed_size: whether no other size is defined.
      odd_lengths: whether lengths must be odd.
    """

    sample: Callable[[np.random.Generator, np.ndarray, int], StringBatch]
    size: int
    num_symbols: Callable[[int], int] = lambda size: size
    num_classes: Callable[[int, int], int] = lambda size, longest: size
    max_steps: Callable[[int], int] = lambda longest: longest + 1
    fixed_size: bool = False
    odd_lengths: bool = False


def _uniform_text(rng, length, size):
    """Returns uniform symbols (batch, time), and which of them are within the lengths."""
    text = rng.integers(0, size, (len(length), length.max()))
    return text, np.arange(length.max()) < length[:, None]


def _even_pairs(rng, length, size):
    text, _ = _uniform_text(rng, length, size)
    last = text[np.arange(len(text)), length - 1]
    return StringBatch(text, length, (text[:, :1] != last[:, None]).astype(int))


def _parity(rng, length, size):
    text, real = _uniform_text(rng, length, size)
    return StringBatch(text, length, (text * real).sum(-1, keepdims=True) % 2)


def _cycle_navigation(rng, length, size):
    text, real = _uniform_text(rng, length, 3)
    return StringBatch(text, length, ((text - 1) * real).sum(-1, keepdims=True) % size)


def _counts(text, real, size):
    """Returns how often each symbol occurs in each string: (batch, size)."""
    cell = np.arange(len(text))[:, None] * size + text
    return np.bincount(cell[real], minlength=len(text) * size).reshape(-1, size)


def _majority(rng, length, size):
    text, real = _uniform_text(rng, length, size)
    backwards = _counts(text, real, size)[:, ::-1]
    return StringBatch(text, length, size - 1 - backwards.argmax(-1)[:, None])


def _majority_count(rng, length, size):
    text, real = _uniform_text(rng, length, size)
    return StringBatch(text, length, _counts(text, real, size).max(-1, keepdims=True))


def _modular_arithmetic(rng, length, modulus):
    text = rng.integers(0, modulus, (len(length), length.max()))
    text[:, 1::2] = rng.integers(modulus, modulus + 3, text[:, 1::2].shape)
    # The value is `total + term`, where `term` is the last summand, which takes further factors.
    total, term = np.zeros(len(text), int), text[:, 0].copy()
    for step in range(1, length.max(), 2):
        operator, number = text[:, step] - modulus, text[:, step + 1]
        times = operator == 2
        new_total = np.where(times, total, total + term)
        new_term = np.where(times, term * number, np.where(operator == 1, -number, number))
        real = step < length
        total = np.where(real, new_total, total) % modulus
        term = np.where(real, new_term, term) % modulus
    return StringBatch(text, length, ((total + term) % modulus)[:, None])


def _missing_duplicate(rng, length, size):
    word, _ = _uniform_text(rng, length, size)
    kept = rng.integers(0, length)
    answer = np.take_along_axis(word, kept[:, None], -1)
    steps = np.arange(2 * length.max())
    again = steps - length[:, None] * (steps >= length[:, None])
    text = np.take_along_axis(word, np.minimum(again, word.shape[1] - 1), -1)
    return StringBatch(text, length + kept, answer)


def _bucket_sort(rng, length, size):
    text, real = _uniform_text(rng, length, size)
    answer = np.sort(np.where(real, text, size), -1)
    return StringBatch(text, length, np.where(real, answer, IGNORE_INDEX))


LANGUAGES = {
    "even_pairs": LanguageSpec(_even_pairs, 2, fixed_size=True),
    "parity": LanguageSpec(_parity, 2, fixed_size=True),
    "majority": LanguageSpec(_majority, 63),
    "majority_count": LanguageSpec(
        _majority_count, 63, num_classes=lambda size, longest: longest + 1
    ),
    "cycle_navigation": LanguageSpec(_cycle_navigation, 5, num_symbols=lambda size: 3),
    "modular_arithmetic": LanguageSpec(
        _modular_arithmetic, 5, num_symbols=lambda modulus: modulus + 3, odd_lengths=True
    ),
    "missing_duplicate": LanguageSpec(_missing_duplicate, 9, max_steps=lambda longest: 2 * longest),
    "bucket_sort": LanguageSpec(_bucket_sort, 10, max_steps=lambda longest: 2 * longest),
}
"""The languages of `FormalLanguage` by name."""


@dataclass(frozen=True)
class FormalLanguage:
    """Answer a question about a string, trained on short strings and tested on longer ones.

    An example is the string, then one query symbol, the last id of the vocabulary, per answer. Only
    the answers are scored. The symbols 0 to k - 1 are uniform and independent:

    - `"even_pairs"`: k = 2; 0 if the first symbol equals the last one, that is if the number of
      unequal neighbours is even, else 1.
    - `"parity"`: k = 2; the sum of the symbols, modulo 2.
    - `"cycle_navigation"`: moves left, none and right (0, 1, 2) on a circle of `size` positions,
      from 0; the final position.
    - `"modular_arithmetic"`: numbers below `size` and operators between them (`size` +, `size + 1`
      -, `size + 2` *); the value modulo `size`, products first. Lengths are odd.
    - `"majority"`: k = `size`; the most common symbol, the greatest of equally common ones.
    - `"majority_count"`: k = `size`; how often the most common symbol occurs. Longer strings have
      counts that do not occur in training.
    - `"missing_duplicate"`: k = `size`; the string followed by a prefix of it of uniform length;
      the next symbol. Nothing marks the start of the prefix, so that after a short prefix even the
      best guess can be wrong.
    - `"bucket_sort"`: k = `size`; the sorted string, one symbol per query.

    Baselines: `"majority class"` is the most common answer; `"most common per length"` is the most
    common answer given the length and the index of the answer, the best prediction that reads no
    symbol.

    Attributes:
      language: one of the above.
      size: as above; None: the published one (63, 63, 9 and 10 symbols for the last four, else 5).
      train_length: greatest length of strings in training and in `"valid"`; the least is 1.
      test_lengths: least and greatest length in `"test"`, whose examples are in order of length.
      batch_size: examples per batch.
      evaluation_size: examples in each evaluation set.

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
                f"test_lengths must be a least length >= 1 and a greatest length >= it, got "
                f"{self.test_lengths}; use (41, 256)"
            )
        spec = LANGUAGES[self.language]
        if spec.odd_lengths and least == greatest and least % 2 == 0:
            raise ValueError(
                f"test_lengths must include an odd length for {self.language}, got "
                f"{self.test_lengths}; raise the greatest"
            )
        if self.size is not None:
            if spec.fixed_size and self.size != spec.size:
                raise ValueError(
                    f"size must be {spec.size} for {self.language}, got {self.size}; omit it"
                )
            if self.size < 2:
                raise ValueError(f"size must be >= 2, got {self.size}; raise it")

    def load(self, seed: int) -> TaskData:
        spec = LANGUAGES[self.language]
        size = self.size or spec.size
        short, long = (1, self.train_length), self.test_lengths
        sample = functools.partial(sample_language, language=self.language, size=size)
        test = functools.partial(sample, lengths=long)
        return generated_data(
            self,
            seed,
            functools.partial(sample, lengths=short),
            test=test,
            loss="categorical",
            metrics=("accuracy", "nll"),
            out_features=spec.num_classes(size, max(short[1], long[1])),
            vocab_size=spec.num_symbols(size) + 1,
            baselines=lambda batches: {
                "majority class": majority_accuracy(batches),
                "most common per length": _most_common_per_length(test, batches),
            },
        )


def sample_language(
    rng: np.random.Generator, batch_size: int, *, language: str, size: int, lengths: tuple[int, int]
) -> Batch:
    """Returns examples of `FormalLanguage` in order of length, uniform within `lengths`."""
    spec = LANGUAGES[language]
    allowed = np.arange(lengths[0], lengths[1] + 1)
    allowed = allowed[allowed % 2 == 1] if spec.odd_lengths else allowed
    text, length, answer = spec.sample(rng, np.sort(rng.choice(allowed, batch_size)), size)
    queries = (answer != IGNORE_INDEX).sum(-1)
    step = np.arange(spec.max_steps(lengths[1]))
    mask = step < (length + queries)[:, None]
    asked = mask & (step >= length[:, None])
    inputs = np.zeros(mask.shape, np.int32)
    inputs[:, : text.shape[1]] = text
    inputs[~mask] = 0
    inputs[asked] = spec.num_symbols(size)
    targets = np.full(asked.shape, IGNORE_INDEX, np.int32)
    targets[asked] = answer[answer != IGNORE_INDEX]
    return Batch(inputs, targets, mask)


def _most_common_per_length(sample: Sampler, test: list[Batch]) -> float:
    """Accuracy on `test` of the most common answer in other draws, by length and answer index."""

    def answers(batches):
        found = []
        for batch in batches:
            example, step = np.nonzero(loss_mask(batch))
            # One number per pair of length and time step.
            query = batch.mask.sum(-1)[example] * batch.mask.shape[1] + step
            found.append((query, batch.targets[example, step]))
        return (np.concatenate(part) for part in zip(*found, strict=True))

    query, answer = answers(sample(rng_for(RngStream.FIXED, k), 2048) for k in range(8))
    classes = answer.max() + 1
    pair, count = np.unique(query * classes + answer, return_counts=True)
    pair = pair[np.argsort(count, kind="stable")]
    test_query, test_answer = answers(test)
    guess = np.full(max(query.max(), test_query.max()) + 1, IGNORE_INDEX)
    guess[pair // classes] = pair % classes  # the last value written, the most common, stays
    return float(np.mean(guess[test_query] == test_answer))
