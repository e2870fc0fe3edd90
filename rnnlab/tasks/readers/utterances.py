"""Readers of recorded speech with its texts: AN4, and a user's own WAV files."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.audio import FrontEnd
from rnnlab.tasks.readers.errors import data_error, quote_cell
from rnnlab.tasks.readers.table import listed, read_table
from rnnlab.tasks.readers.text import read_bytes, read_text
from rnnlab.tasks.readers.wav import read_wav

PARTS = ("train", "valid", "test")
"""Values of the column `part` of a transcript."""

FRAMES_PER_SECOND = 100
"""Frames of AN4 per second."""

TRANSCRIPT_SUFFIXES = (".tsv", ".csv")


class Utterances(NamedTuple):
    """Features of utterances and their texts.

    Attributes:
      names: of the recordings.
      speakers: who speaks in each; empty texts where unknown.
      texts: their transcripts.
      frames: for each (time, features) float32.
      parts: one of `PARTS` for each; empty where the data have no parts.
    """

    names: tuple[str, ...]
    speakers: tuple[str, ...]
    texts: tuple[str, ...]
    frames: tuple[np.ndarray, ...]
    parts: tuple[str, ...] = ()

    def select(self, indices: Sequence[int] | np.ndarray) -> "Utterances":
        """Returns some of the utterances."""
        return Utterances(*(tuple(x[k] for k in indices) if x else () for x in self))


def read_an4(path: str | os.PathLike) -> Utterances:
    """Reads a part of AN4, whose cepstral coefficients (MFCC) are given.

    Args:
      path: `an4_train_mfcc.npz` or `an4_test_mfcc.npz` of `rnnlab data get an4`: features (frames,
        13) of all utterances, lengths, ids, speakers and texts.

    Raises:
      DataError: the file is not of the format.
    """
    path = Path(path)
    read_bytes(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            features = arrays["features"].astype(np.float32)
            bounds = np.cumsum(arrays["lengths"])[:-1]
            names, speakers, texts = (arrays[x].tolist() for x in ("ids", "speakers", "texts"))
            frames = np.split(features, bounds)
            if len({len(x) for x in (names, speakers, texts, frames)}) != 1:
                raise ValueError("its arrays differ in their number of utterances")
    except Exception as error:  # a corrupt file makes the parsers raise any kind
        reason = f"cannot be read as utterances: {error}; copy the file again"
        raise data_error(path, reason) from error
    return Utterances(tuple(names), tuple(speakers), tuple(texts), tuple(frames))


def read_transcribed(
    path: str | os.PathLike, front_end: FrontEnd
) -> tuple[Utterances, FrontEnd, tuple[str, ...]]:
    """Reads WAV files and their texts.

    Args:
      path: a table with the columns `file`, of WAV files relative to it, `text`, and maybe
        `speaker` and `part` (train, valid or test); or a folder with one such table, `.tsv` or
        `.csv`.
      front_end: makes the features; its rate is replaced by that of the files.

    Returns:
      The utterances, the front end at their rate, and sentences on what was detected.

    Raises:
      DataError: the table or a file is not of the format, a text is empty, files differ in their
        rate, or a file is too short for a frame.
    """
    table = read_table(_transcript(Path(path)))
    files, texts = (table.cells(table.index(name)) for name in ("file", "text"))
    optional = {
        name: table.cells(table.index(name)) if name in table.header else []
        for name in ("speaker", "part")
    }
    for n, part in enumerate(optional["part"]):
        if part not in PARTS:
            reason = f"part must be one of {', '.join(PARTS)}, got {quote_cell(part)}; correct it"
            raise data_error(table.path, reason, line=table.lines[n])
    texts = [" ".join(text.split()) for text in texts]
    rate, frames = 0, []
    for n, (file, text) in enumerate(zip(files, texts, strict=True)):
        if not text:
            reason = "text must not be empty; write the transcript, or remove the line"
            raise data_error(table.path, reason, line=table.lines[n])
        wav = read_wav(table.path.parent / file)
        if not rate:
            rate = wav.rate
            front_end = at_rate(front_end, rate, table.path.parent / file)
        frames.append(features_of(wav.mono(), wav.rate, front_end, table.path.parent / file))
    speakers = optional["speaker"] or [""] * len(files)
    utterances = Utterances(
        tuple(files), tuple(speakers), tuple(texts), tuple(frames), tuple(optional["part"])
    )
    minutes = sum(map(len, frames)) * front_end.shift_ms / 60_000
    note = f"{len(files)} recordings of {minutes:.1f} minutes at {rate} samples per second."
    return utterances, front_end, (*table.notes, note)


def at_rate(front_end: FrontEnd, rate: int, path: Path) -> FrontEnd:
    """Returns a front end for another rate; `path` is the file that has it, for messages."""
    settings = {name: getattr(front_end, name) for name in front_end.__dataclass_fields__}
    try:
        return FrontEnd(**{**settings, "rate": rate})
    except ValueError as error:
        raise data_error(path, f"has {rate} samples per second: {error}") from error


def features_of(samples: np.ndarray, rate: int, front_end: FrontEnd, path: Path) -> np.ndarray:
    """Returns the features of a recording, (time, features) float32.

    Args:
      samples: (samples,) float32.
      rate: samples per second.
      front_end: makes them.
      path: of the recording, for messages.

    Raises:
      DataError: it has another rate than the front end, or is shorter than a frame.
    """
    if rate != front_end.rate:
        reason = f"must have {front_end.rate} samples per second, as the others, got {rate}"
        raise data_error(path, f"{reason}; resample it")
    frames = front_end(samples)
    if not len(frames):
        reason = f"must have >= {front_end.framing.length} samples, got {len(samples)}"
        raise data_error(path, f"{reason}; remove it")
    return frames


def read_pronunciations(path: str | os.PathLike) -> dict[str, tuple[str, ...]]:
    """Reads a pronouncing dictionary of Sphinx: a word and its phones per line.

    Returns:
      The first pronunciation of each word; others, such as `A(2)`, are skipped.

    Raises:
      DataError: a line has no phones.
    """
    path, found = Path(path), {}
    for number, line in enumerate(read_text(path).rstrip("\n").split("\n"), 1):
        word, *phones = line.split() or [""]
        if not phones:
            raise data_error(path, "must have a word and its phones; remove it", line=number)
        if not word.endswith(")"):
            found.setdefault(word, tuple(phones))
    return found


def read_spoken_digits(path: str | os.PathLike) -> tuple[tuple[str, ...], list[np.ndarray], int]:
    """Reads the Free Spoken Digit Dataset.

    Args:
      path: `fsdd_8khz.npz` of `rnnlab data get fsdd`; or a folder with the original recordings,
        `{digit}_{speaker}_{number}.wav`.

    Returns:
      The names of the recordings, such as `7_theo_12`, their samples (samples,) as float32 in
      [-1, 1], and their rate.

    Raises:
      DataError: a file is not of the format, or files differ in their rate.
    """
    path = Path(path)
    if path.is_dir():
        return _digit_files(path)
    read_bytes(path)
    try:
        with np.load(path, allow_pickle=False) as arrays:
            samples = np.cumsum(arrays["samples_delta"], dtype=np.int16)
            lengths, names = arrays["lengths"], arrays["names"].tolist()
        if len(lengths) != len(names) or lengths.sum() != len(samples):
            raise ValueError("its arrays differ in their number of recordings or samples")
    except Exception as error:  # a corrupt file makes the parsers raise any kind
        reason = f"cannot be read as recordings: {error}; copy the file again"
        raise data_error(path, reason) from error
    scaled = (samples / np.float32(32768)).astype(np.float32)
    stems = tuple(name.removesuffix(".wav") for name in names)
    return stems, np.split(scaled, np.cumsum(lengths)[:-1]), 8000


def _digit_files(path: Path) -> tuple[tuple[str, ...], list[np.ndarray], int]:
    files = sorted(path.glob("[0-9]_*_*.wav"))
    if not files:
        raise data_error(path, "has no recording such as 7_theo_12.wav; give the folder of them")
    read = [read_wav(file) for file in files]
    for file, wav in zip(files, read, strict=True):
        if wav.rate != read[0].rate:
            reason = f"must have {read[0].rate} samples per second, as the first, got {wav.rate}"
            raise data_error(file, f"{reason}; resample it")
    return tuple(file.stem for file in files), [wav.mono() for wav in read], read[0].rate


def _transcript(path: Path) -> Path:
    """The table of a folder, or the file itself."""
    if not path.is_dir():
        return path
    found = sorted(x for x in path.iterdir() if x.suffix.lower() in TRANSCRIPT_SUFFIXES)
    if len(found) != 1:
        names = listed([x.name for x in found]) if found else "none"
        reason = f"must have one table of texts, .tsv or .csv, got {names}"
        raise data_error(path, f"{reason}; give the file")
    return found[0]
