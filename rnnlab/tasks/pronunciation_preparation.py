"""Words as token ids: what a training fixes, and predicted pronunciations of new words."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from rnnlab.errors import DataError
from rnnlab.losses.ctc import ctc_best_path
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.decoding import Decoding
from rnnlab.tasks.pair_predictions import predicted_texts
from rnnlab.tasks.predictions import RUN_DATA, Outputs, Predictions, require_run_data
from rnnlab.tasks.readers.pronunciations import Phones
from rnnlab.tasks.readers.text import read_text
from rnnlab.tasks.reference.text_scores import Pronunciations, phone_error, word_error
from rnnlab.tasks.sequence_pairs import PairForm

Test = Callable[[], tuple[Sequence[str], Sequence[Sequence[Phones]]]]


@dataclass(frozen=True)
class PronunciationPreparation:
    """The letters and the phones of a training on a dictionary.

    Attributes:
      letters: the letter of each token id of a word.
      symbols: the phone of each label; the first is the end or the blank.
      form: of the batches.
      batch_size: words per batch.
      decoding: settings of the decoder; None: labels follow from the outputs.
      test: returns the words of the training's own test part and their pronunciations.
    """

    letters: tuple[str, ...] = field(repr=False)
    symbols: tuple[str, ...] = field(repr=False)
    form: PairForm
    batch_size: int
    decoding: Decoding | None = None
    test: Test | None = field(default=None, repr=False, metadata=RUN_DATA)

    def phones(self, outputs: np.ndarray, batch: Batch) -> list[Phones]:
        """Returns the phones of each example, from a decoder's labels or from outputs of CTC."""
        if self.decoding is None:
            logits, mask = jnp.asarray(outputs, jnp.float32), jnp.asarray(batch.mask)
            outputs = np.asarray(ctc_best_path(logits, mask))
        return [tuple(self.symbols[k] for k in row[row > 0]) for row in np.asarray(outputs)]

    def encode(self, word: str) -> np.ndarray:
        """Returns the token ids of a word, (letters,) of int32.

        Raises:
          DataError: a letter is not one of the training.
        """
        numbers = {letter: k for k, letter in enumerate(self.letters)}
        unknown = [letter for letter in word if letter not in numbers]
        if unknown or not word:
            raise DataError(
                f"a word must consist of the {len(self.letters)} letters of the training, got "
                f"{unknown[0] if unknown else ''!r} in {word[:40]!r}; correct or remove it"
            )
        return np.array([numbers[letter] for letter in word], np.int32)

    def encode_source(self, text: str) -> np.ndarray:
        """Returns the token ids of the letters of a word, whatever their case."""
        return self.encode(text.strip().lower())

    def source_symbols(self, ids: np.ndarray) -> Sequence[str]:
        """Returns the letter of each token id."""
        return [self.letters[k] for k in ids]

    def target_symbols(self, labels: np.ndarray) -> Sequence[str]:
        """Returns the phone of each label, `"<end>"` for the end."""
        return [self.symbols[k] for k in labels]

    def target_text(self, labels: np.ndarray) -> str:
        """Returns the phones of labels, separated by spaces."""
        return " ".join(self.symbols[k] for k in labels if k > 0)

    def predict(self, outputs: Outputs, source: Any, horizon: int | None) -> Predictions:
        """Returns the predicted pronunciation of each word.

        The columns are `word`, `predicted`, the phones, and `actual`, all pronunciations where they
        are known, separated by a bar.

        Args:
          outputs: the model; of one with a decoder, its label sequences.
          source: None takes the test part of the training's dictionary. A string has words
            separated by white space, a list has words, and a `Path` is a file with them.
          horizon: must be None.

        Raises:
          DataError: there is no word, or a word has a letter that the training lacks.
          ValueError: `horizon` is not None.
        """
        if horizon is not None:
            raise ValueError(f"horizon must be None for pronunciations, got {horizon}; remove it")
        choices: Sequence[Sequence[Phones]] | None = None
        if source is None:
            words, choices = require_run_data(self.test)()
        else:
            words = [word.lower() for word in _words(source)]
            if not words:
                raise DataError("source must have >= 1 word, got none; write one")
        predicted = predicted_texts(
            outputs, list(map(self.encode, words)), self.form, self.batch_size, self.phones
        )
        columns = {"word": words, "predicted": list(map(" ".join, predicted))}
        summary = f"{len(words):,} words."
        if choices is not None:
            columns["actual"] = [" | ".join(map(" ".join, of)) for of in choices]
            references = [Pronunciations(tuple(of)) for of in choices]
            errors = word_error(predicted, references), phone_error(predicted, references)
            summary = (
                f"{len(words):,} words; word error {errors[0]:.4f}, phone error {errors[1]:.4f}."
            )
        return Predictions(
            "text", {name: np.array(x, object) for name, x in columns.items()}, summary
        )


def _words(source: str | os.PathLike | Iterable[str]) -> list[str]:
    if isinstance(source, str):
        return source.split()
    if isinstance(source, os.PathLike):
        return read_text(Path(source)).split()
    return list(source)
