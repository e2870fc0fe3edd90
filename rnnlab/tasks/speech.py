"""Transcripts of speech, without an alignment of the text with the sound."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from rnnlab.audio import FrontEnd
from rnnlab.audio.front_end import Features
from rnnlab.datasets import dataset_files
from rnnlab.errors import DataError
from rnnlab.tasks.alphabet import Alphabet
from rnnlab.tasks.augment import Augmentation, augmented
from rnnlab.tasks.batch import IGNORE_INDEX, Batch, arrays
from rnnlab.tasks.batching.padding import pad, split_batches
from rnnlab.tasks.batching.strategies import training_batches
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.decoding import Decoding
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.readers.utterances import PARTS, Utterances, read_an4, read_transcribed
from rnnlab.tasks.reference.constant_text import constant_text_scores
from rnnlab.tasks.speech_features import Mean, SpeechFeatures
from rnnlab.tasks.speech_preparation import SpeechPreparation, decoded
from rnnlab.tasks.splits import by_group
from rnnlab.validation import require_one_of, require_positive_int

Loss = Literal["ctc", "transducer"]

AN4_COEFFICIENTS = 13
"""Cepstral coefficients of a frame of AN4."""


@dataclass(frozen=True)
class Speech:
    """Transcribe utterances of speakers who are not in the training part, character by character.

    The data are AN4: 948 utterances of 74 speakers to train on and 130 of 10 others to test on,
    spelled words, numbers and commands, 48 minutes, as 13 cepstral coefficients (MFCC) per 10 ms.
    Every tenth training speaker is validated on. Inputs are the coefficients without their mean and
    their slopes, standardized by the training part; several frames are one time step. `labels` are
    the characters of the text, and class 0 is the blank.

    The metrics are the word and the character error rate of decoding without a language model.
    Baselines are the constant texts of the training part that have the lowest word and the lowest
    character error rate there.

    Your own recordings are WAV files and a table with the columns `file` and `text`, and maybe
    `speaker` and `part` (train, valid or test). Without parts, `valid` and `test` of the speakers,
    or of the recordings where no speakers are named, are held out.

    Attributes:
      path: None or the folder of the data set `an4`; or a table of your recordings, `.tsv` or
        `.csv`, or a folder with one.
      loss: `"ctc"`, or `"transducer"`, which has a prediction network over the labels.
      mean: which mean is removed: `"running"`, of the frames so far, which can be streamed; or
        `"utterance"`, of the whole utterance.
      stack: frames per time step.
      batch_size: utterances per batch; a batch has utterances of similar length.
      augment: changes of `Augmentation`, such as time-mask=0.1 and feature-mask=0.2, which are
        those of SpecAugment. Changes of the time axis raise an error.
      features: of your recordings: `"mfcc"`, 13 cepstral coefficients, or `"mel"`, 40 log mel
        energies.
      beam: hypotheses of a transducer's beam search in evaluations; 1 decodes greedily.
      valid, test: fractions of your recordings without parts.

    Raises:
      ValueError: a setting is out of range.
      DataError: the data are missing or not readable, or a text has more characters than CTC can
        align with its time steps.

    Source: Acero, "Acoustical and environmental robustness in automatic speech recognition" (1993),
    for AN4; Graves et al., ICML 2006, for CTC; Graves, arXiv 1211.3711, for the transducer; Park et
    al., arXiv 1904.08779, for the masks.

    >>> Speech(stack=2).mean
    'running'
    """

    path: Path | None = None
    loss: Loss = "ctc"
    mean: Mean = "running"
    stack: int = 3
    batch_size: int = 16
    augment: tuple[str, ...] = ()
    features: Features = "mfcc"
    beam: int = 1
    valid: float = 0.1
    test: float = 0.1

    def __post_init__(self):
        require_positive_int(stack=self.stack, batch_size=self.batch_size, beam=self.beam)
        require_one_of("loss", self.loss, get_args(Loss))
        require_one_of("mean", self.mean, get_args(Mean))
        require_one_of("features", self.features, get_args(Features))
        if self.beam > 1 and self.loss == "ctc":
            raise ValueError(
                f"beam must be 1 with loss 'ctc', whose decoding here is greedy, got {self.beam}; "
                "omit it"
            )
        changes = Augmentation.parse(self.augment)
        if changes.time_warp or changes.window_slice:
            raise ValueError(
                "augment must have no time_warp and window_slice, which move the spoken words, got "
                f"{', '.join(self.augment)}; use time-mask and feature-mask"
            )

    def load(self, seed: int) -> TaskData:
        """Reads the utterances. `seed` draws the training batches."""
        parts, front_end, notes = utterance_parts(self.path, self.features, self.valid, self.test)
        alphabet = Alphabet.of(parts["train"].texts)
        features = SpeechFeatures.fit(parts["train"].frames, self.mean, self.stack)
        first, sets = 0, {}
        for name, part in parts.items():
            sets[name] = _batch(part, features, alphabet, first)
            if self.loss == "ctc":
                _require_paths(part, sets[name], self.stack)
            first += len(part.texts)
        train = sets.pop("train")
        texts = tuple(text for part in parts.values() for text in part.texts)
        eval_sets = {
            name: functools.partial(split_batches, part, min(self.batch_size, len(part.inputs)))
            for name, part in sets.items()
        }
        take = training_batches(train, "bucket", self.batch_size, seed)
        decoding = None
        if self.loss == "transducer":
            longest = max(int((x.labels >= 0).sum(1).max()) for x in (train, *sets.values()))
            decoding = Decoding(max_length=2 * longest, beam=self.beam)
        return TaskData(
            loss=self.loss,
            metrics=("wer", "cer"),
            selection_metric="cer",
            out_features=len(alphabet.classes),
            train_batch=augmented(take, Augmentation.parse(self.augment), seed),
            eval_sets=eval_sets,
            baselines=functools.partial(
                constant_text_scores, parts["train"].texts, parts["test"].texts
            ),
            in_features=features.out_features,
            classes=alphabet.classes,
            decode=functools.partial(decoded, alphabet, texts),
            decoding=decoding,
            example_ids=np.array(parts["test"].names),
            fingerprint=fingerprint(
                *(x for part in (train, *sets.values()) for x in arrays(part)),
                "\n".join((*alphabet.classes, *texts)),
            ),
            preparation=SpeechPreparation(alphabet, features, front_end, eval_sets["test"], texts),
            notes=(*notes, _describe(parts)),
        )


@functools.lru_cache(maxsize=2)
def utterance_parts(
    path: Path | None, features: Features, valid: float, test: float
) -> tuple[Mapping[str, Utterances], FrontEnd | None, tuple[str, ...]]:
    """The parts by name, the front end that made their frames, and notes."""
    if path is None or _is_an4(Path(path)):
        if features != "mfcc":
            raise ValueError(
                f"features must be 'mfcc' for AN4, whose coefficients are given, got {features!r}; "
                "omit it"
            )
        files = dataset_files("an4", path)
        training = read_an4(files["an4_train_mfcc.npz"])
        validated = np.isin(training.speakers, np.unique(training.speakers)[::10])
        parts = {
            "train": training.select(np.flatnonzero(~validated)),
            "valid": training.select(np.flatnonzero(validated)),
            "test": read_an4(files["an4_test_mfcc.npz"]),
        }
        return parts, None, ()
    front_end = FrontEnd(features=features, num_coefficients=AN4_COEFFICIENTS)
    utterances, front_end, notes = read_transcribed(path, front_end)
    if utterances.parts:
        of = np.array(utterances.parts)
        indices = [np.flatnonzero(of == name) for name in PARTS]
        for name, part in zip(PARTS, indices, strict=True):
            if not len(part):
                raise DataError(
                    f"{path}: must have a recording of the part {name!r}, got none; add one, or "
                    "remove the column"
                )
    else:
        groups = np.array(utterances.speakers)
        if not groups.astype(bool).all():
            groups = np.arange(len(utterances.texts))
        indices = by_group(groups, [valid, test])
    parts = {name: utterances.select(of) for name, of in zip(PARTS, indices, strict=True)}
    return parts, front_end, notes


def _is_an4(path: Path) -> bool:
    return path.is_dir() and any(
        (folder / "an4_train_mfcc.npz").is_file() for folder in (path, path / "an4")
    )


def _batch(part: Utterances, features: SpeechFeatures, alphabet: Alphabet, first: int) -> Batch:
    """All utterances of a part, numbered from `first`."""
    inputs, mask = pad([features(frames) for frames in part.frames])
    labels, _ = pad([alphabet.labels(text) for text in part.texts], value=IGNORE_INDEX)
    example = np.arange(first, first + len(inputs), dtype=np.int32)
    return Batch(inputs, None, mask, labels=labels, example=example)


def _require_paths(part: Utterances, batch: Batch, stack: int) -> None:
    """Raises DataError for an utterance whose labels no CTC path emits."""
    labels = batch.labels
    repeats = ((labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] >= 0)).sum(1)
    needed, steps = (labels >= 0).sum(1) + repeats, batch.mask.sum(1)
    if (needed > steps).any():
        k = int((needed > steps).argmax())
        raise DataError(
            f"{part.names[k]}: must have >= {needed[k]} time steps for its text, got {steps[k]} of "
            f"{stack} frames; correct the text, or lower --data.stack"
        )


def _describe(parts: Mapping[str, Utterances]) -> str:
    counts = ", ".join(f"{len(part.texts)} ({name})" for name, part in parts.items())
    unseen = _words(parts["test"].texts) - _words(parts["train"].texts)
    more = f" {len(unseen)} words of the test part are in no training text." if unseen else ""
    return f"Utterances: {counts}.{more}"


def _words(texts: Sequence[str]) -> set[str]:
    return set(" ".join(texts).split())
