"""Every format of a user's own data: one command trains on it, and one predicts from it."""

import csv
import io
import json

import jax
import numpy as np
import pytest

from rnnlab import Sequences
from rnnlab.cli import main

TINY = (
    *("--model.cell", "mingru", "--model.width", "4", "--model.depth", "1"),
    *("--model.conv-kernel-size", "None", "--model.mlp-expansion", "None"),
    *("--train.steps", "2", "--train.eval-every", "2", "--seeds", "0"),
)
SERIES = ("--data.length", "12", "--data.horizon", "2", "--data.season", "7")
TEXTS = ("--data.length", "8", "--data.batch-size", "4")
RNG = np.random.default_rng(0)
VALUES = (10 + np.arange(90) / 9 + np.sin(np.arange(90)) + RNG.normal(size=90) / 9).round(3)
DAYS = np.datetime64("2024-01-01") + np.arange(90)
VERSE = "one two three four five six seven\n" * 12
LABELS = np.array(["cat", "dog"] * 12)
EXAMPLES = RNG.normal(size=(24, 6, 2)) + (LABELS == "dog")[:, None, None]
STEPS_OF = np.repeat(np.arange(24), 6)


def table(header, *columns, delimiter=","):
    lines = [header, *zip(*columns, strict=True)]
    return "\n".join(delimiter.join(map(str, line)) for line in lines) + "\n"


def comma(values):
    return [str(x).replace(".", ",") for x in values]


def write_folder(folder):
    (folder / "texts").mkdir()
    for k in range(3):
        (folder / "texts" / f"{k}.txt").write_text(f"Text {k}\n{VERSE}")
    return folder / "texts"


def write_glob(folder):
    return write_folder(folder) / "*.txt"


def write_json_lines(folder):
    lines = [json.dumps({"id": k, "body": VERSE}) for k in range(3)]
    return put(folder / "texts.jsonl", "\n".join(lines))


def put(path, content):
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content, encoding="utf-8")
    return path


def npz(folder, **arrays):
    np.savez(folder / "examples.npz", **arrays)
    return folder / "examples.npz"


def parquet(folder):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    pandas.DataFrame({"day": DAYS, "x": VALUES}).to_parquet(folder / "a.parquet")
    return folder / "a.parquet"


def panel(folder):
    store = ["north"] * 90 + ["south"] * 90
    days, values = [*DAYS, *DAYS], [*VALUES, *(3 * VALUES)]
    return put(folder / "a.csv", table(("store", "day", "x"), store, days, values))


def reviews(folder, count=24):
    """Texts and their sentiment, converted as the guide on own data shows."""
    rng = np.random.default_rng(1)
    kinds = {"good": ("liked", "great", "lovely"), "bad": ("hated", "dull", "awful")}
    rows = [("good", "bad")[k % 2] for k in range(count)]
    texts = [f"we {rng.choice(kinds[kind])} it on day {rng.choice(VERSE.split())}" for kind in rows]
    X = [np.frombuffer(text.encode(), np.uint8) for text in texts]
    Sequences.from_arrays(X, rows, path=folder / "reviews.npz")
    return folder / "reviews.npz"


def tagged(folder):
    rows = ["hr.\tO\nKjeld\tB-PER\nBosen\tI-PER\n", "nu\tO\nsover\tO\n"]
    return put(folder / "a.conll", "\n".join(rows * 20))


SENTIMENT = (
    *("--data.batching", "bucket", "--model.bidirectional", "True"),
    *("--model.readout", "mean"),
)
STEPS = np.arange(90) % 2
MULTIVARIATE = table(("day", "x", "y", "z"), DAYS, VALUES, VALUES[::-1], STEPS)
US_DATES = [f"{d.month}/{d.day}/{d.year}" for d in DAYS.tolist()]

FORMATS = {
    "folder of texts": ("char_lm", write_folder, TEXTS, "symbol"),
    "pattern of texts": ("char_lm", write_glob, TEXTS, "symbol"),
    "JSON Lines": ("char_lm", write_json_lines, (*TEXTS, "--data.field", "body"), "symbol"),
    "bytes of any file": (
        "char_lm",
        lambda folder: put(folder / "sound.wav", bytes(range(256)) * 4),
        (*TEXTS, "--data.token", "byte"),
        "symbol",
    ),
    "tabs": (
        "forecasting",
        lambda folder: put(folder / "a.tsv", table(("day", "x"), DAYS, VALUES, delimiter="\t")),
        SERIES,
        "forecast",
    ),
    "semicolons and decimal commas": (
        "forecasting",
        lambda folder: put(
            folder / "a.csv", table(("day", "x"), DAYS, comma(VALUES), delimiter=";")
        ),
        SERIES,
        "forecast",
    ),
    "dates of the United States": (
        "forecasting",
        lambda folder: put(folder / "a.csv", table(("day", "x"), US_DATES, VALUES)),
        SERIES,
        "forecast",
    ),
    "several columns": (
        "forecasting",
        lambda folder: put(folder / "a.csv", MULTIVARIATE),
        (*SERIES, "--data.column", "x,y", "--data.covariates", "z"),
        "column",
    ),
    "known covariates": (
        "forecasting",
        lambda folder: put(folder / "a.csv", MULTIVARIATE),
        (*SERIES, "--data.column", "x", "--data.known-covariates", "z"),
        "forecast",
    ),
    "panel": ("forecasting", panel, (*SERIES, "--data.series-id", "store"), "series"),
    "Parquet": ("forecasting", parquet, SERIES, "forecast"),
    "X and y with labels that are strings": (
        "vowels",
        lambda folder: npz(folder, X=EXAMPLES, y=LABELS),
        (),
        "p(cat)",
    ),
    "one value per sequence": (
        "vowels",
        lambda folder: npz(folder, X=EXAMPLES, y=EXAMPLES.mean(axis=(1, 2))),
        (),
        "predicted",
    ),
    "a tag per time step": (
        "vowels",
        lambda folder: npz(folder, X=EXAMPLES, y=np.repeat(LABELS[:, None], 6, axis=1)),
        (),
        "step",
    ),
    "tokens": (
        "vowels",
        lambda folder: npz(folder, X=(EXAMPLES[..., 0] > 0).astype(int), y=LABELS),
        (),
        "p(dog)",
    ),
    "texts with a class": ("vowels", reviews, SENTIMENT, "p(good)"),
    "a tag per word": ("entities", tagged, (), "p(B-PER)"),
    "table of labelled sequences, one row per time step": (
        "vowels",
        lambda folder: put(
            folder / "a.csv",
            table(("trial", "x", "kind"), STEPS_OF, EXAMPLES[..., 0].ravel(), LABELS[STEPS_OF]),
        ),
        ("--data.id", "trial", "--data.label", "kind"),
        "p(cat)",
    ),
    "table of labelled sequences, one row per sequence": (
        "vowels",
        lambda folder: put(folder / "a.csv", table(("a", "b", "label"), *EXAMPLES[:, 0].T, LABELS)),
        ("--data.id", "None"),
        "p(cat)",
    ),
}
EVERYDAY = {"JSON Lines", "panel", "a tag per word", "X and y with labels that are strings"}


@pytest.mark.usefixtures("implicit_promotion")
@pytest.mark.parametrize(
    "name",
    [name if name in EVERYDAY else pytest.param(name, marks=pytest.mark.slow) for name in FORMATS],
)
def test_own_data_is_trained_on_and_predicted_from_by_one_command_each(name, tmp_path, capsys):
    experiment, write, options, column = FORMATS[name]
    path = str(write(tmp_path))
    out = tmp_path / "runs"
    jax.config.update("jax_disable_most_optimizations", True)
    command = ["run", f"experiments/training/{experiment}.py", "--data.path", path]
    assert main.main([*command, *options, *TINY, "--out", str(out)]) == 0
    for words in ([], ["--data.path", path]):
        table = tmp_path / "predictions.csv"
        assert main.main(["predict", str(out), *words, "--out", str(table)]) == 0
        rows = list(csv.DictReader(io.StringIO(table.read_text())))
        assert rows
        assert column in rows[0]
    jax.config.update("jax_disable_most_optimizations", False)
    capsys.readouterr()


@pytest.mark.slow
@pytest.mark.usefixtures("implicit_promotion")
def test_sentiment_of_texts_is_learned_by_the_documented_command(tmp_path, capsys):
    path, out = str(reviews(tmp_path, 240)), str(tmp_path / "runs")
    command = ["run", "experiments/training/vowels.py", "--data.path", path, *SENTIMENT]
    sizes = ("--model.width", "16", "--model.depth", "1", "--model.cell", "mingru")
    training = ("--train.steps", "120", "--train.eval-every", "60", "--seeds", "0")
    assert main.main([*command, *sizes, *training, "--out", out]) == 0
    (result,) = map(json.loads, (tmp_path / "runs" / "results.jsonl").read_text().splitlines())
    assert result["metrics"]["test"]["accuracy"] > 0.9
    capsys.readouterr()


@pytest.mark.parametrize(
    ("experiment", "name", "content", "advice"),
    [
        ("char_lm", "latin1.txt", "Grün".encode("latin-1") * 99, "byte"),
        ("char_lm", "a.jsonl", '{"a": "x", "b": "y"}\n' * 99, "field"),
        ("forecasting", "a.csv", table(("date", "x", "y"), DAYS, VALUES, VALUES), "choose one or"),
        ("forecasting", "a.csv", table(("date", "x"), ["01/02/2020"] * 2, [1, 2]), "date_format"),
        ("vowels", "a.npy", b"\x93NUMPY", "npz"),
        ("vowels", "a.wav", b"RIFF", "npz"),
        ("vowels", "a.npz", b"PK\x03\x04", "numpy.savez"),
    ],
)
def test_own_data_that_cannot_be_read_is_one_line_with_advice(
    experiment, name, content, advice, tmp_path, capsys
):
    path = put(tmp_path / name, content)
    command = ["run", f"experiments/training/{experiment}.py", "--data.path", str(path)]
    assert main.main([*command, "--out", str(tmp_path / "runs")]) == 3
    (line,) = capsys.readouterr().err.splitlines()
    assert name in line
    assert advice in line
    assert not (tmp_path / "runs").exists()
