"""From sentences of one language to sentences of another."""

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np

from rnnlab.datasets import dataset_files
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.data import RngStream, TaskData, rng_for
from rnnlab.tasks.decoding import Decoding
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.readers.bitext import read_bitext
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.reference import text_scores
from rnnlab.tasks.reference.translation_baselines import copied_and_nearest
from rnnlab.tasks.sequence_pairs import END, PairForm, SequencePairs, with_common_bounds
from rnnlab.tasks.text_units import BEGIN, TextUnits, Units
from rnnlab.tasks.translation_preparation import TranslationPreparation
from rnnlab.validation import require_one_of, require_positive_int

VALID_SENTENCES, TEST_SENTENCES = 1000, 2000
"""Source sentences of the validation and of the test part, each at most a tenth of all."""

METRICS = ("bleu", "chrf")

DATA_SET = "tatoeba-fra"


@dataclass(frozen=True)
class Translation:
    """Translate sentences.

    The default is English to French of Tatoeba (CC BY 2.0 FR, by the contributors of tatoeba.org
    and manythings.org/anki), which `rnnlab data get tatoeba-fra` gets; `path` names another
    parallel text. A source sentence is in one part with all its translations. Training draws one
    of them per update; in BLEU and chrF all of them are references. Both are computed by sacrebleu
    on whole sentences that are not tokenized, and the result has its signatures.

    Baselines are the sentence itself, and the translation of the nearest training sentence by the
    TF-IDF weights of words and word pairs.

    Attributes:
      path: a text file with a source sentence, a tab and a target sentence per line, which may be
        in a zip file; or a folder with the files of tatoeba-fra. None is the data folder.
      columns: of the source and the target in a line, from 0; `1 0` translates the other way.
      units: tokens of sentences: `"bpe"`, byte pairs that are learned in the training part, or
        `"characters"`.
      vocab_size: token ids of byte pairs, at most, in each language.
      max_words: words of the longest sentence that is kept, in both languages.
      sentences: source sentences of the training part, drawn once; None: all.
      batch_size: sentences per batch.
      beam: hypotheses that the decoder keeps; 1 is greedy decoding.
      length_penalty: exponent of the length normalization of hypotheses.

    Raises:
      ValueError: a setting is out of range, or a package of the extra `sequences` is missing.
      DataError: the file is missing or not readable.
    """

    path: Path | None = None
    columns: tuple[int, int] = (0, 1)
    units: Units = "bpe"
    vocab_size: int = 2000
    max_words: int = 8
    sentences: int | None = None
    batch_size: int = 64
    beam: int = 1
    length_penalty: float = 0.0

    def __post_init__(self) -> None:
        require_positive_int(
            vocab_size=self.vocab_size,
            max_words=self.max_words,
            batch_size=self.batch_size,
            beam=self.beam,
        )
        if self.sentences is not None:
            require_positive_int(sentences=self.sentences)
        require_one_of("units", self.units, get_args(Units))

    def load(self, seed: int) -> TaskData:
        """Reads the sentences. `seed` orders the batches and draws the translations."""
        key = (self._file(), tuple(self.columns), self.max_words, self.sentences)
        read, encoded = _read(*key), _encode(*key, self.units, self.vocab_size)
        train = encoded.parts["train"]
        decoding = Decoding(train.longest_target, BEGIN, END, self.beam, self.length_penalty)
        preparation = TranslationPreparation(
            source_units=encoded.source,
            target_units=encoded.target,
            form=train.form,
            batch_size=self.batch_size,
            decoding=decoding,
            columns=tuple(self.columns),
            test=functools.partial(_test_sentences, *key),
        )
        valid, test = (_references(read.parts[name]) for name in ("valid", "test"))
        eval_sets = {
            "valid": functools.partial(_numbered, encoded.parts["valid"], self.batch_size, 0),
            "test": functools.partial(
                _numbered, encoded.parts["test"], self.batch_size, len(valid)
            ),
        }
        symbols = encoded.target.symbols
        return TaskData(
            loss="categorical",
            metrics=METRICS,
            out_features=len(symbols),
            train_batch=train.training_batches(self.batch_size, seed),
            eval_sets=eval_sets,
            baselines=functools.partial(_baselines, *key),
            vocab_size=len(symbols),
            source_vocab_size=len(encoded.source.symbols),
            autoregressive=True,
            vocabulary=symbols,
            decode=functools.partial(_decode, preparation, [*valid, *test]),
            decoding=decoding,
            fingerprint=fingerprint(*(part.digest() for part in encoded.parts.values())),
            preparation=preparation,
            notes=(_describe(read),),
            signatures=text_scores.signatures(test),
        )

    def _file(self) -> Path:
        if self.path is not None and not Path(self.path).is_dir():
            return Path(self.path)
        return dataset_files(DATA_SET, self.path)["fra-eng.zip"]


Sentences = tuple[tuple[str, tuple[str, ...]], ...]
"""Sentences with all their translations."""


class Parts(NamedTuple):
    """Sentences in parts.

    Attributes:
      parts: the training, validation and test part.
      omitted: number of source sentences that are too long, or have only translations that are.
    """

    parts: Mapping[str, Sentences]
    omitted: int


class Encoded(NamedTuple):
    """The token ids of all parts, and the vocabularies."""

    parts: Mapping[str, SequencePairs]
    source: TextUnits
    target: TextUnits


@functools.lru_cache(maxsize=2)
def _read(path: Path, columns: tuple[int, int], max_words: int, sentences: int | None) -> Parts:
    translations: dict[str, dict[str, None]] = {}
    for source, target in read_bitext(path, columns):
        translations.setdefault(source, {})[target] = None
    kept = []
    for source, targets in translations.items():
        short = tuple(x for x in targets if count_words(x) <= max_words)
        if short and count_words(source) <= max_words:
            kept.append((source, short))
    valid, test = (min(size, len(kept) // 10) for size in (VALID_SENTENCES, TEST_SENTENCES))
    if not valid:
        reason = f"must have >= 10 sentences of at most {max_words} words, got {len(kept)}"
        raise data_error(path, f"{reason}; add sentences or raise max_words")
    order = rng_for(RngStream.FIXED, len(kept)).permutation(len(kept))
    pieces = np.split(order, [test, test + valid])
    chosen = {"train": pieces[2][:sentences], "valid": pieces[1], "test": pieces[0]}
    parts = {name: tuple(kept[k] for k in np.sort(part)) for name, part in chosen.items()}
    return Parts(parts, len(translations) - len(kept))


def count_words(sentence: str) -> int:
    """Returns the number of words; punctuation between spaces, as in French, is not a word.

    >>> count_words("Ça alors !")
    2
    """
    return sum(any(map(str.isalnum, word)) for word in sentence.split())


@functools.lru_cache(maxsize=2)
def _encode(
    path: Path,
    columns: tuple[int, int],
    max_words: int,
    sentences: int | None,
    units: Units,
    vocab_size: int,
) -> Encoded:
    parts = _read(path, columns, max_words, sentences).parts
    train = parts["train"]
    source = TextUnits.learn([text for text, _ in train], units, vocab_size)
    target = TextUnits.learn([x for _, of in train for x in of], units, vocab_size)
    pairs = {name: _pairs(part, source, target) for name, part in parts.items()}
    return Encoded(with_common_bounds(pairs), source, target)


def _pairs(part: Sentences, source: TextUnits, target: TextUnits) -> SequencePairs:
    ids = iter(target.encode_all([x for _, of in part for x in of]))
    choices = [[next(ids) for _ in of] for _, of in part]
    return SequencePairs(
        source.encode_all([text for text, _ in part]), choices, PairForm(begin=BEGIN)
    )


def _numbered(pairs: SequencePairs, batch_size: int, first: int) -> Iterator[Batch]:
    """The batches of an evaluation set, whose examples are numbered from `first` on."""
    for batch in pairs.eval_batches(batch_size):
        numbers = np.where(batch.example >= 0, batch.example + first, -1)
        yield batch._replace(example=numbers.astype(np.int32))


def _decode(
    preparation: TranslationPreparation,
    references: Sequence[Sequence[str]],
    labels: np.ndarray,
    batch: Batch,
) -> Iterable[tuple[str, Sequence[str]]]:
    texts = preparation.texts(labels, batch)
    return [(x, references[k]) for x, k in zip(texts, batch.example, strict=True) if k >= 0]


def _references(part: Sentences) -> list[tuple[str, ...]]:
    return [translations for _, translations in part]


def _test_sentences(*key: Any) -> tuple[list[str], list[tuple[str, ...]]]:
    """The sentences of the test part and their translations."""
    part = _read(*key).parts["test"]
    return [text for text, _ in part], _references(part)


@functools.lru_cache(maxsize=2)
def _baselines(*key: Any) -> Mapping[str, Mapping[str, float]]:
    """The scores of translations without a model on the test part, once per process."""
    parts = _read(*key).parts
    train = [(text, x) for text, of in parts["train"] for x in of[:1]]
    texts, references = _test_sentences(*key)
    return {
        name: {metric: text_scores.SCORES[metric][0](found, references) for metric in METRICS}
        for name, found in copied_and_nearest(train, texts).items()
    }


def _describe(read: Parts) -> str:
    sizes = ", ".join(f"{len(part):,}" for part in read.parts.values())
    test = read.parts["test"]
    known = {x for _, of in read.parts["train"] for x in of}
    shared = np.mean([any(x in known for x in of) for _, of in test])
    per_sentence = np.mean([len(of) for _, of in test])
    return (
        f"{sizes} sentences for training, validation and test, {read.omitted:,} longer ones are "
        f"omitted; a test sentence has {per_sentence:.2f} translations on average, and {shared:.0%}"
        " of the test sentences have one that is also of another sentence in training"
    )
