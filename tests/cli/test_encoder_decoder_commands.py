"""Hypotheses and alignments of an encoder-decoder, of a run and of its bundle."""

import itertools

import jax
import pytest

from rnnlab import Experiment, ModelConfig, Pronunciation, TrainConfig, run
from rnnlab.bundle.run_bundle import bundle_run
from rnnlab.cli import main
from rnnlab.train.callbacks import Reporter

pytest.importorskip("rapidfuzz")

SOUNDS = {"b": "B", "d": "D", "k": "K", "a": "AE", "e": "EH", "o": "AA"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A trained run on words, whose letters are phones."""
    folder = tmp_path_factory.mktemp("words")
    words = map("".join, itertools.product("bdk", "aeo", "bdk"))
    lines = [f"{word} {' '.join(SOUNDS[x] for x in word)}\n" for word in words]
    (folder / "words.dict").write_text("".join(lines))
    experiment = Experiment(
        Pronunciation(folder / "words.dict", batch_size=8),
        ModelConfig(width=8, depth=1, expansion=1, conv_kernel_size=None, mlp_expansion=None),
        TrainConfig(steps=2, eval_every=2),
    )
    # Optax raises integers to powers, which strict promotion forbids.
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        run(folder / "run", experiment, Reporter())
    return folder


def output(capsys, *words):
    assert main.main(list(map(str, words))) == 0
    return capsys.readouterr().out


def test_sample_prints_the_hypotheses_of_a_beam(folder, capsys):
    text = output(capsys, "sample", folder / "run", "--prompt", "Bad", "--beam", 3)
    assert "Generated from: Bad" in text
    scores = [float(line.split("│")[2]) for line in text.splitlines() if line.startswith("│")]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)


def test_inspect_draws_the_alignment(folder, capsys):
    text = output(capsys, "inspect", folder / "run", "--sequence", 1, "--out", folder / "seen")
    assert "Example 1 of the test set. Generated:" in text
    assert "<end>" in text
    assert (folder / "seen" / "alignment.png").stat().st_size > 1000


def test_bundle_of_a_run_prints_and_draws_the_same(folder, capsys):
    bundle_run(folder / "run", folder / "words")
    texts = [
        output(capsys, "sample", folder / name, "--prompt", "dob") for name in ("run", "words")
    ]
    assert texts[0] == texts[1]
    words = ("--text", "dob", "--out", folder / "bundle")
    assert "The given source." in output(capsys, "inspect", folder / "words", *words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("sample", "--prompt", "b4d"), "got '4' in 'b4d'"),
        (("sample", "--perplexity", "bad"), "perplexity must be None"),
        (("inspect", "--text", "bad", "--time-step", "1"), "time_step must be None"),
        (("inspect", "--sequence", "99"), "sequence must be in 0 to"),
    ],
)
def test_option_that_does_not_fit_is_refused(folder, capsys, words, message):
    command, *options = words
    assert main.main([command, str(folder / "run"), *options]) != 0
    assert message in capsys.readouterr().err
