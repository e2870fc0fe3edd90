"""Reader of the MIT-BIH arrhythmia database: electrocardiograms with labelled beats."""

import io
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnnlab.optional import require_module
from rnnlab.tasks.readers.errors import data_error
from rnnlab.tasks.readers.text import read_bytes
from rnnlab.tasks.readers.wfdb import read_annotations, read_wfdb

RATE = 120
"""Samples per second of the signals that are read."""

ANNOTATION_RATE = 360
"""Samples per second in which the times of annotations count, as in the original files."""

UNITS_PER_MILLIVOLT = 200

CLASSES = ("N", "S", "V", "F", "Q")
"""Classes of beats of the AAMI: normal, supraventricular, ventricular, fusion, unknown or paced."""

BEAT_CODES = {
    **dict.fromkeys((1, 2, 3, 11, 34), "N"),
    **dict.fromkeys((4, 7, 8, 9), "S"),
    **dict.fromkeys((5, 10), "V"),
    6: "F",
    **dict.fromkeys((12, 13, 38), "Q"),
}
"""The class of each annotation code of WFDB that is a beat."""

PACED = ("102", "104", "107", "217")
"""Records of patients with a pacemaker, which the AAMI excludes."""

DS1 = (
    *("101", "106", "108", "109", "112", "114", "115", "116", "118", "119", "122"),
    *("124", "201", "203", "205", "207", "208", "209", "215", "220", "223", "230"),
)
"""Records to train on, by de Chazal et al. 2004 (doi 10.1109/TBME.2004.827359)."""

DS2 = (
    *("100", "103", "105", "111", "113", "117", "121", "123", "200", "202", "210"),
    *("212", "213", "214", "219", "221", "222", "228", "231", "232", "233", "234"),
)
"""Records to test on, of other patients, by the same source."""


class EcgRecord(NamedTuple):
    """An electrocardiogram of half an hour with its annotations.

    Attributes:
      name: of the record, such as 100.
      lead: of the signal, such as MLII.
      signal: (samples,) float32 in millivolts, `RATE` samples per second.
      samples: (annotations,) int64, times of annotations, `ANNOTATION_RATE` per second.
      codes: (annotations,) int8, annotation codes of WFDB.
    """

    name: str
    lead: str
    signal: np.ndarray
    samples: np.ndarray
    codes: np.ndarray

    def beats(self) -> tuple[np.ndarray, np.ndarray]:
        """Returns the times of beats in seconds, (beats,) float64, and their classes.

        The classes are indices in `CLASSES`, (beats,) int32.
        """
        index = {code: CLASSES.index(name) for code, name in BEAT_CODES.items()}
        classes = np.array([index.get(code, -1) for code in self.codes.tolist()], np.int32)
        is_beat = classes >= 0
        return self.samples[is_beat] / ANNOTATION_RATE, classes[is_beat]


def read_ecg(path: str | os.PathLike) -> tuple[EcgRecord, ...]:
    """Reads all records, by name. The lead is MLII if there is one, and else the first.

    Args:
      path: a folder with the original files of the database, `.hea`, `.dat` and `.atr`, whose
        signals are filtered and reduced to every third sample; or an `.npz` file with the arrays
        signal_NAME (differences of int16 at 120 Hz), sample_NAME, code_NAME and lead_NAME of each
        record.

    Raises:
      DataError: the folder has no record, or a file is not of the format.
      ValueError: scipy is not installed.
    """
    path = Path(path)
    if path.is_dir():
        headers = sorted(path.glob("*.hea"))
        if not headers:
            reason = "has no record, such as 100.hea; give the folder of the database"
            raise data_error(path, reason)
        return tuple(map(_read_original, headers))
    raw = read_bytes(path)
    try:
        with np.load(io.BytesIO(raw), allow_pickle=False) as arrays:
            names = sorted(name[7:] for name in arrays.files if name.startswith("signal_"))
            return tuple(
                EcgRecord(
                    name,
                    str(arrays[f"lead_{name}"]),
                    np.cumsum(arrays[f"signal_{name}"], dtype=np.int16).astype(np.float32)
                    / UNITS_PER_MILLIVOLT,
                    arrays[f"sample_{name}"].astype(np.int64),
                    arrays[f"code_{name}"],
                )
                for name in names
            )
    except Exception as error:  # a corrupt file makes the parsers raise any kind
        reason = f"cannot be read as electrocardiograms: {error}; copy the file again"
        raise data_error(path, reason) from error


def _read_original(header: Path) -> EcgRecord:
    record = read_wfdb(header)
    if record.rate != ANNOTATION_RATE:
        reason = f"must have {ANNOTATION_RATE} samples per second, got {record.rate:g}"
        raise data_error(header, f"{reason}; give a record of the MIT-BIH arrhythmia database")
    column = record.leads.index("MLII") if "MLII" in record.leads else 0
    resample = require_module("scipy.signal").resample_poly
    signal = resample(record.signals[:, column], 1, ANNOTATION_RATE // RATE)
    annotations = read_annotations(header.with_suffix(".atr"))
    return EcgRecord(header.stem, record.leads[column], signal.astype(np.float32), *annotations)
