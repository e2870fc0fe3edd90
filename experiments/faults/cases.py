"""The list of bad inputs: how each is made, and the exit code and line that are promised for it."""

import json
import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from faults.lab import LAST
from rnnlab.errors import CHECKPOINT, DATA, RESOURCES, USAGE
from rnnlab.train import integrity

FORECAST = str(Path(__file__).parents[1] / "forecasting.py")
VOWELS = str(Path(__file__).parents[1] / "vowels.py")


@dataclass(frozen=True)
class Case:
    """One bad input.

    Attributes:
      number: of its group; a group may have several.
      what: in a few words.
      arguments: of `rnnlab`; FILE is the experiment, RUN a copy of a finished run.
      code: the exit code that is promised.
      says: a part of the line that is promised; empty where nothing is said.
      prepare: makes files in the working folder, where RUN is `run`.
      stage: of `stages.py`.
      environment: variables of the process.
    """

    number: int
    what: str
    arguments: str
    code: int
    says: str
    prepare: Callable[[Path], None] = lambda here: None
    stage: str = ""
    environment: dict[str, str] = field(default_factory=dict)


def files(**contents: bytes | str) -> Callable[[Path], None]:
    """Makes files by name; `_` stands for the dot."""

    def prepare(here: Path) -> None:
        for name, content in contents.items():
            raw = content.encode() if isinstance(content, str) else content
            (here / name.replace("_", ".")).write_bytes(raw)

    return prepare


def arrays(**values: np.ndarray) -> Callable[[Path], None]:
    """Makes `a.npz`."""
    return lambda here: np.savez(here / "a.npz", **values)


def edited(name: str, edit: Callable[[Path], None]) -> Callable[[Path], None]:
    """Edits a file of the run."""
    return lambda here: edit(here / "run" / name)


def replaced(**words: str) -> Callable[[Path], None]:
    """Replaces words in the run's settings."""

    def edit(path: Path) -> None:
        text = path.read_text(encoding="utf-8")
        for old, new in words.items():
            assert f'"{old}": ' in text
            text = text.replace(f'"{old}": ', f'"{old}": {new}, "was_{old}": ')
        path.write_text(text, encoding="utf-8")

    return edited("config.json", edit)


def width(value: int) -> Callable[[Path], None]:
    """Gives the run's settings another width."""

    def edit(path: Path) -> None:
        settings = json.loads(path.read_text(encoding="utf-8"))
        settings["model"]["width"] = value
        path.write_text(json.dumps(settings), encoding="utf-8")

    return edited("config.json", edit)


def written(text: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(text) and None


def sparse(here: Path) -> None:
    """A file of one line of more than a gigabyte, which takes no room."""
    with (here / "a.txt").open("wb") as file:
        file.truncate(1100 << 20)


def pickled(here: Path) -> None:
    """An array of objects, which only pickle could read; reading it would make `canary`."""

    class Canary:
        def __reduce__(self):
            return os.mkdir, (str(here / "canary"),)

    rows = np.array([Canary(), Canary()], object)
    np.savez(here / "a.npz", inputs=rows, targets=rows)


def later_format(here: Path) -> None:
    path = here / "run" / "checkpoints" / str(LAST) / integrity.NAME
    body = json.loads(path.read_text(encoding="utf-8"))
    body.pop("sha256")
    body["format"] += 1
    path.write_text(json.dumps({"sha256": integrity._body_digest(body), **body}), encoding="utf-8")


def linked(here: Path) -> None:
    """The only steps are links to folders outside the run."""
    steps, outside = here / "run" / "checkpoints", here / "outside"
    steps.rename(outside)
    steps.mkdir()
    for path in outside.iterdir():
        (steps / path.name).symlink_to(path)


TEXT = "run FILE --data.path a.txt --out out"
SERIES = (
    f"run {FORECAST} --data.path a.csv --data.season 2 --data.length 4 --data.horizon 1 --out out"
)
ROWS = f"run {VOWELS} --data.path a.npz --out out"
DAYS = "date,x\n" + "\n".join(f"2020-01-{day:02d},{day % 5}" for day in range(1, 31)) + "\n"
RESULT = json.dumps({"varied": {}, "curve": []})

CASES = [
    Case(
        1,
        "a mistyped setting",
        "run FILE --train.learnin-rate 1",
        USAGE,
        "did you mean --train.learning-rate",
    ),
    Case(1, "a mistyped command", "trian FILE", USAGE, "trian"),
    Case(
        1,
        "a mistyped setting in config.json",
        "resume RUN",
        USAGE,
        "was_steps is unknown",
        replaced(steps="12"),
    ),
    Case(
        2,
        "a rate that is no number",
        "run FILE --train.learning-rate nan",
        USAGE,
        "a finite number",
    ),
    Case(2, "an infinite rate", "run FILE --train.learning-rate 1e999", USAGE, "a finite number"),
    Case(2, "a negative rate", "run FILE --train.learning-rate -1", USAGE, "learning_rate is -1.0"),
    Case(2, "no steps", "run FILE --train.steps 0", USAGE, "steps is 0"),
    Case(2, "steps as 1e6", "run FILE --train.steps 1e6", USAGE, "a whole number"),
    Case(2, "steps as 1_0", "run FILE --train.steps 1_0", USAGE, "a whole number"),
    Case(
        2, "steps in Arabic digits", "run FILE --train.steps \u0661\u0660", USAGE, "a whole number"
    ),
    Case(3, "dropout above 1", "run FILE --model.dropout 1.5", USAGE, "dropout is 1.5"),
    Case(3, "no rows in a batch", "run FILE --data.batch-size 0", USAGE, "batch_size is 0"),
    Case(3, "no steps in a window", "run FILE --data.length 0", USAGE, "length is 0"),
    Case(
        3,
        "heads that do not divide the width",
        "run FILE --model.cell transformer --model.heads 3",
        USAGE,
        "heads",
    ),
    Case(
        4,
        "a model of terabytes",
        "run FILE --model.width 1000000 --out out",
        RESOURCES,
        "of memory, and",
    ),
    Case(5, "no such experiment", "run none.py", USAGE, "none.py is no file"),
    Case(5, "a folder for an experiment", "run .", USAGE, ". is no file"),
    Case(5, "an empty experiment", "run a.py", USAGE, "has no PRESETS", files(a_py="")),
    Case(
        5,
        "a binary experiment",
        "run a.py",
        USAGE,
        "a.py is no Python file",
        files(a_py=b"\x7fELF\0\0"),
    ),
    Case(
        6,
        "settings that are no JSON",
        "resume RUN",
        USAGE,
        "config.json is not JSON",
        edited("config.json", written(b"{'a'")),
    ),
    Case(
        6,
        "settings nested 100,000 deep",
        "resume RUN",
        USAGE,
        "config.json is not JSON",
        edited("config.json", written(b"[" * 100_000)),
    ),
    Case(
        6,
        "a setting given twice",
        "resume RUN",
        USAGE,
        "'a' is there twice",
        edited("config.json", written(b'{"a": 1, "a": 2}')),
    ),
    Case(
        6,
        "a setting that is NaN",
        "resume RUN",
        USAGE,
        "NaN is no number",
        edited("config.json", written(b'{"a": NaN}')),
    ),
    Case(7, "no such text", TEXT, DATA, "a.txt: cannot be read: No such file"),
    Case(
        7,
        "a folder for a text",
        TEXT,
        DATA,
        "a.txt: is a folder",
        lambda here: (here / "a.txt").mkdir(),
    ),
    Case(7, "an empty text", TEXT, DATA, "a.txt: is empty", files(a_txt="")),
    Case(7, "a text of blank lines", TEXT, DATA, "a.txt: has no text", files(a_txt="\n\n \n")),
    Case(8, "a text shorter than a window", TEXT, DATA, "has 5 symbols", files(a_txt="abcde")),
    Case(
        8,
        "nothing held out",
        f"{TEXT} --data.heldout 0",
        USAGE,
        "heldout is 0.0",
        files(a_txt="abc" * 100),
    ),
    Case(
        8,
        "a series shorter than a window",
        f"{SERIES} --data.length 40",
        DATA,
        "are needed there",
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
    Case(10, "NUL bytes", TEXT, DATA, "NUL at byte 3", files(a_txt=b"abc\0abc" * 50)),
    Case(10, "gzip", TEXT, DATA, "looks like gzip", files(a_txt=b"\x1f\x8b\x08" + b"x" * 99)),
    Case(10, "zip", TEXT, DATA, "looks like zip", files(a_txt=b"PK\x03\x04" + b"x" * 99)),
    Case(10, "parquet", TEXT, DATA, "looks like parquet", files(a_txt=b"PAR1" + b"x" * 99)),
    Case(
        11,
        "CRLF, a byte order mark, no last line end",
        TEXT,
        0,
        "",
        files(a_txt=("\ufeff" + "one two\r\n\u2028" * 50 + "end")),
    ),
    Case(12, "a line of more than a gigabyte", TEXT, DATA, "bytes; at most", sparse),
    Case(13, "a ragged table", SERIES, DATA, "has 3 cells", files(a_csv=DAYS + "2020-01-31,1,2\n")),
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
        "column 'x' is there twice",
        files(a_csv="x,x\n1,2\n"),
    ),
    Case(
        13,
        "a word among numbers",
        SERIES,
        DATA,
        "row 32, column 'x': 'two'",
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
        "targets that are no whole numbers",
        ROWS,
        DATA,
        "targets",
        arrays(inputs=np.ones((8, 3), int), targets=np.array([0.5, 1] * 4)),
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
        16, "a symbol that the model has not seen", "sample RUN --prompt a§", DATA, "'§' at place 1"
    ),
    Case(17, "output that nobody reads", "list --folder EXPERIMENTS", 128 + signal.SIGPIPE, ""),
    Case(18, "a folder without a run", "resume .", CHECKPOINT, "holds no run"),
    Case(18, "a file for a run", "resume a.txt", CHECKPOINT, "holds no run", files(a_txt="abc")),
    Case(
        18,
        "a run without a checkpoint",
        "sample RUN",
        CHECKPOINT,
        "is missing, and so is every other",
        lambda here: shutil.rmtree(here / "run" / "checkpoints"),
    ),
    Case(
        18,
        "a step that is not there",
        "resume RUN --from-step 7",
        CHECKPOINT,
        f"its steps are: {LAST - 2}, {LAST}",
    ),
    Case(
        18,
        "steps that are links",
        "sample RUN",
        CHECKPOINT,
        "is missing, and so is every other",
        linked,
    ),
    Case(
        19,
        "a checkpoint of another model",
        "sample RUN",
        CHECKPOINT,
        "more; use the settings",
        width(24),
    ),
    Case(
        19,
        "a checkpoint of a later rnnlab",
        "sample RUN --strict",
        CHECKPOINT,
        "of a later rnnlab",
        later_format,
    ),
    Case(
        20,
        "a folder with another run",
        "run FILE --train.steps 3 --out whole",
        USAGE,
        "holds a run of other settings",
        lambda here: shutil.copytree(here / "run", here / "whole" / "cell=mingru,seed=0"),
    ),
    Case(21, "a run's name of 300 characters", f"run FILE --out {'x' * 300}", USAGE, "is refused"),
    Case(
        21,
        "a run's name that Windows keeps",
        "run FILE --out con",
        USAGE,
        "'con' of a run's folder is refused",
    ),
    Case(21, "a run's name with a line end", "run FILE --out 'a\nb'", USAGE, "is refused"),
    Case(
        22,
        "a file in place of the folder",
        "run FILE --out a.txt",
        RESOURCES,
        "a.txt",
        files(a_txt="abc"),
    ),
    Case(22, "a folder that cannot be made", "run FILE --out /proc/runs", RESOURCES, "/proc"),
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
        "holds no results of runs",
        files(a_jsonl='{"benchmark": "scan"}\n'),
    ),
    Case(
        24,
        "a negative temperature",
        "sample RUN --prompt a --temperature -1",
        USAGE,
        "temperature is -1.0",
    ),
    Case(
        24, "more choices than symbols", "sample RUN --prompt a --top-k 999", USAGE, "top_k is 999"
    ),
    Case(
        24, "a text without an end", "sample RUN --length 1000000000", USAGE, "length is 1000000000"
    ),
    Case(
        25,
        "a platform that is not there",
        "run FILE --out out",
        USAGE,
        "JAX_PLATFORMS",
        environment={"JAX_PLATFORMS": "gpv"},
    ),
    Case(
        26,
        "a package that is not installed",
        f"run {FORECAST} --data.series co2 --out out",
        USAGE,
        "pip install 'rnnlab[data]'",
        stage="without:statsmodels",
    ),
    Case(
        27, "Ctrl-C", "run FILE --out out", 128 + signal.SIGINT, "stopped by SIGINT", stage="data"
    ),
    Case(28, "pickled objects", ROWS, DATA, "a.npz", pickled),
]
