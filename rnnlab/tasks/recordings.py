"""New recordings as batches for a model that was trained on recordings."""

from collections.abc import Iterator
from pathlib import Path

from rnnlab.audio import FrontEnd
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.batching.padding import pad
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.utterances import features_of
from rnnlab.tasks.readers.wav import read_wav
from rnnlab.tasks.speech_features import SpeechFeatures

LENGTH_STEP = 64
"""Time steps to whose multiples a recording is padded."""


def recording_batches(
    source: Path, features: SpeechFeatures, front_end: FrontEnd | None
) -> Iterator[tuple[Path, Batch]]:
    """Yields each recording with a batch of it only, without targets.

    Args:
      source: a WAV file, or a folder of them.
      features: makes inputs from frames.
      front_end: makes frames from recordings; None where the training data were frames.

    Raises:
      DataError: a file cannot be read, has another rate than the training data, or the folder has
        none.
      ValueError: the training data were frames.
    """
    if front_end is None:
        raise ValueError(
            "new recordings need a model of recordings, but this one was trained on the frames of "
            "AN4; train with --data.path"
        )
    for file in _wav_files(source):
        wav = read_wav(file)
        inputs = features(features_of(wav.mono(), wav.rate, front_end, file))
        # One compiled program serves files of similar length.
        inputs, mask = pad([inputs], -(-len(inputs) // LENGTH_STEP) * LENGTH_STEP)
        yield file, Batch(inputs, None, mask)


def _wav_files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = sorted(x for x in path.iterdir() if x.suffix.lower() == ".wav")
    if not files:
        raise data_error(path, "must have a WAV file, got none; give another folder")
    return files
