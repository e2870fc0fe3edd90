"""Bad files: texts, tables, arrays and results that are not what they should be."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from faults.cases import FORECAST, Case, files
from rnnlab.errors import DATA, USAGE_ERROR

PRONUNCIATION, TRANSLATION = (
    str(Path(__file__).parents[2] / "experiments" / "training" / f"{name}.py")
    for name in ("pronunciation", "translation")
)
VOWELS = str(Path(__file__).parents[2] / "experiments" / "training" / "vowels.py")


def arrays(**values: np.ndarray) -> Callable[[Path], None]:
    """Makes `a.npz`."""
    return lambda here: np.savez(here / "a.npz", **values)


def sparse(here: Path) -> None:
    """A file of one line of more than a gigabyte, which takes no disk space."""
    with (here / "a.txt").open("wb") as file:
        file.truncate(1100 << 20)


def pickled(here: Path) -> None:
    """An array of objects, which only pickle could read; reading it would make `canary`."""

    class Canary:
        def __reduce__(self):
            return os.mkdir, (str(here / "canary"),)

    rows = np.array([Canary(), Canary()], object)
    np.savez(here / "a.npz", inputs=rows, targets=rows)


TEXT = "run FILE --data.path a.txt --out out"
SERIES = (
    f"run {FORECAST} --data.path a.csv --data.season 2 --data.length 4 --data.horizon 1 --out out"
)
ROWS = f"run {VOWELS} --data.path a.npz --out out"
DAYS = "date,x\n" + "\n".join(f"2020-01-{day:02d},{day % 5}" for day in range(1, 31)) + "\n"
RESULT = json.dumps({"varied": {}, "curve": []})

CASES = [
    Case(7, "a missing text", TEXT, DATA, "a.txt: cannot be read: No such file"),
    Case(
        7,
        "a folder without texts",
        TEXT,
        DATA,
        "a.txt: is a folder without files",
        lambda here: (here / "a.txt").mkdir(),
    ),
    Case(
        7,
        "a pattern that matches nothing",
        "run FILE --data.path texts/*.txt --out out",
        DATA,
        "texts/*.txt: matches no file",
    ),
    Case(
        7,
        "JSON Lines with two texts",
        "run FILE --data.path a.jsonl --out out",
        DATA,
        "choose the text by --data.field: one of 'title', 'body'",
        files(a_jsonl='{"title": "a", "body": "b"}\n' * 50),
    ),
    Case(7, "an empty text", TEXT, DATA, "a.txt: is empty", files(a_txt="")),
    Case(7, "a text of blank lines", TEXT, DATA, "a.txt: has no text", files(a_txt="\n\n \n")),
    Case(
        8, "a text shorter than a window", TEXT, DATA, "got 4, 0 and 1 of 5", files(a_txt="abcde")
    ),
    Case(
        8,
        "nothing held out",
        f"{TEXT} --data.test 0",
        USAGE_ERROR,
        "test must be a fraction in (0, 1), got 0.0",
        files(a_txt="abc" * 100),
    ),
    Case(
        8,
        "a series shorter than a window",
        f"{SERIES} --data.length 40",
        DATA,
        "to train on, got 21 of 30",
        files(a_csv=DAYS),
    ),
    Case(
        9,
        "Latin-1",
        TEXT,
        DATA,
        "not UTF-8 at byte 3 (0xe9)",
        files(a_txt="caf\u00e9 ".encode("latin-1") * 50),
    ),
    Case(9, "UTF-16", TEXT, DATA, "looks like UTF-16", files(a_txt=("abc" * 50).encode("utf-16"))),
    Case(10, "NUL bytes", TEXT, DATA, "got NUL at byte 3", files(a_txt=b"abc\0abc" * 50)),
    Case(10, "gzip", TEXT, DATA, "looks like gzip", files(a_txt=b"\x1f\x8b\x08" + b"x" * 99)),
    Case(10, "zip", TEXT, DATA, "looks like zip", files(a_txt=b"PK\x03\x04" + b"x" * 99)),
    Case(10, "parquet", TEXT, DATA, "looks like parquet", files(a_txt=b"PAR1" + b"x" * 99)),
    Case(
        11,
        "CRLF, a byte order mark, no last line end",
        f"{TEXT} --train.steps 2",
        0,
        "",
        files(a_txt=("\ufeff" + "one two\r\n\u2028" * 50 + "end")),
    ),
    Case(12, "a line of more than a gigabyte", TEXT, DATA, "bytes, got 11", sparse),
    Case(
        13,
        "a ragged table",
        SERIES,
        DATA,
        "got 3; add or remove cells",
        files(a_csv=DAYS + "2020-01-31,1,2\n"),
    ),
    Case(
        13,
        "a quote that is not closed",
        SERIES,
        DATA,
        "cannot be split into cells",
        files(a_csv=DAYS + '2020-01-31,"1\n'),
    ),
    Case(
        13,
        "a column that is not there",
        f"{SERIES} --data.column y",
        DATA,
        "has no column 'y'",
        files(a_csv=DAYS),
    ),
    Case(
        13,
        "a column that is there twice",
        SERIES,
        DATA,
        "has two columns 'x'",
        files(a_csv="x,x\n1,2\n"),
    ),
    Case(
        13,
        "a word among numbers",
        SERIES,
        DATA,
        "line 32, column 'x': 'two'",
        files(a_csv=DAYS + "2020-01-31,two\n"),
    ),
    Case(
        13,
        "an infinite number",
        SERIES,
        DATA,
        "'1e400' is not a finite number",
        files(a_csv=DAYS + "2020-01-31,1e400\n"),
    ),
    Case(14, "a constant column", SERIES, DATA, "is constant", files(a_csv="x\n" + "1\n" * 50)),
    Case(
        14,
        "a column without values",
        SERIES,
        DATA,
        "has no value",
        files(a_csv="date,x\n" + "".join(f"2020-01-{d},\n" for d in range(10, 30))),
    ),
    Case(
        15,
        "a negative token id",
        ROWS,
        DATA,
        "-1",
        arrays(inputs=np.array([[0, -1]] * 8), targets=np.array([0, 1] * 4)),
    ),
    Case(
        15,
        "a token id of 64 bits",
        ROWS,
        DATA,
        "inputs",
        arrays(inputs=np.array([[0, 2**40]] * 8), targets=np.array([0, 1] * 4)),
    ),
    Case(
        15,
        "targets that are complex numbers",
        ROWS,
        DATA,
        "targets must be classes (integers or strings) or values (floats)",
        arrays(inputs=np.ones((8, 3), int), targets=np.array([0.5j, 1] * 4)),
    ),
    Case(
        15,
        "sequences of no steps",
        ROWS,
        DATA,
        "inputs",
        arrays(inputs=np.ones((8, 0), int), targets=np.array([0, 1] * 4)),
    ),
    Case(
        15,
        "an archive without targets",
        ROWS,
        DATA,
        "must have an array 'targets', 'y' or 'labels', got X, labels_",
        arrays(X=np.ones((8, 3)), labels_=np.array([0, 1] * 4)),
    ),
    Case(
        15,
        "a table without a column that distinguishes sequences",
        f"run {VOWELS} --data.path a.csv --out out",
        DATA,
        "must have a column 'id' that distinguishes sequences, got 'day', 'x', 'label'; name one",
        files(a_csv="day,x,label\n1,2,a\n"),
    ),
    Case(
        15,
        "one array in a file",
        f"run {VOWELS} --data.path a.npy --out out",
        DATA,
        "a.npy: holds one array; save inputs and targets together",
    ),
    Case(
        15,
        "an empty dictionary of pronunciations",
        f"run {PRONUNCIATION} --data.path a.dict --out out",
        DATA,
        "a.dict: is empty; give a file with data",
        files(a_dict=""),
    ),
    Case(
        15,
        "a word without a pronunciation",
        f"run {PRONUNCIATION} --data.path a.dict --out out",
        DATA,
        "a.dict, line 2: must have phones behind the word, got only 'dog'; add them",
        files(a_dict="cat K AE T\ndog\n"),
    ),
    Case(
        15,
        "a sentence without a tab and a translation",
        f"run {TRANSLATION} --data.path a.tsv --out out",
        DATA,
        "a.tsv, line 2: must have 2 columns separated by tabs, got 1: 'Come in.'; add a tab",
        files(a_tsv="Go.\tVa !\nCome in.\n"),
    ),
    Case(
        16,
        "a symbol that the model has not seen",
        "sample RUN --prompt a§",
        DATA,
        "got '§' at index 1",
    ),
    Case(
        23,
        "results with conflict markers",
        "compare a.jsonl",
        DATA,
        "line 2, is not JSON",
        files(a_jsonl=f"{RESULT}\n<<<<<<< HEAD\n{RESULT}\n"),
    ),
    Case(
        23,
        "results of another kind",
        "compare a.jsonl",
        DATA,
        "contains no results of runs",
        files(a_jsonl='{"benchmark": "scan"}\n'),
    ),
    Case(28, "pickled objects", ROWS, DATA, "a.npz", pickled),
    Case(
        29,
        "a folder without the files of a data set",
        "data get bike-hourly --from .",
        DATA,
        "has no hour.csv or hour.csv.xz, a part of bike-hourly; name the folder that has it",
        environment={"RNNLAB_DATA": "store"},
    ),
    Case(
        29,
        "a truncated file of a data set",
        "data get bike-hourly --from .",
        DATA,
        "hour.csv must have 1139356 bytes, got 26: it is incomplete; copy it again",
        files(hour_csv="instant,dteday,season,yr\n1,"[:26]),
        environment={"RNNLAB_DATA": "store"},
    ),
]
