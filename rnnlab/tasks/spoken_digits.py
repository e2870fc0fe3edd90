"""Spoken digits, classified from their waveform."""

import dataclasses
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from rnnlab.audio import Differences, FrontEnd, subtract_mean
from rnnlab.audio.front_end import Features
from rnnlab.datasets import dataset_files
from rnnlab.errors import DataError
from rnnlab.tasks.augment import Augmentation
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.digit_preparation import DigitPreparation
from rnnlab.tasks.labelled_data import labelled_data, pad_labelled
from rnnlab.tasks.readers.utterances import at_rate, read_spoken_digits
from rnnlab.tasks.reference import hidden_markov
from rnnlab.tasks.speech_features import Mean, SpeechFeatures
from rnnlab.validation import require_positive_int

TESTED, VALIDATED = range(5), range(5, 10)
"""Numbers of the recordings of each digit of a speaker that test, officially, and that validate."""

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")

DIGITS = tuple(map(str, range(10)))

STATES = 8
"""States of the hidden Markov model of a digit."""

SEGMENTS = 8
"""Parts of equal length of a recording whose means a logistic regression reads."""


@dataclass(frozen=True)
class SpokenDigits:
    """Classify recordings of English digits, after the last frame.

    The data are the Free Spoken Digit Dataset: 3,000 recordings at 8 kHz, 50 of each digit by each
    of 6 speakers. The front end makes 40 log mel energies or 13 cepstral coefficients (MFCC) per
    10 ms; inputs are these without their mean and their slopes, standardized by the training part,
    several frames per time step. The official test part are the recordings 0 to 4 of every digit
    and speaker; recordings 5 to 9 are validated on. With `test_speaker` all recordings of a speaker
    are tested on, and recordings 0 to 4 of the others are validated on: nobody of the test part is
    known, which is the harder question.

    Baselines are a hidden Markov model per digit, on the cepstral coefficients and their slopes,
    and, if scikit-learn is installed, a logistic regression on the means of 8 parts of a recording.

    Attributes:
      path: the `.npz` file of `rnnlab data`, or a folder with it or with the original WAV files;
        None is the data folder.
      features: `"mel"` or `"mfcc"`.
      mean: which mean is removed: `"running"`, of the frames so far, or `"utterance"`.
      stack: frames per time step.
      test_speaker: the speaker of the test part; None is the official one.
      batch_size: recordings per batch; a batch has recordings of similar length.
      augment: changes of `Augmentation`, such as time-mask=0.1 and feature-mask=0.2.

    Raises:
      ValueError: a setting is out of range.
      DataError: the data are missing or not readable, or a part has no recording.

    Source: Jackson et al., github.com/Jakobovski/free-spoken-digit-dataset.

    >>> SpokenDigits(test_speaker="theo").features
    'mel'
    """

    path: Path | None = None
    features: Features = "mel"
    mean: Mean = "running"
    stack: int = 3
    test_speaker: Literal["george", "jackson", "lucas", "nicolas", "theo", "yweweler"] | None = None
    batch_size: int = 32
    augment: tuple[str, ...] = ()

    def __post_init__(self):
        require_positive_int(stack=self.stack, batch_size=self.batch_size)
        if self.test_speaker not in (None, *SPEAKERS):
            raise ValueError(
                f"test_speaker must be None or one of {', '.join(SPEAKERS)}, got "
                f"{self.test_speaker!r}; correct it"
            )
        FrontEnd(8000, self.features)
        Augmentation.parse(self.augment)

    def load(self, seed: int) -> TaskData:
        """Reads the recordings. `seed` draws the training batches."""
        parts, front_end = _parts(_digit_data(self.path), self.features, self.test_speaker)
        features = SpeechFeatures.fit(parts["train"].frames, self.mean, self.stack)
        batches = {
            name: pad_labelled([features(x) for x in part.frames], part.digits)
            for name, part in parts.items()
        }
        data = labelled_data(
            batches["train"],
            {"valid": batches["valid"], "test": batches["test"]},
            out_features=10,
            batch_size=self.batch_size,
            seed=seed,
            batching="bucket",
            augmentation=Augmentation.parse(self.augment),
        )
        sizes = ", ".join(f"{len(part.frames)} ({name})" for name, part in parts.items())
        return dataclasses.replace(
            data,
            classes=DIGITS,
            preparation=DigitPreparation(DIGITS, features, front_end, data.eval_sets["test"]),
            baselines=functools.partial(_baselines, _digit_data(self.path), self.test_speaker),
            notes=(f"Recordings: {sizes}.",),
        )


class _Part(NamedTuple):
    """Frames (time, features) and digit of each recording."""

    frames: tuple[np.ndarray, ...]
    digits: np.ndarray


def _digit_data(path: Path | None) -> Path:
    """The file or the folder with the recordings."""
    if path is not None and (Path(path).is_file() or any(Path(path).glob("*.wav"))):
        return Path(path)
    return dataset_files("fsdd", path)["fsdd_8khz.npz"]


@functools.lru_cache(maxsize=4)
def _parts(
    path: Path, features: Features, test_speaker: str | None
) -> tuple[Mapping[str, _Part], FrontEnd]:
    """The parts by name, and the front end that made their frames."""
    names, recordings, rate = read_spoken_digits(path)
    front_end = at_rate(FrontEnd(8000, features, snip_edges=False), rate, path)
    digits, speakers, numbers = _described(path, names)
    if test_speaker is None:
        tested, others = np.isin(numbers, TESTED), np.isin(numbers, VALIDATED)
    else:
        tested = speakers == test_speaker
        others = ~tested & np.isin(numbers, TESTED)
    frames = [front_end(samples) for samples in recordings]
    parts = {}
    for name, chosen in (("train", ~tested & ~others), ("valid", others), ("test", tested)):
        if not chosen.any():
            raise DataError(
                f"{path}: must have a recording of the {name} part, got none; give all recordings"
            )
        indices = np.flatnonzero(chosen)
        parts[name] = _Part(tuple(frames[k] for k in indices), digits[indices])
    return parts, front_end


def _described(path: Path, names: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The digit, the speaker and the number of each recording, by its name."""
    found = []
    for name in names:
        cells = name.split("_")
        if len(cells) != 3 or not (cells[0].isdigit() and cells[2].isdigit()) or len(cells[0]) > 1:
            raise DataError(
                f"{path}: names must be such as 7_theo_12, digit, speaker and number, got "
                f"{name!r}; rename the recording"
            )
        found.append((int(cells[0]), cells[1], int(cells[2])))
    digits, speakers, numbers = zip(*found, strict=True)
    return np.array(digits, np.int32), np.array(speakers), np.array(numbers)


@functools.lru_cache(maxsize=8)
def _baselines(path: Path, test_speaker: str | None) -> dict[str, dict[str, float]]:
    """The accuracies of the baselines, once per process."""
    parts, _ = _parts(path, "mfcc", test_speaker)
    train, test = (
        ([Differences()(subtract_mean(x)) for x in parts[name].frames], parts[name].digits)
        for name in ("train", "test")
    )
    found = {"hidden Markov model": {"accuracy": hmm_accuracy(*train, *test)}}
    if find_spec("sklearn"):
        found["logistic regression"] = {"accuracy": _logistic_accuracy(*train, *test)}
    return found


def hmm_accuracy(
    train: list[np.ndarray], train_digits: np.ndarray, test: list[np.ndarray], digits: np.ndarray
) -> float:
    """Returns the accuracy of one hidden Markov model per digit.

    Args:
      train, test: (time, features) of each recording.
      train_digits, digits: of each recording.
    """
    paths = [
        hidden_markov.StatePath(STATES * digit + np.arange(STATES), np.zeros(STATES, bool))
        for digit in range(10)
    ]
    states = hidden_markov.train(train, [paths[k] for k in train_digits], 10 * STATES)
    scores = [hidden_markov.align(states, test, [path] * len(test))[1] for path in paths]
    return float(np.mean(np.argmax(scores, axis=0) == digits))


def _logistic_accuracy(
    train: list[np.ndarray], train_digits: np.ndarray, test: list[np.ndarray], digits: np.ndarray
) -> float:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def segments(frames: np.ndarray) -> np.ndarray:
        bounds = np.arange(len(frames)) * SEGMENTS // len(frames)
        means = [frames[bounds == k].mean(0) for k in np.unique(bounds)]
        return np.ravel(means + means[-1:] * (SEGMENTS - len(means)))

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    model.fit([segments(x) for x in train], train_digits)
    return float(model.score([segments(x) for x in test], digits))
