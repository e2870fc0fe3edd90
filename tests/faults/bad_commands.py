"""Bad commands: wrong flags and settings, runs that cannot be resumed, folders not writable."""

import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from unittest import mock

from faults.cases import CLOSED, FORECAST, Case, files
from faults.harness import LAST_STEP, run_folder
from rnnlab.errors import CHECKPOINT, RESOURCES, USAGE_ERROR
from rnnlab.runs.checkpoints import manifest


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


def later_format(here: Path) -> None:
    """Gives the newest step a valid manifest of a later format."""
    step = here / "run" / "checkpoints" / str(LAST_STEP)
    with mock.patch.object(manifest, "FORMAT", manifest.SHARED_FORMAT + 1):
        manifest.write_manifest(step, {}, {})


def linked(here: Path) -> None:
    """The only steps are links to folders outside the run."""
    steps, outside = here / "run" / "checkpoints", here / "outside"
    steps.rename(outside)
    steps.mkdir()
    for path in outside.iterdir():
        (steps / path.name).symlink_to(path)


CASES = [
    Case(
        1,
        "a mistyped setting",
        "run FILE --train.learnin-rate 1",
        USAGE_ERROR,
        "did you mean --train.learning-rate",
    ),
    Case(1, "a mistyped command", "trian FILE", USAGE_ERROR, "trian"),
    Case(
        1,
        "a mistyped setting in config.json",
        "resume RUN",
        USAGE_ERROR,
        "was_steps is unknown",
        replaced(steps="12"),
    ),
    Case(
        2,
        "a learning rate of NaN",
        "run FILE --train.learning-rate nan",
        USAGE_ERROR,
        "a finite number",
    ),
    Case(
        2,
        "an infinite rate",
        "run FILE --train.learning-rate 1e999",
        USAGE_ERROR,
        "a finite number",
    ),
    Case(
        3,
        "dropout above 1",
        "run FILE --model.dropout 1.5",
        USAGE_ERROR,
        "dropout must be in [0, 1), got 1.5",
    ),
    Case(
        3, "no rows in a batch", "run FILE --data.batch-size 0", USAGE_ERROR, "batch_size must be"
    ),
    Case(3, "no steps in a window", "run FILE --data.length 0", USAGE_ERROR, "length must be"),
    Case(
        3,
        "heads that do not divide the width",
        "run FILE --model.cell transformer --model.heads 3",
        USAGE_ERROR,
        "heads",
    ),
    Case(
        4,
        "a model of terabytes",
        "run FILE --model.width 1000000 --out out",
        RESOURCES,
        "of memory, and",
    ),
    Case(5, "a missing experiment", "run none.py", USAGE_ERROR, "none.py is not a file"),
    Case(5, "a folder for an experiment", "run .", USAGE_ERROR, ". is not a file"),
    Case(5, "an empty experiment", "run a.py", USAGE_ERROR, "must define PRESETS", files(a_py="")),
    Case(
        5,
        "a binary experiment",
        "run a.py",
        USAGE_ERROR,
        "a.py is not a Python file",
        files(a_py=b"\x7fELF\0\0"),
    ),
    Case(
        6,
        "settings that are not JSON",
        "resume RUN",
        USAGE_ERROR,
        "config.json is not JSON",
        edited("config.json", written(b"{'a'")),
    ),
    Case(
        6,
        "settings nested 100,000 deep",
        "resume RUN",
        USAGE_ERROR,
        "config.json is not JSON",
        edited("config.json", written(b"[" * 100_000)),
    ),
    Case(
        6,
        "a setting given twice",
        "resume RUN",
        USAGE_ERROR,
        "the key 'a' occurs twice",
        edited("config.json", written(b'{"a": 1, "a": 2}')),
    ),
    Case(
        6,
        "a setting that is NaN",
        "resume RUN",
        USAGE_ERROR,
        "NaN is not a JSON number",
        edited("config.json", written(b'{"a": NaN}')),
    ),
    Case(
        17,
        "a table that nobody reads",
        "list --folder EXPERIMENTS",
        128 + signal.SIGPIPE,
        "",
        stdout=CLOSED,
    ),
    Case(
        17,
        "a text that nobody reads",
        "sample RUN --prompt a --length 5",
        128 + signal.SIGPIPE,
        "",
        stdout=CLOSED,
    ),
    Case(
        17,
        "a table for a full disk",
        "list --folder EXPERIMENTS",
        RESOURCES,
        "No space left",
        stdout="/dev/full",
    ),
    Case(
        17,
        "a text for a full disk",
        "sample RUN --prompt a --length 5",
        RESOURCES,
        "No space left",
        stdout="/dev/full",
    ),
    Case(18, "a folder without a run", "resume .", CHECKPOINT, "must be a run's directory"),
    Case(
        18,
        "a file for a run",
        "resume a.txt",
        CHECKPOINT,
        "must be a run's directory",
        files(a_txt="abc"),
    ),
    Case(
        18,
        "a run without a checkpoint",
        "sample RUN",
        CHECKPOINT,
        "is missing, and there is no other",
        lambda here: shutil.rmtree(here / "run" / "checkpoints"),
    ),
    Case(
        18,
        "a step that is not there",
        "resume RUN --from-step 7",
        CHECKPOINT,
        f"which are: {LAST_STEP - 2}, {LAST_STEP}",
    ),
    Case(
        18,
        "steps that are links",
        "sample RUN",
        CHECKPOINT,
        "is missing, and there is no other",
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
        USAGE_ERROR,
        "holds a run of other settings",
        lambda here: shutil.copytree(here / "run", run_folder(here / "whole")),
    ),
    Case(
        21,
        "a run's name of 300 characters",
        f"run FILE --out {'x' * 300}",
        USAGE_ERROR,
        "must be 1 to 100 letters",
    ),
    Case(
        21,
        "a run's name that Windows keeps",
        "run FILE --out con",
        USAGE_ERROR,
        "got 'con'",
    ),
    Case(
        21,
        "a run's name with a line end",
        "run FILE --out 'a\nb'",
        USAGE_ERROR,
        "must be 1 to 100 letters",
    ),
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
        24,
        "a negative temperature",
        "sample RUN --prompt a --temperature -1",
        USAGE_ERROR,
        "got -1.0",
    ),
    Case(
        24,
        "more choices than symbols",
        "sample RUN --prompt a --top-k 999",
        USAGE_ERROR,
        "top_k must be in 1 to",
    ),
    Case(
        24,
        "a text without an end",
        "sample RUN --length 1000000000",
        USAGE_ERROR,
        "length must be in 1 to 1,000,000",
    ),
    Case(
        25,
        "a platform that is not there",
        "run FILE --out out",
        USAGE_ERROR,
        "JAX_PLATFORMS",
        environment={"JAX_PLATFORMS": "gpv"},
    ),
    Case(
        26,
        "a package that is not installed",
        f"run {FORECAST} --data.series co2 --out out",
        USAGE_ERROR,
        "pip install 'rnnlab[data]'",
        point="without:statsmodels",
    ),
    Case(
        27, "Ctrl-C", "run FILE --out out", 128 + signal.SIGINT, "stopped by SIGINT", point="data"
    ),
]
