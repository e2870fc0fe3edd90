"""Reader of WFDB records of PhysioNet: headers, signals of format 212 and MIT annotations."""

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.tasks.readers.errors import data_error, quote_cell
from rnnlab.tasks.readers.text import read_bytes, read_text

SKIP, NUM, SUB, CHN, AUX = 59, 60, 61, 62, 63
"""Codes of words that are no annotation: a long interval, fields of an annotation, and a text."""


class WfdbRecord(NamedTuple):
    """A record with all its signals.

    Attributes:
      rate: samples per second.
      leads: descriptions of the signals, such as MLII.
      signals: (samples, signals) float64 in the units of the header, mostly millivolts.
    """

    rate: float
    leads: tuple[str, ...]
    signals: np.ndarray


def read_wfdb(header: str | os.PathLike) -> WfdbRecord:
    """Reads the signals of a record, which are in one file of format 212.

    Args:
      header: the `.hea` file. The file of the signals is in the same folder.

    Raises:
      DataError: the header is not of the format, signals are in several files or in another format,
        or their file has another size.

    Source: `header(5)` and `signal(5)` of the WFDB manual.
    """
    path = Path(header)
    lines = [line for line in read_text(path).split("\n") if line.strip() and line[0] != "#"]
    try:
        _, count, rate, samples = lines[0].split()[:4]
        count, rate, samples = int(count), float(rate.split("/")[0]), int(samples)
        specified = [_signal(line) for line in lines[1 : 1 + count]]
        if len(specified) != count or count < 1:
            raise ValueError(f"{count} signals, but {len(specified)} lines about them")
    except (ValueError, IndexError) as error:
        reason = f"is not a WFDB header with a number of samples: {error}; copy the file again"
        raise data_error(path, reason) from error
    files, formats = ({signal[k] for signal in specified} for k in (0, 1))
    if formats != {"212"} or len(files) != 1:
        reason = (
            f"must name one file in format 212, got {len(files)} in {', '.join(sorted(formats))}"
        )
        raise data_error(path, f"{reason}; convert the record with WFDB's xform")
    file = path.with_name(files.pop())
    values = unpack_212(file, read_bytes(file), samples * count).reshape(samples, count)
    gains = np.array([signal[2] for signal in specified])
    zeros = np.array([signal[3] for signal in specified])
    return WfdbRecord(rate, tuple(signal[4] for signal in specified), (values - zeros) / gains)


def unpack_212(path: Path, raw: bytes, count: int) -> np.ndarray:
    """Returns the samples of a file of format 212, (count,) int16 from -2048 to 2047.

    Two samples of 12 bits are in three bytes: the low byte of the first, the high bits of both, the
    low byte of the second.

    Args:
      path: of the file, for messages.
      raw: its bytes.
      count: of samples.

    Raises:
      DataError: the file has another size.

    >>> unpack_212(Path("a.dat"), bytes([0xE3, 0x33, 0xF3]), 2).tolist()
    [995, 1011]
    """
    size = (3 * count + 1) // 2
    if len(raw) != size:
        reason = f"must have {size} bytes for {count} samples, got {len(raw)}; copy the file again"
        raise data_error(path, reason)
    # An odd number of samples ends after two bytes.
    padded = np.frombuffer(raw + bytes(-len(raw) % 3), np.uint8).reshape(-1, 3).astype(np.int16)
    low, high = padded[:, [0, 2]], padded[:, 1:2] >> np.array([0, 4], np.int16) & 0x0F
    values = (low | high << 8).ravel()[:count]
    return np.where(values >= 2048, values - 4096, values).astype(np.int16)


def read_annotations(path: str | os.PathLike) -> tuple[np.ndarray, np.ndarray]:
    """Returns the times of annotations in samples, (annotations,) int64, and their codes, int8.

    Args:
      path: a file in MIT format, such as `100.atr`.

    Raises:
      DataError: the file ends before its end mark.

    Source: `annot(5)` of the WFDB manual.
    """
    path = Path(path)
    raw = read_bytes(path)
    words = np.frombuffer(raw[: len(raw) // 2 * 2], "<u2").tolist()
    samples, codes, time, n = [], [], 0, 0
    try:
        while words[n]:
            code, low = words[n] >> 10, words[n] & 0x3FF
            n += 1
            if code == SKIP:  # the high word comes first; the interval may be negative
                interval = words[n] << 16 | words[n + 1]
                time += interval - (1 << 32 if interval >= 1 << 31 else 0)
                n += 2
            elif code == AUX:
                n += (low + 1) // 2
            elif code not in (NUM, SUB, CHN):
                time += low
                samples.append(time)
                codes.append(code)
    except IndexError:
        reason = f"must end with an end mark, got {len(raw)} bytes without; copy the file again"
        raise data_error(path, reason) from None
    return np.array(samples, np.int64), np.array(codes, np.int8)


def _signal(line: str) -> tuple[str, str, float, float, str]:
    """The file, format, gain, zero and description of a line about a signal."""
    cells = line.split(maxsplit=8)
    if len(cells) < 9:
        raise ValueError(f"{quote_cell(line)} has less than nine fields")
    file, form, gain, _, zero, *_, lead = cells
    value, _, baseline = gain.partition("/")[0].partition("(")
    gain = float(value) or 200.0  # 0 is the default
    return file, form, gain, float(baseline.removesuffix(")") or zero), lead
