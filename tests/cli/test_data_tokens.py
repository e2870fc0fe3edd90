"""`rnnlab data tokens` and what follows: a run, samples, predictions and a bundle of it."""

import random

import pytest

from rnnlab import errors
from rnnlab.cli import main
from rnnlab.tasks.token_files import writing

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")

TINY = (
    *("--model.cell", "mingru", "--model.width", "4", "--model.depth", "1"),
    *("--model.conv-kernel-size", "None", "--model.mlp-expansion", "None"),
    *("--train.steps", "2", "--train.eval-every", "2", "--data.length", "8"),
)


@pytest.fixture
def text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "story.txt"
    path.write_text("".join(random.Random(0).choices("abcdefgh The", k=2000)))
    return path


def stdout_of(words, capsys):
    """What a command prints, which must succeed."""
    assert main.main(words) == 0
    return capsys.readouterr().out


def refused(words, capsys, code):
    """The one line on stderr of a command that fails with a code."""
    assert main.main(words) == code
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line.removeprefix("rnnlab: error: ")


def test_tokens_are_prepared_trained_on_sampled_and_bundled(text, capsys):
    printed = stdout_of(["data", "tokens", "story.txt", "--out", "story.tokens"], capsys)
    assert "story.tokens: 2,000 characters (uint8) in 1 document, 10 ids, 0.0 MB." in printed
    assert "`rnnlab run char_lm --data Tokens --data.path story.tokens`" in printed
    run = ["run", "char_lm", "--data", "Tokens", "--data.path", "story.tokens", "--out", "run"]
    printed = stdout_of([*run, *TINY, "--data.order", "epoch"], capsys)
    assert "bigram" in printed
    for folder in ("run", "model"):
        sample = ["sample", folder, "--length", "5", "--seed", "1", "--prompt", "The"]
        printed = stdout_of(sample, capsys)
        assert printed.startswith("The")
        assert len(printed) == 9
        predict = ["predict", folder, "--data.path", "story.txt", "--out", f"{folder}.csv"]
        assert "1,999 symbols" in stdout_of(predict, capsys)
        if folder == "run":
            stdout_of(["predict", "run", "--out", "test.csv"], capsys)
            stdout_of(["bundle", "run", "--out", "model"], capsys)
    changed = text.parent / "story.tokens"
    content = changed.read_bytes()
    changed.write_bytes(content[:-100] + b"\1\1" + content[-98:])
    line = refused(["predict", "run"], capsys, errors.DATA)
    assert "it was changed; prepare it again" in line


def test_verify_compares_token_files_with_their_digest(text, capsys):
    stdout_of(["data", "tokens", "story.txt", "--out", "a.tokens", "--by", "bytes"], capsys)
    printed = stdout_of(["data", "verify", "a.tokens"], capsys)
    assert "a.tokens: 2,000 bytes (uint8) in 1 document, 256 ids, 0.0 MB, valid." in printed
    (text.parent / "a.tokens").write_bytes((text.parent / "a.tokens").read_bytes()[:-9])
    assert "it is truncated" in refused(["data", "verify", "a.tokens"], capsys, errors.DATA)
    assert "No such file" in refused(["data", "verify", "b.tokens"], capsys, errors.DATA)


@pytest.mark.usefixtures("text")
def test_wrong_arguments_of_tokens_are_one_line(capsys):
    line = refused(["data", "tokens", "no.txt", "--out", "a.tokens"], capsys, errors.DATA)
    assert line == "no.txt: does not exist; give a file\n"
    words = ["data", "tokens", "story.txt", "--out", "story.txt"]
    assert "story.txt must not exist" in refused(words, capsys, errors.USAGE_ERROR)
    words = ["data", "tokens", "story.txt", "--out", "story.txt/a.tokens"]
    assert "could not be written" in refused(words, capsys, errors.RESOURCES)
    words = ["run", "char_lm", "--data", "Tokens", "--data.path", "story.txt"]
    assert "is not a token file; prepare it by" in refused(words, capsys, errors.DATA)


@pytest.mark.usefixtures("text")
def test_interrupted_preparation_leaves_no_file(tmp_path, capsys, monkeypatch):
    def interrupted(header, encoded, *rest):
        next(iter(encoded))
        raise KeyboardInterrupt

    monkeypatch.setattr(writing, "_write_payload", interrupted)
    assert main.main(["data", "tokens", "story.txt", "--out", "a.tokens"]) == 130
    assert "interrupted" in capsys.readouterr().err
    assert [x.name for x in tmp_path.iterdir()] == ["story.txt"]
