"""Bad inputs to commands that use a trained model, for data sets, searches, jobs and benchmarks."""

import json
import signal

from faults.cases import Case, files
from rnnlab.errors import CHECKPOINT, DATA, USAGE_ERROR


def changed(here):
    """Changes a file of the bundle."""
    with (here / "model" / "card.md").open("a") as file:
        file.write("x")


def truncated(here):
    """Cuts the weights of the bundle in half."""
    path = here / "model" / "model.safetensors"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def links(here):
    """Replaces a file of the bundle by a link to a file outside."""
    path = here / "model" / "card.md"
    path.rename(here / "card.md")
    path.symlink_to(here / "card.md")


STORE = {"RNNLAB_DATA": "store"}
"""A data folder that is empty."""
AUDIT = json.dumps({"event": "start", "previous": "0" * 64}) + "\n"

CASES = [
    Case(30, "a folder without a bundle", "verify .", CHECKPOINT, "must be or contain a run"),
    Case(30, "a bundle with a changed byte", "verify BUNDLE", CHECKPOINT, "card.md has", changed),
    Case(
        30,
        "a bundle with half of its weights",
        "sample BUNDLE",
        CHECKPOINT,
        "model.safetensors",
        truncated,
    ),
    Case(
        30,
        "a link in a bundle",
        "verify BUNDLE",
        CHECKPOINT,
        "must be a regular file, got a link",
        links,
    ),
    Case(
        30,
        "an audit log with a changed record",
        "verify a.jsonl",
        DATA,
        "a.jsonl",
        files(a_jsonl=AUDIT + AUDIT),
    ),
    Case(
        30,
        "parity of a bundle without exported files",
        "verify BUNDLE --parity",
        USAGE_ERROR,
        "must have exported files for --parity",
    ),
    Case(
        31,
        "a folder that is taken",
        "bundle RUN --out taken",
        USAGE_ERROR,
        "taken",
        lambda here: (here / "taken").mkdir(),
    ),
    Case(
        31,
        "a bundle's name with a space",
        "bundle RUN --out 'a b'",
        USAGE_ERROR,
        "must be 1 to 100 letters",
    ),
    Case(
        31,
        "a license for a bundle that is there",
        "bundle BUNDLE --license MIT",
        USAGE_ERROR,
        "can only be signed",
    ),
    Case(32, "predictions without data", "predict BUNDLE", DATA, "pass a file"),
    Case(32, "a missing file of new data", "predict RUN --data.path no.txt", DATA, "no.txt"),
    Case(
        32,
        "a figure's name for predictions",
        "predict RUN --out a.png",
        USAGE_ERROR,
        "give a file that ends in .csv",
    ),
    Case(33, "figures without a text", "inspect BUNDLE", USAGE_ERROR, "pass --text"),
    Case(
        33,
        "a time step after the end",
        "inspect BUNDLE --text fox --time-step 9",
        USAGE_ERROR,
        "time_step must be in 0 to 2",
    ),
    Case(
        34,
        "an unknown format",
        "export BUNDLE --format pdf",
        USAGE_ERROR,
        "'browser', got 'pdf'",
    ),
    Case(34, "a run to export", "export RUN", CHECKPOINT, "must be a bundle"),
    Case(
        34,
        "an unknown input",
        "export BUNDLE --format stablehlo --flags masks",
        USAGE_ERROR,
        "'masks'",
    ),
    Case(
        34,
        "a format whose package is missing",
        "export BUNDLE --format litert",
        USAGE_ERROR,
        "pip install 'rnnlab[litert]'",
        point="without:tensorflow",
    ),
    Case(
        35, "integers of five bits", "quantize BUNDLE --bits 5", USAGE_ERROR, "bits must be one of"
    ),
    Case(
        35,
        "a weight that is not there",
        "quantize BUNDLE --keep heads",
        USAGE_ERROR,
        "must be a part of a weight's name",
    ),
    Case(
        35,
        "training of a bundle without data",
        "quantize BUNDLE --tune-steps 9",
        USAGE_ERROR,
        "name the run of the bundle by --run",
    ),
    Case(
        36,
        "a share above 1",
        "prune RUN --share 1.5",
        USAGE_ERROR,
        "share must be in [0, 1), got 1.5",
    ),
    Case(36, "units without data", "prune BUNDLE", USAGE_ERROR, "--run"),
    Case(
        37,
        "shares that do not add up to 1",
        "serve BUNDLE BUNDLE --split 0.9,0.2",
        USAGE_ERROR,
        "must be 2 positive numbers that add up to 1",
        package="uvicorn",
    ),
    Case(
        37,
        "a port above 65535",
        "serve BUNDLE --port 70000",
        USAGE_ERROR,
        "port must be in 0 to 65535",
        package="uvicorn",
    ),
    Case(
        37,
        "a run to serve",
        "serve RUN --port 0",
        CHECKPOINT,
        "must be a bundle",
        package="uvicorn",
    ),
    Case(
        37,
        "an engine without its file",
        "serve BUNDLE --port 0 --engine onnx",
        USAGE_ERROR,
        "rnnlab export",
        package="uvicorn",
    ),
    Case(
        38,
        "a mistyped data set",
        "data get bike-hourl",
        USAGE_ERROR,
        "did you mean bike-hourly?",
        environment=STORE,
    ),
    Case(38, "no data set", "data get", USAGE_ERROR, "got none", environment=STORE),
    Case(
        38,
        "a data set that is not there",
        "data verify bike-hourly",
        DATA,
        "get it again by",
        environment=STORE,
    ),
    Case(
        40,
        "a search of no setting",
        "search FILE",
        USAGE_ERROR,
        "needs --space SETTING=VALUES",
        package="optuna",
    ),
    Case(
        40,
        "a range from high to low",
        "search FILE --space train.learning_rate=1e-2:1e-4",
        USAGE_ERROR,
        "train.learning_rate",
        package="optuna",
    ),
    Case(
        40,
        "an option of SLURM without a value",
        "launch --slurm account -- run FILE --out out",
        USAGE_ERROR,
        "--slurm must be NAME=VALUE",
        package="submitit",
    ),
    Case(39, "a mistyped benchmark", "bench servin", USAGE_ERROR, "did you mean serving?"),
    Case(39, "a folder that is not there", "list --folder none", USAGE_ERROR, "none"),
    Case(
        27,
        "Ctrl-C while predictions are made",
        "predict RUN",
        128 + signal.SIGINT,
        "written files are complete; repeat the command",
        point="data",
    ),
]
