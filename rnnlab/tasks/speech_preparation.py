"""The alphabet and features that a training on speech fixes; transcripts of new recordings."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.audio import FrontEnd
from rnnlab.tasks.alphabet import Alphabet
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.predictions import RUN_DATA, Outputs, Predictions, require_run_data
from rnnlab.tasks.recordings import recording_batches
from rnnlab.tasks.speech_features import SpeechFeatures


@dataclass(frozen=True, eq=False)
class SpeechPreparation:
    """The alphabet, the features and the front end of a trained recognizer.

    Attributes:
      alphabet: the symbols of the training texts.
      features: makes inputs from frames.
      front_end: makes frames from recordings; None where the data have frames only, as AN4.
      test: the batches of the training's own test part.
      texts: the transcript of each utterance, by its number in the batches.
    """

    alphabet: Alphabet
    features: SpeechFeatures
    front_end: FrontEnd | None
    test: Callable[[], Iterable[Batch]] | None = field(default=None, repr=False, metadata=RUN_DATA)
    texts: tuple[str, ...] | None = field(default=None, repr=False, metadata=RUN_DATA)

    def predict(self, outputs: Outputs, source: Any, horizon: int | None) -> Predictions:
        """Returns a transcript of each utterance.

        Args:
          outputs: the model: logits, which are decoded greedily, or labels that it generates.
          source: a WAV file, or a folder of them; None: the test part.
          horizon: None.

        Raises:
          DataError: a file cannot be read.
          ValueError: there is a horizon, or the training data were frames of AN4.
        """
        if horizon is not None:
            raise ValueError(f"horizon must be None for speech, got {horizon}; omit it")
        if source is None:
            require_run_data(self.test)
            return self._of_test(outputs)
        names, texts = [], []
        for file, batch in recording_batches(Path(source), self.features, self.front_end):
            names.append(file.name)
            texts.append(_text(self.alphabet, outputs(batch)[0], int(batch.mask.sum())))
        columns = {"file": np.array(names), "predicted": np.array(texts)}
        return Predictions("text", columns, f"{len(texts)} transcripts.")

    def _of_test(self, outputs: Outputs) -> Predictions:
        predicted, actual = [], []
        for batch in self.test():
            for text, reference in decoded(self.alphabet, self.texts, outputs(batch), batch):
                predicted.append(text)
                actual.append(reference)
        columns = {
            "example": np.arange(len(actual)),
            "predicted": np.array(predicted),
            "actual": np.array(actual),
        }
        right = sum(a == b for a, b in zip(predicted, actual, strict=True))
        return Predictions("text", columns, f"{right} of {len(actual)} transcripts are right.")


def decoded(
    alphabet: Alphabet, texts: tuple[str, ...], outputs: np.ndarray, batch: Batch
) -> list[tuple[str, str]]:
    """Returns the transcript and the text of each utterance of a batch.

    Args:
      alphabet: of the labels.
      texts: of all utterances, by `batch.example`.
      outputs: logits (batch, time, classes); or labels (batch, label_time) that a decoder made.
      batch: the utterances; those of padding are omitted.
    """
    return [
        (_text(alphabet, np.asarray(outputs[k]), int(batch.mask[k].sum())), texts[batch.example[k]])
        for k in np.flatnonzero(batch.example >= 0)
    ]


def _text(alphabet: Alphabet, outputs: np.ndarray, steps: int) -> str:
    """The text of logits (time, classes), of which `steps` are no padding, or of labels."""
    return alphabet.text(outputs) if outputs.ndim == 1 else alphabet.best_path(outputs[:steps])
