"""Sentences as token ids: what a training fixes, and translations of new sentences."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.errors import DataError
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.decoding import Decoding
from rnnlab.tasks.pair_predictions import predicted_texts
from rnnlab.tasks.predictions import RUN_DATA, Outputs, Predictions, require_run_data
from rnnlab.tasks.readers.bitext import normalize_sentence, read_bitext
from rnnlab.tasks.readers.text import read_text
from rnnlab.tasks.reference.text_scores import bleu, chrf
from rnnlab.tasks.sequence_pairs import PairForm
from rnnlab.tasks.text_units import TextUnits

Test = Callable[[], tuple[Sequence[str], Sequence[Sequence[str]]]]

TABLES = (".tsv", ".zip")
"""Names of files that have translations next to the sentences."""


@dataclass(frozen=True)
class TranslationPreparation:
    """The vocabularies of a training on translations.

    Attributes:
      source_units, target_units: the tokens of both languages.
      form: of the batches.
      batch_size: sentences per batch.
      decoding: settings of the decoder.
      columns: of the source and the target in a file, from 0.
      test: returns the sentences of the training's own test part and their translations.
    """

    source_units: TextUnits
    target_units: TextUnits
    form: PairForm
    batch_size: int
    decoding: Decoding
    columns: tuple[int, int] = (0, 1)
    test: Test | None = field(default=None, repr=False, metadata=RUN_DATA)

    def texts(self, labels: np.ndarray, batch: Batch) -> list[str]:
        """Returns the sentence of each example of a batch, from a decoder's labels."""
        return self.target_units.decode_all(list(np.asarray(labels)))

    def encode_source(self, text: str) -> np.ndarray:
        """Returns the token ids of a sentence.

        Raises:
          DataError: it is empty.
        """
        ids = self.source_units.encode(normalize_sentence(text))
        if not len(ids):
            raise DataError("source must have >= 1 symbol, got none; write a sentence")
        return ids

    def source_symbols(self, ids: np.ndarray) -> Sequence[str]:
        """Returns the symbol of each token id of a sentence."""
        symbols = self.source_units.symbols
        return [symbols[k] for k in ids]

    def target_symbols(self, labels: np.ndarray) -> Sequence[str]:
        """Returns the symbol of each label of a translation, `"<end>"` for the end."""
        symbols = self.target_units.symbols
        return [symbols[k] for k in labels]

    def target_text(self, labels: np.ndarray) -> str:
        """Returns the translation of labels."""
        return self.target_units.decode(labels[labels >= 0])

    def predict(self, outputs: Outputs, source: Any, horizon: int | None) -> Predictions:
        """Returns the translation of each sentence.

        The columns are `source`, `predicted`, and `actual`, the translations where they are known,
        separated by a bar.

        Args:
          outputs: the label sequences of the model's decoder.
          source: None takes the test part of the training's text. A string has one sentence per
            line, a list has sentences, and a `Path` is a text file with one sentence per line, or a
            file of `TABLES` with translations as in the training.
          horizon: must be None.

        Raises:
          DataError: there is no sentence, or the file is not readable.
          ValueError: `horizon` is not None.
        """
        if horizon is not None:
            raise ValueError(f"horizon must be None for translations, got {horizon}; remove it")
        references: Sequence[Sequence[str]] | None = None
        if source is None:
            sentences, references = require_run_data(self.test)()
        elif isinstance(source, os.PathLike) and Path(source).suffix.lower() in TABLES:
            pairs = read_bitext(source, self.columns)
            sentences, references = [x for x, _ in pairs], [(y,) for _, y in pairs]
        else:
            sentences = [x for x in map(normalize_sentence, _sentences(source)) if x]
        if not sentences:
            raise DataError("source must have >= 1 sentence, got none; write one")
        ids = self.source_units.encode_all(sentences)
        predicted = predicted_texts(outputs, ids, self.form, self.batch_size, self.texts)
        columns = {"source": sentences, "predicted": predicted}
        summary = f"{len(sentences):,} sentences."
        if references is not None:
            columns["actual"] = [" | ".join(of) for of in references]
            scores = bleu(predicted, references), chrf(predicted, references)
            summary = f"{len(sentences):,} sentences; BLEU {scores[0]:.2f}, chrF {scores[1]:.2f}."
        return Predictions(
            "text", {name: np.array(x, object) for name, x in columns.items()}, summary
        )


def _sentences(source: str | os.PathLike | Iterable[str]) -> Iterable[str]:
    if isinstance(source, str):
        return source.split("\n")
    if isinstance(source, os.PathLike):
        return read_text(Path(source)).split("\n")
    return source
