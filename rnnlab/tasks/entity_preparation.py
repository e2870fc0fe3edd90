"""Words as ids of words and characters, and tags as classes: what a training on entities fixes."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.errors import DataError
from rnnlab.heads import LinearChain
from rnnlab.tasks.batch import IGNORE_INDEX, Batch
from rnnlab.tasks.batching.padding import pad, split_batches
from rnnlab.tasks.predictions import RUN_DATA, Outputs, Predictions, require_run_data, with_summary
from rnnlab.tasks.readers.iob2 import Sentence, read_sentences, split_words
from rnnlab.tasks.reference.entity_scores import entity_f1
from rnnlab.tasks.tag_schemes import OUTSIDE

UNKNOWN, PADDING = 0, 0
"""The id of a word, and of a character, that is not there."""

UNSEEN = 1
"""The id of a character that the training part lacks."""


@dataclass(frozen=True)
class EntityPreparation:
    """The words, characters and tags of a training part, and how tags follow from outputs.

    Attributes:
      words: known words in lower case, by their id less 1; id 0 is any other word.
      characters: known characters, by their id less 2; id 0 is padding, 1 any other character.
      tags: the name of each tag; the first one is O.
      word_length: characters of a word that are read. Of a longer word the first and the last ones
        are.
      batch_size: sentences per batch.
      chain: the chain that decodes the tags.
      has_pair_scores: whether outputs are scores of pairs of tags; else of single tags.
      test: the sentences of the test part of the training's own data.
    """

    words: tuple[str, ...] = field(repr=False)
    characters: tuple[str, ...] = field(repr=False)
    tags: tuple[str, ...]
    word_length: int
    batch_size: int
    chain: LinearChain
    has_pair_scores: bool
    test: Callable[[], Sequence[Sentence]] | None = field(
        default=None, repr=False, metadata=RUN_DATA
    )

    @property
    def sizes(self) -> tuple[int, int]:
        """Numbers of ids of words and of characters."""
        return 1 + len(self.words), 2 + len(self.characters)

    def encode(self, sentences: Sequence[Sentence]) -> Batch:
        """Returns sentences as one batch; a tag that the training part lacks is not scored.

        Args:
          sentences: at least one word each.
        """
        words = {word: k for k, word in enumerate(self.words, UNKNOWN + 1)}
        characters = {c: k for k, c in enumerate(self.characters, UNSEEN + 1)}
        tags = {tag: k for k, tag in enumerate(self.tags)}
        known: dict[str, np.ndarray] = {}

        def ids(word: str) -> np.ndarray:
            if word not in known:
                row = np.zeros(1 + self.word_length, np.int32)
                row[0] = words.get(word.lower(), UNKNOWN)
                read = shortened(word, self.word_length)
                row[1 : 1 + len(read)] = [characters.get(c, UNSEEN) for c in read]
                known[word] = row
            return known[word]

        inputs, mask = pad([np.stack([ids(word) for word in x.words]) for x in sentences])
        targets = [
            np.array(
                [tags.get(tag, IGNORE_INDEX) for tag in x.tags or [None] * len(x.words)], np.int32
            )
            for x in sentences
        ]
        targets, _ = pad(targets, value=IGNORE_INDEX)
        return Batch(inputs, targets, mask, example=np.arange(len(sentences), dtype=np.int32))

    def tags_of(self, outputs: np.ndarray, mask: np.ndarray) -> list[tuple[str, ...]]:
        """Returns the tags of each example that is not only padding, by the outputs of a model."""
        decoded = self.chain.decode(self.pair_scores(outputs), mask)
        return [
            tuple(self.tags[k] for k in row[flags])
            for row, flags in zip(decoded, mask, strict=True)
            if flags.any()
        ]

    def pair_scores(self, outputs: np.ndarray) -> np.ndarray:
        """Returns the scores of pairs of tags: those of single tags do not depend on the first."""
        return outputs if self.has_pair_scores else np.tile(outputs, len(self.tags))

    def predict(self, outputs: Outputs, source: Any, horizon: int | None) -> Predictions:
        """Returns the tag of every word, and its probability under the chain.

        The columns are `sentence` and `word_number` from 0, `word`, `predicted`, `probability`,
        `actual`, which is empty where it is unknown, and the probability of each tag.

        Args:
          outputs: the model.
          source: None takes the test part of the training's data. A `Path` is a plain text
            (`.txt`) with one sentence per line, or a file with one word per line, see
            `rnnlab.tasks.readers.iob2`. A string is a text; a list has the words of each sentence.
          horizon: must be None.

        Raises:
          DataError: there is no word, or a file is not readable.
          ValueError: `horizon` is not None.
        """
        if horizon is not None:
            raise ValueError(f"horizon must be None for words, got {horizon}; remove it")
        sentences = self._read(source)
        found: list[tuple[str, ...]] = []
        probabilities = []
        for batch in split_batches(self.encode(sentences), min(self.batch_size, len(sentences))):
            scores = np.asarray(outputs(batch))
            found += self.tags_of(scores, batch.mask)
            pairs = self.pair_scores(scores).astype(np.float32)
            probabilities.append(
                np.asarray(self.chain.probabilities(pairs, batch.mask))[batch.mask]
            )
        p = np.concatenate(probabilities).astype(np.float64)
        predicted = [tag for tags in found for tag in tags]
        numbers = {tag: k for k, tag in enumerate(self.tags)}
        chosen = np.array([numbers[tag] for tag in predicted])
        columns = {
            "sentence": np.repeat(np.arange(len(sentences)), [len(x.words) for x in sentences]),
            "word_number": np.concatenate([np.arange(len(x.words)) for x in sentences]),
            "word": np.array([word for x in sentences for word in x.words], object),
            "predicted": np.array(predicted),
            "probability": np.take_along_axis(p, chosen[:, None], 1)[:, 0],
            "actual": np.array([tag for x in sentences for tag in x.tags or [""] * len(x.words)]),
        } | {f"p({tag})": p[:, k] for k, tag in enumerate(self.tags)}
        predictions = with_summary(Predictions("class", columns))
        labelled = [k for k, x in enumerate(sentences) if x.tags is not None]
        if not labelled:
            return predictions
        f1 = entity_f1([found[k] for k in labelled], [sentences[k].tags for k in labelled])
        return dataclasses.replace(
            predictions, summary=f"{predictions.summary} F1 of entities: {f1:.4f}."
        )

    def _read(self, source: Any) -> Sequence[Sentence]:
        if source is None:
            return require_run_data(self.test)()
        if isinstance(source, Path):
            return read_sentences(source)
        sentences = (
            split_words(source)
            if isinstance(source, str)
            else [Sentence(tuple(words), None) for words in source]
        )
        if not sentences or not all(x.words for x in sentences):
            raise DataError("source must have a word per sentence, got none; add one or remove it")
        return sentences


def prepare_entities(
    sentences: Sequence[Sentence],
    *,
    word_length: int,
    batch_size: int,
    chain: Callable[[tuple[str, ...]], LinearChain],
    has_pair_scores: bool,
) -> EntityPreparation:
    """Returns the preparation that follows from the sentences of a training part.

    Args:
      sentences: with tags.
      word_length, batch_size, has_pair_scores: see `EntityPreparation`.
      chain: returns the chain of the tags.
    """
    words = sorted({word.lower() for x in sentences for word in x.words})
    characters = sorted({c for x in sentences for word in x.words for c in word})
    tags = (OUTSIDE, *sorted({tag for x in sentences for tag in x.tags} - {OUTSIDE}))
    return EntityPreparation(
        tuple(words), tuple(characters), tags, word_length, batch_size, chain(tags), has_pair_scores
    )


def shortened(word: str, length: int) -> str:
    """Returns a word, or its first and last characters if it is longer than `length`.

    >>> shortened("grundtvigianske", 6)
    'gruske'
    """
    if len(word) <= length:
        return word
    last = length // 2
    return word[: length - last] + word[len(word) - last :]


def word_counts(preparation: EntityPreparation, sentences: Iterable[Sentence]) -> np.ndarray:
    """Returns how often each word id occurs, (number of word ids,)."""
    counts = Counter(word.lower() for x in sentences for word in x.words)
    return np.array([0, *(counts[word] for word in preparation.words)])


def word_pairs(
    preparation: EntityPreparation, sentences: Sequence[Sentence], outputs: np.ndarray, batch: Batch
) -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Yields the predicted and the actual tags of each example of a batch."""
    real = batch.example[batch.mask.any(axis=1)]
    for tags, number in zip(preparation.tags_of(outputs, batch.mask), real, strict=True):
        yield tags, sentences[number].tags
