"""Bundles of every kind of task: predictions equal those of the model, bit for bit."""

import dataclasses

import numpy as np
import pytest
from flax import nnx
from speech_files import write_wav

import rnnlab
from rnnlab.bundle import Description, Sizes, bundle_model, open_bundle, write_bundle
from rnnlab.bundle.kinds import HEADS, PREPARATIONS, dump_loss, dump_preparation, load_loss
from rnnlab.errors import DataError
from rnnlab.heads import LinearChain, Mixture, NegativeBinomial, Quantiles, StudentT
from rnnlab.models import ModelConfig
from rnnlab.models.parameters import named_parameters
from rnnlab.registry import REGISTRY
from rnnlab.runs.trained_model import TrainedModel
from rnnlab.tasks import (
    Adding,
    Entities,
    Forecasting,
    IrregularRecords,
    Pronunciation,
    Sequences,
    Sessions,
    Sketches,
    Speech,
    SpokenDigits,
    Text,
    Tokens,
    Translation,
)
from rnnlab.tasks.readers.strokes import write_strokes
from rnnlab.tasks.token_files import prepare_token_file

CONFIG = ModelConfig(width=4, depth=1, expansion=1, conv_kernel_size=None, mlp_expansion=None)


def text(folder):
    path = folder / "a.txt"
    path.write_text("abcabcab " * 40)
    return Text(path, length=8, batch_size=2)


def sequences(folder):
    rng = np.random.default_rng(0)
    values = rng.normal(3, 2, (24, 5, 2))
    values[..., 1] = 1.0  # does not vary: its scale is infinite
    path = folder / "a.npz"
    np.savez(path, X=values, y=np.array(["cat", "dog"])[np.arange(24) % 2])
    return Sequences(path, batch_size=4)


def targets(folder):
    rng = np.random.default_rng(0)
    path = folder / "b.npz"
    np.savez(path, X=rng.integers(0, 5, (24, 6)), y=rng.normal(100, 9, (24, 6)))
    return Sequences(path, batch_size=4)


def series(folder):
    dates = np.datetime64("2020-01-01") + np.arange(100)
    values = 5 + np.sin(np.arange(100)) + np.random.default_rng(0).normal(0, 0.1, 100)
    lines = [f"{day},{value!r}" for day, value in zip(dates, values.tolist(), strict=True)]
    path = folder / "a.csv"
    path.write_text("\n".join(["date,sales", *lines]) + "\n")
    return Forecasting(path, horizon=3, season=7, length=20, batch_size=4)


def records(folder):
    lines, rows = ["id,time,variable,value"], ["id,label"]
    for k in range(24):
        lines += [f"p{k},0,age,{30 + k}", f"p{k},0,ward,{k % 2}"]
        lines += [f"p{k},{t},HR,{60 + 20 * (k % 2) + t}" for t in range(1 + k % 4)]
        rows.append(f"p{k},{'ill' if k % 2 else 'healthy'}")
    (folder / "events.csv").write_text("\n".join(lines))
    (folder / "labels.csv").write_text("\n".join(rows))
    tables = {"path": folder / "events.csv", "labels": folder / "labels.csv"}
    return IrregularRecords(**tables, descriptors="age, ward", categories="ward", batch_size=8)


def tokens(folder):
    """A token file by a tokenizer, next to its text."""
    tokenizers = pytest.importorskip("tokenizers")
    path = folder / "a.txt"
    path.write_text("the cat sat on the mat \n" * 20)
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=30)
    tokenizer.train_from_iterator([path.read_text()], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    prepare_token_file([path], folder / "a.tokens", by=str(folder / "tokenizer.json"))
    return Tokens(folder / "a.tokens", length=8, batch_size=2)


def entities(folder):
    rows = ["hr.\tO\nKjeld\tB-PER\nBosen\tI-PER\n", "nu\tO\nsover\tO\n"]
    path = folder / "a.conll"
    path.write_text("\n".join(rows * 20))
    return Entities(path, batch_size=4, word_length=4)


def speech(folder):
    rng, lines = np.random.default_rng(0), ["file\ttext"]
    for k in range(12):
        write_wav(folder / f"{k}.wav", rng.uniform(-0.5, 0.5, 4000))
        lines.append(f"{k}.wav\t{('ja', 'nein')[k % 2]}")
    (folder / "texts.tsv").write_text("\n".join(lines))
    return Speech(folder, batch_size=2)


def digits(folder):
    rng = np.random.default_rng(0)
    for k in range(24):
        write_wav(folder / f"{k % 2}_theo_{k // 2}.wav", rng.uniform(-0.5, 0.5, 2000))
    return SpokenDigits(folder, batch_size=2)


TASKS = {
    task.__name__: task
    for task in (
        *(text, sequences, targets, series, records, tokens, entities),
        *(speech, digits),
    )
}


def sessions(folder):
    rows = [f"{k},{item},{60 * k + t}" for k in range(20) for t, item in enumerate("abc")]
    (folder / "clicks.csv").write_text("\n".join(["session,item,time", *rows]))
    return Sessions(folder / "clicks.csv", batch_size=2)


def drawings(folder):
    square = np.array([[0, 0, 0], [9, 0, 0], [0, 9, 0], [-9, 0, 0], [0, -9, 1]])
    write_strokes(folder / "squares.npz", [square] * 20)
    return Sketches(folder / "squares.npz", components=2, batch_size=4)


def pronunciations(folder):
    words = [f"{a}{b}{c}" for a in "bdkm" for b in "aou" for c in "bdkm"]
    lines = [f"{word} {' '.join(word.upper())}" for word in words]
    (folder / "words.dict").write_text("\n".join(lines) + "\n")
    return Pronunciation(folder / "words.dict", batch_size=4)


def translations(folder):
    pytest.importorskip("sacrebleu")
    lines = [f"I see {k}.\tje vois {k}." for k in range(100, 140)]
    (folder / "pairs.tsv").write_text("\n".join(lines) + "\n")
    return Translation(folder / "pairs.tsv", units="characters", batch_size=4)


PREPARED = (*TASKS.values(), sessions, drawings, pronunciations, translations)
"""Tasks with each kind of preparation. Those not in `TASKS` compare predictions in their tests."""


@pytest.mark.parametrize("make", TASKS.values(), ids=TASKS)
def test_predictions_of_a_bundle_equal_those_of_the_model(make, tmp_path):
    task = make(tmp_path)
    data = task.load(seed=0)
    sizes = dataclasses.asdict(Sizes.of(data))
    model = CONFIG.build(sizes.pop("out_features"), **sizes, rngs=nnx.Rngs(0))
    model.eval()
    trained = TrainedModel(tmp_path, model, data)
    folder = tmp_path / "bundles" / "model"
    bundle = bundle_model(folder, model, CONFIG, data)
    opened = rnnlab.load(folder)
    source = task.path.with_suffix(".txt") if isinstance(task, Tokens) else task.path
    wanted, found = (each.predict(source) for each in (trained, opened))
    assert found.kind == wanted.kind
    assert found.summary == wanted.summary
    for name, column in wanted.columns.items():
        np.testing.assert_array_equal(found.columns[name], column)
    with pytest.raises(DataError, match="got None; pass a file, as in --data"):
        opened.predict()
    assert dump_preparation(bundle.preparation) == dump_preparation(data.preparation)
    assert "/" not in (folder / "bundle.json").read_text().replace(" ", "")


def test_every_preparation_and_head_has_a_round_trip(tmp_path):
    covered = set()
    for k, make in enumerate(PREPARED):
        folder = tmp_path / str(k)
        folder.mkdir()
        covered.add(type(make(folder).load(seed=0).preparation).__name__)
    assert covered == set(PREPARATIONS)
    chain = LinearChain(3, ((0, 2),), constrained_training=True)
    heads = NegativeBinomial(2), Quantiles(2, (0.1, 0.5)), StudentT(3), chain, Mixture(2, 3)
    assert {type(head).__name__ for head in heads} == set(HEADS)
    for head in heads:
        assert load_loss(dump_loss(head), "loss") == head


def test_bundle_of_a_task_that_generates_its_data_has_no_preparation(tmp_path):
    data = Adding(length=4, batch_size=2).load(seed=0)
    model = CONFIG.build(data.out_features, in_features=data.in_features, rngs=nnx.Rngs(0))
    model.eval()
    bundle = bundle_model(tmp_path / "adding", model, CONFIG, data)
    assert (bundle.preparation, bundle.loss) == (None, "squared")
    with pytest.raises(ValueError, match="where a task generates its data, which a bundle does"):
        bundle.trained_model().predict()


CONFIGS = {
    **{name: ModelConfig(name, width=8, depth=1) for name in REGISTRY},
    "mixed": ModelConfig("mingru+lstm", width=8, depth=2, dropout=0.1, readout="attention"),
    "both directions": ModelConfig("minlstm", width=8, depth=1, bidirectional=True, remat=True),
    "learned": ModelConfig("mingru", width=8, depth=1, options={"learn_initial_state": True}),
    "tied": ModelConfig("gru", width=8, depth=1, tie_embeddings=True, dtype="bfloat16"),
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_model_of_a_bundle_has_the_parameters_and_the_program_of_the_model(config, tmp_path):
    model = config.build(5, vocab_size=5, rngs=nnx.Rngs(1))
    model.eval()
    arrays = {name: np.asarray(x) for name, x in named_parameters(model).items()}
    description = Description("m", config, Sizes(5, vocab_size=5), "categorical")
    write_bundle(tmp_path / "m", description, arrays)
    bundle = open_bundle(tmp_path / "m")
    found = bundle.model()
    assert bundle.config == config
    assert nnx.graphdef(found) == nnx.graphdef(model)
    for name, x in named_parameters(found).items():
        np.testing.assert_array_equal(np.asarray(x), arrays[name])
