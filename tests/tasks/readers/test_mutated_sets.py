"""Mutated files of known formats are read, or are an error of one line: never a traceback."""

import io
import json
import lzma
import random
import tarfile

import numpy as np
import pytest
from reader_files import assert_read_or_refused, outcome

from rnnlab.tasks.readers.ecg import read_ecg
from rnnlab.tasks.readers.events import read_events
from rnnlab.tasks.readers.icu import read_outcomes, read_stays
from rnnlab.tasks.readers.nab import WINDOWS, read_nab
from rnnlab.tasks.readers.sessions import read_sessions
from rnnlab.tasks.readers.strokes import read_strokes, write_strokes
from rnnlab.tasks.readers.turbofan import read_engines
from rnnlab.tasks.readers.wfdb import read_annotations, read_wfdb
from rnnlab.tasks.readers.wide import read_wide_series

TABLE = b"id,time,variable,value\n1,00:30,HR,80\n1,01:00,pH,7.4\n2,2:00,HR,-1e2\n"
OUTCOMES = b"RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n1,-1,8,8,-1,0\n"
STAY = b"Time,Parameter,Value\n00:00,RecordID,7\n00:00,Age,54\n00:07,HR,73\n47:37,pH,7.4\n"
ENGINES = b"".join(b"1 %d" % k + b" 1.5" * 24 + b" \n" for k in (1, 2))
SERIES = b"timestamp,value\n2014-04-01 00:00:00,1.5\n2014-04-01 00:05:00,2\n"
SPANS = json.dumps({"a.csv": [["2014-04-01 00:00:00.0", "2014-04-01 00:02:00.0"]]}).encode()
HEADER = b"100 1 360 2\n100.dat 212 200 11 1024 995 -22131 0 MLII\n"
ANNOTATIONS = bytes([18, 112, 2, 252, 40, 78, 59, 4, 0, 236, 1, 0, 112, 17, 3, 20, 0, 0])


SESSIONS = b"session,item,time,action\n1,a,2014-04-07T10:51:09.5Z,buy\n1,b,2014-04-08,\n"


def strokes():
    file = io.BytesIO()
    write_strokes(file, [np.array([[3, 4, 0], [-2, 1, 1]], np.int16)] * 2)
    return file.getvalue()


def packed(files):
    """A tar archive of files, compressed with xz."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w") as made:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
    return lzma.compress(file.getvalue(), preset=0)


def arrays():
    file = io.BytesIO()
    values = {"signal": np.arange(3, dtype=np.int16), "sample": [18], "code": [1], "lead": "MLII"}
    np.savez(file, **{f"{name}_100": np.asarray(value) for name, value in values.items()})
    return file.getvalue()


@pytest.mark.parametrize(
    ("read", "raw", "name"),
    [
        (read_events, TABLE, "a.csv"),
        (read_outcomes, OUTCOMES, "a.txt"),
        (read_stays, STAY, "7.txt"),
        (read_stays, packed({"set/7.txt": STAY}), "set.tar.xz"),
        (read_engines, ENGINES, "a.txt"),
        (read_wide_series, b'"V1","V2","V3"\n"H1","605","586"\n"H2","3",""\n', "a.csv"),
        (read_nab, SERIES, "data/a.csv"),
        (read_nab, SPANS, WINDOWS),
        (read_nab, packed({"data/a.csv": SERIES, WINDOWS: SPANS}), "nab.tar.xz"),
        (read_wfdb, HEADER, "100.hea"),
        (read_annotations, ANNOTATIONS, "100.atr"),
        (read_ecg, arrays(), "a.npz"),
        (read_sessions, SESSIONS, "a.csv"),
        (read_strokes, strokes(), "a.npz"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_mutated_file_is_read_or_is_an_error_of_one_line(tmp_path, read, raw, name):
    contents = {"data/a.csv": SERIES, WINDOWS: SPANS} if read is read_nab else {}
    for other, content in (contents | {"100.dat": bytes([0xE3, 0x33, 0xF3])}).items():
        (tmp_path / other).parent.mkdir(exist_ok=True)
        (tmp_path / other).write_bytes(content)
    is_folder = read in (read_stays, read_nab) and not name.endswith(".xz")
    rng, messages = (
        random.Random(0),
        [outcome(_write_and_read, tmp_path, name, raw, read, is_folder)],
    )
    for _ in range(150):
        mutated = bytearray(raw)
        for _ in range(rng.randrange(1, 4)):
            position = rng.randrange(len(mutated))
            if rng.random() < 0.2:
                del mutated[position : position + rng.randrange(1, 9)]
                mutated += b"1"
            else:
                choices = b',;:\n"x.-09e\0\xe9[]{ ' if rng.random() < 0.8 else range(256)
                mutated[position] = rng.choice(choices)
        messages.append(outcome(_write_and_read, tmp_path, name, bytes(mutated), read, is_folder))
    assert messages[0] == ""
    assert_read_or_refused(messages)


def _write_and_read(folder, name, raw, read, is_folder):
    (folder / name).write_bytes(raw)
    read(folder if is_folder else folder / name)
