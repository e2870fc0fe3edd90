"""The data sets that rnnlab knows, by name. `files.tsv` has the size and SHA-256 of every file."""

import csv
from pathlib import Path
from typing import NamedTuple

from rnnlab.datasets.data_set import DataFile, DataSet

FILES = Path(__file__).with_name("files.tsv")
"""A line per file: its set, part and form (`-` for a document), name, bytes (`-` if unknown),
SHA-256 (`-` if the list of checksums of the set has it), and path below the address of its set (`-`
if it cannot be downloaded)."""

GITHUB = "https://raw.githubusercontent.com"


class _Entry(NamedTuple):
    name: str
    summary: str
    license: str
    source: str
    address: str = ""


_ENTRIES = (
    _Entry(
        "physionet2012",
        "Intensive care: 37 variables of 12,000 stays in their first 48 hours, and who died",
        "ODC-BY 1.0",
        "PhysioNet/CinC Challenge 2012 1.0.0, physionet.org/content/challenge-2012/1.0.0; the "
        ".tar.xz files are set-a and set-b of AbdelrahmanManz/ICU-Mortality-Predictor@7037a4f8 and "
        "set-c of SamuelJoray/Predicting-Mortality-of-ICU-Patients@7d004326, text unchanged",
        "https://physionet.org/files/challenge-2012/1.0.0",
    ),
    _Entry(
        "mitbih",
        "Electrocardiograms: 48 records of half an hour, about 110,000 labelled beats",
        "ODC-BY 1.0",
        "MIT-BIH Arrhythmia Database 1.0.0, physionet.org/content/mitdb/1.0.0; the .npz file was "
        "made from Surakshajain06/ECG-Classification-using-Autoencoder@9d21815c: one lead, every "
        "third sample (120 Hz), int16 at 200 units/mV, stored as differences",
        "https://physionet.org/files/mitdb/1.0.0",
    ),
    _Entry(
        "m4-hourly",
        "Forecasting competition M4: 414 hourly series of 700 or 960 values, horizon 48",
        "no file; for research",
        "Mcompetitions/M4-methods@6c1067e5:Dataset",
        f"{GITHUB}/Mcompetitions/M4-methods/6c1067e5a57161249b17289a565178dc7a3fb3ca/Dataset",
    ),
    _Entry(
        "bike-hourly",
        "Rented bicycles: 17,379 hours of 2011 and 2012 with calendar and weather",
        "CC BY 4.0",
        "UCI 275; Razha90/Dicoding-Bike-sharing-dataset@71eaece1:data/hour.csv",
        f"{GITHUB}/Razha90/Dicoding-Bike-sharing-dataset/71eaece1d6e83f84a20563be5c889c7a3229965f"
        "/data",
    ),
    _Entry(
        "cmapss-fd001",
        "Turbofan engines, simulated: 100 until failure, 100 cut before it, 21 sensors",
        "public domain",
        "NASA C-MAPSS FD001; alireza-javanmardi/conformal-RUL-intervals@37e450ac:data/CMAPSS",
        f"{GITHUB}/alireza-javanmardi/conformal-RUL-intervals"
        "/37e450ac8b656229d44aed3ac39dcf85ea11b86c/data/CMAPSS",
    ),
    _Entry(
        "nab",
        "Numenta anomaly benchmark: 58 series of 365,558 values, 116 labelled windows",
        "MIT",
        "numenta/NAB@ea702d75:data,labels; the .tar.xz file has the same files",
        f"{GITHUB}/numenta/NAB/ea702d75cc2258d9d7dd35ca8e5e2539d71f3140",
    ),
    _Entry(
        "an4",
        "Speech: 948 and 130 spelled or read utterances of 84 speakers, as 13 MFCC",
        "CMU AN4, BSD-style",
        "cphazen/Machine-Learning-Project-ASR@5e478f0e:an4; the .mfc files were joined and stored "
        "as float16",
    ),
    _Entry(
        "fsdd",
        "Spoken digits: 3,000 recordings of 6 speakers at 8 kHz",
        "CC BY-SA 4.0",
        "Jakobovski/free-spoken-digit-dataset@26eb9aaf:recordings; all recordings are one array of "
        "differences",
    ),
    _Entry(
        "entree",
        "Restaurant recommender: 50,672 sessions of 1996 to 1999 in Chicago",
        "CC BY 4.0",
        "UCI 123; adityaraute/Restaurant-Recommender@1614005a:entree_data.tar.gz; quarters were "
        "joined and host names replaced by numbers",
    ),
    _Entry(
        "omniglot-strokes",
        "Handwriting: 32,000 drawings of letters as strokes of the pen",
        "MIT",
        "hardmaru/sketch-rnn-datasets@7c854dee:omniglot",
        f"{GITHUB}/hardmaru/sketch-rnn-datasets/7c854dee76090aa18c321c7af2cede815bbd475e/omniglot",
    ),
    _Entry(
        "tatoeba-fra",
        "Translation: 142,787 pairs of English and French sentences",
        "CC BY 2.0 FR",
        "tatoeba.org and manythings.org/anki, of 2017-09-29; genimind/seq2seq@4f3f8eb0:fra-eng.zip",
        f"{GITHUB}/genimind/seq2seq/4f3f8eb0adde54fcc8b89394336b002e7961244c",
    ),
    _Entry(
        "uner-danish",
        "Named entities: 4,383, 564 and 565 Danish sentences with their tags",
        "CC BY-SA 4.0",
        "Universal NER, Danish DDT; UniversalNER/UNER_Danish-DDT@983c4cdc",
        f"{GITHUB}/UniversalNER/UNER_Danish-DDT/983c4cdc",
    ),
)


def _read_catalog() -> dict[str, DataSet]:
    """Returns the data sets with their files. The lines of a form follow one another."""
    forms: dict[str, dict[str, dict[str, list[DataFile]]]] = {x.name: {} for x in _ENTRIES}
    addresses = {entry.name: entry.address for entry in _ENTRIES}
    with FILES.open(encoding="utf-8", newline="") as lines:
        for line in csv.DictReader(lines, delimiter="\t"):
            url = None if line["path"] == "-" else f"{addresses[line['set']]}/{line['path']}"
            size = None if line["bytes"] == "-" else int(line["bytes"])
            digest = None if line["sha256"] == "-" else line["sha256"]
            file = DataFile(line["file"], digest, size, url)
            part = forms[line["set"]].setdefault(line["part"], {})
            part.setdefault(line["form"], []).append(file)
    found = {}
    for name, summary, license, source, _ in _ENTRIES:
        documents = tuple(file for form in forms[name].pop("-", {}).values() for file in form)
        parts = {part: tuple(map(tuple, of.values())) for part, of in forms[name].items()}
        found[name] = DataSet(name, summary, license, source, parts, documents)
    return found


DATASETS: dict[str, DataSet] = _read_catalog()
"""Data sets by name."""
