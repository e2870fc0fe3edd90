"""The alphabet and features that a training on speech fixes; transcripts of new recordings."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.audio import FrontEnd
from rnnlab.tasks.alphabet import Alphabet
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.batching.padding import pad
from rnnlab.tasks.predictions import RUN_DATA, Outputs, Predictions, require_run_data
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.utterances import features_of
from rnnlab.tasks.readers.wav import read_wav
from rnnlab.tasks.speech_features import SpeechFeatures

LENGTH_STEP = 64
"""Time steps to whose multiples a recording is padded."""


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

    def inputs(self, path: Path) -> np.ndarray:
        """Returns the inputs of a WAV file, (steps, features) float32.

        Raises:
          DataError: it cannot be read, or has another rate than the training data.
          ValueError: the training data were frames, not recordings.
        """
        if self.front_end is None:
            raise ValueError(
                "new recordings need a model of recordings, but this one was trained on the frames "
                "of AN4; train with --data.path"
            )
        wav = read_wav(path)
        return self.features(features_of(wav.mono(), wav.rate, self.front_end, path))

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
        files = _wav_files(Path(source))
        texts = []
        for file in files:
            inputs = self.inputs(file)
            # One compiled program serves files of similar length.
            inputs, mask = pad([inputs], -(-len(inputs) // LENGTH_STEP) * LENGTH_STEP)
            made = np.asarray(outputs(Batch(inputs, None, mask)))[0]
            texts.append(_text(self.alphabet, made, int(mask.sum())))
        columns = {"file": np.array([x.name for x in files]), "predicted": np.array(texts)}
        return Predictions("text", columns, f"{len(files)} transcripts.")

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


def _wav_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(x for x in path.iterdir() if x.suffix.lower() == ".wav")
    if not files:
        raise data_error(path, "must have a WAV file, got none; give another folder")
    return files
