"""`rnnlab sample`: text in parts, several prompts, the perplexity of a text."""

import re

import numpy as np
import pytest

from rnnlab import errors
from rnnlab.cli import main, sample
from rnnlab.cli.text_stream import TextStream
from rnnlab.tasks.text_preparation import TextPreparation


def output(capsys, *words):
    assert main.main(list(map(str, words))) == 0
    return capsys.readouterr().out


def test_sample_prints_parts_as_they_are_generated(trained_run, capsys, monkeypatch):
    whole = output(capsys, "sample", trained_run, "--prompt", "ab", "--length", "40")
    assert whole.startswith("ab")
    assert len(whole) == 43
    seen, make = [], sample.generate_chunks

    def watched(*arguments, **options):
        for tokens in make(*arguments, **options):
            yield tokens
            seen.append(capsys.readouterr().out)

    monkeypatch.setattr(sample, "generate_chunks", watched)
    last = output(capsys, "sample", trained_run, "--prompt", "ab", "--length", "40")
    assert [len(part) for part in seen] == [18, 16, 8]
    assert "".join(seen) + last == whole


def test_sample_continues_several_prompts_of_a_file(trained_run, capsys, tmp_path):
    file = tmp_path / "prompts.txt"
    file.write_text("abc\n\nb\n")
    options = ("--length", "6", "--temperature", "0", "--top-p", "0.9")
    text = output(capsys, "sample", trained_run, "--prompts", file, *options)
    separate = [
        output(capsys, "sample", trained_run, "--prompt", p, *options) for p in ("abc", "b")
    ]
    assert text == f"--- 1 of 2 ---\n{separate[0]}--- 2 of 2 ---\n{separate[1]}"
    file.write_text("\n \n")
    assert main.main(["sample", str(trained_run), "--prompts", str(file)]) == errors.DATA


def test_sample_reports_the_perplexity_of_a_text_or_a_file(trained_run, capsys, tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("abc abc\n".strip())
    said = output(capsys, "sample", trained_run, "--perplexity", "abc abc")
    assert said == output(capsys, "sample", trained_run, "--perplexity", file)
    perplexity, nats, bits = map(float, re.findall(r"\d+\.\d+", said))
    np.testing.assert_allclose(np.log(perplexity), nats, atol=1e-3)
    np.testing.assert_allclose(nats / np.log(2), bits, atol=1e-3)
    assert "6 tokens, 6 characters" in said
    assert main.main(["sample", str(trained_run), "--perplexity", "missing.txt"]) == errors.DATA
    assert "must be a text or an existing file" in capsys.readouterr().err


def test_text_stream_of_a_tokenizer_waits_for_whole_characters():
    tokenizers = pytest.importorskip("tokenizers")
    from rnnlab.tasks.tokenizer_preparation import TokenizerPreparation

    made = tokenizers.Tokenizer(tokenizers.models.BPE())
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    alphabet = tokenizers.pre_tokenizers.ByteLevel.alphabet()
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=260, initial_alphabet=alphabet)
    made.train_from_iterator(["a b a b"], trainer)
    preparation = TokenizerPreparation((), 4, 1, tokenizer=made.to_str())
    ids = preparation.encode("a é b").tolist()
    stream = TextStream(preparation)
    parts = [stream.feed([token]) for token in ids] + [stream.finish()]
    assert "".join(parts) == "a é b"
    assert "" in parts[:-1]
    assert TextStream(TextPreparation(("a", "b"), 1, 1)).feed([1, 0]) == "ba"
