"""Token files: what is written, what is read back, and the error of every bad input."""

import json
import resource
import shutil
import tracemalloc

import numpy as np
import pytest

from rnnlab.errors import DataError, InsufficientResourcesError
from rnnlab.tasks.token_files import format as file_format
from rnnlab.tasks.token_files import open_token_file, prepare_token_file, streaming


@pytest.fixture
def small_pieces(monkeypatch):
    """Pieces of 5 bytes, so that characters and line ends lie across them."""
    monkeypatch.setattr(streaming, "PIECE_BYTES", 5)


def decoded(file):
    return "".join(file.header.vocabulary[i] for i in file.views().tokens)


@pytest.mark.usefixtures("small_pieces")
def test_characters_are_those_of_the_text_with_plain_line_ends(tmp_path):
    text = "\ufeffaß€\r\n𝄞\rx\r\r\n" * 3 + "é\r"
    (tmp_path / "a.txt").write_bytes(text.encode())
    file = prepare_token_file([tmp_path / "a.txt"], tmp_path / "a.tokens")
    expected = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n")
    assert decoded(file) == expected
    assert file.header.characters == "".join(sorted(set(expected)))
    assert file.views().documents.tolist() == [0]


@pytest.mark.usefixtures("small_pieces")
def test_bytes_are_those_of_the_file(tmp_path):
    raw = np.random.default_rng(0).bytes(101)
    (tmp_path / "a.bin").write_bytes(raw)
    file = prepare_token_file([tmp_path / "a.bin"], tmp_path / "a.tokens", by="bytes")
    assert file.views().tokens.tobytes() == raw
    assert file.header.vocab_size == 256


def test_every_file_and_line_of_json_with_text_is_a_document(tmp_path):
    (tmp_path / "b.txt").write_text("two")
    lines = [{"id": 1, "text": "one"}, {"id": 2, "text": ""}, {"id": 3, "text": "three"}]
    (tmp_path / "a.jsonl").write_text("\n\n".join(map(json.dumps, lines)))
    file = prepare_token_file([tmp_path], tmp_path / "out" / "a.tokens")
    assert decoded(file) == "onethreetwo"
    assert file.views().documents.tolist() == [0, 3, 8]


@pytest.mark.parametrize(("symbols", "dtype"), [(256, "uint8"), (257, "uint16"), (65537, "uint32")])
def test_dtype_is_the_smallest_that_holds_the_vocabulary(tmp_path, symbols, dtype):
    text = "".join(map(chr, range(0x10000, 0x10000 + symbols)))
    (tmp_path / "a.txt").write_text(text, "utf-8")
    file = prepare_token_file([tmp_path / "a.txt"], tmp_path / "a.tokens")
    assert file.header.dtype == file.views().tokens.dtype.name == dtype
    np.testing.assert_array_equal(file.views().tokens, np.arange(symbols))


def test_tokenizer_pieces_give_the_tokens_of_the_whole_text(tmp_path, monkeypatch):
    tokenizers = pytest.importorskip("tokenizers")
    from rnnlab.tasks.token_files import encoders

    text = "the cat sat on the mat\n\nthe dog\n  sat \n" * 40
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(vocab_size=60, special_tokens=["<end>"])
    tokenizer.train_from_iterator([text], trainer)
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    for name in ("a.txt", "b.txt"):
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(encoders, "TOKENIZER_PIECE", 30)
    file = prepare_token_file(
        [tmp_path / "a.txt", tmp_path / "b.txt"],
        tmp_path / "a.tokens",
        by=str(tmp_path / "tokenizer.json"),
        end_token="<end>",
    )
    ids = [*tokenizer.encode(text).ids, tokenizer.token_to_id("<end>")]
    assert file.views().tokens.tolist() == ids * 2
    assert file.views().documents.tolist() == [0, len(ids)]
    options = {"by": str(tmp_path / "tokenizer.json"), "end_token": "<no>"}
    with pytest.raises(DataError, match="must have the token '<no>'"):
        prepare_token_file([tmp_path / "a.txt"], tmp_path / "b.tokens", **options)


def test_preparing_takes_constant_memory_and_reports_every_byte(tmp_path):
    with (tmp_path / "a.txt").open("w") as file:
        for k in range(24):
            file.write(f"{k}\n" * 350_000)
    size, reported = (tmp_path / "a.txt").stat().st_size, []
    tracemalloc.start()
    try:
        prepare_token_file(
            [tmp_path / "a.txt"], tmp_path / "a.tokens", report=lambda *x: reported.append(x)
        )
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20e6 < size
    assert {(what, total) for what, _, total in reported} == {
        ("reading characters", size),
        ("writing tokens", size),
    }
    assert reported[-1] == ("writing tokens", size, size)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "a.txt: is empty; give a file with data"),
        (b"ab\nc\xffd", r"a.txt, line 2: must be UTF-8 text, got 0xff at byte 4; convert it"),
        (b"abcdefgh\xe2\x82", r"a.txt, line 1: must be UTF-8 text, got 0xe2 at byte 8; convert"),
        (b"abcdefg\0", r"a.txt, line 1: must be UTF-8 text, got NUL at byte 7; convert it"),
        (b"\x1f\x8b\x08", "a.txt: looks like gzip, not text"),
        (b"\xef\xbb\xbf", "a.txt must have at least one symbol, got none"),
    ],
)
@pytest.mark.usefixtures("small_pieces")
def test_bad_text_is_one_line_and_leaves_no_file(tmp_path, content, message):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(DataError, match=message):
        prepare_token_file([tmp_path / "a.txt"], tmp_path / "a.tokens")
    assert [x.name for x in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"text": "a"}\n{"text": 1}\n', r"line 2: field 'text' must be a string, got '1'"),
        ('{"text": "a"}\n{"text"\n', "line 2: is not JSON"),
        ('{"a": "a", "b": "b"}\n', "choose the text by --field: one of 'a', 'b'"),
    ],
)
def test_bad_line_of_json_is_one_line(tmp_path, content, message):
    (tmp_path / "a.jsonl").write_text(content)
    with pytest.raises(DataError, match=message):
        prepare_token_file([tmp_path / "a.jsonl"], tmp_path / "a.tokens")


def test_wrong_arguments_are_refused(tmp_path):
    text, out = tmp_path / "a.txt", tmp_path / "a.tokens"
    text.write_text("abc")
    for paths, options, message in (
        ([tmp_path / "b.txt"], {}, "b.txt: does not exist"),
        ([tmp_path / "*.md"], {}, "matches no file"),
        ([], {}, "FILES must have at least one path"),
        ([text], {"by": "words"}, "by must be characters, bytes or the path"),
        ([text], {"end_token": "<end>"}, "end_token must be None"),
        ([text], {"by": str(tmp_path / "no.json")}, "no.json: cannot be read"),
    ):
        with pytest.raises(ValueError, match=message):
            prepare_token_file(paths, out, **options)
    prepare_token_file([text], out)
    with pytest.raises(ValueError, match=r"a.tokens must not exist"):
        prepare_token_file([text], out)


def test_full_disk_is_one_line_and_leaves_no_file(tmp_path):
    (tmp_path / "a.txt").write_text("abc" * 100_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(InsufficientResourcesError, match=r"could not be written.*free disk"):
            prepare_token_file([tmp_path / "a.txt"], tmp_path / "a.tokens")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [x.name for x in tmp_path.iterdir()] == ["a.txt"]


@pytest.fixture
def tokens(tmp_path):
    (tmp_path / "a.txt").write_text("abcd" * 50)
    return prepare_token_file([tmp_path / "a.txt"], tmp_path / "a.tokens").path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: b"", "is not a token file; prepare it by `rnnlab data tokens"),
        (lambda x: b"abcd" * 50, "is not a token file"),
        (lambda x: x[:40], "must have 64 bytes, got 40: it is truncated"),
        (lambda x: x[:100], "bytes, got 100: it is truncated"),
        (lambda x: x[:-1], "it is truncated; prepare it again"),
        (lambda x: x + b"a", "something was appended; prepare it again"),
        (lambda x: x[:70] + b"X" + x[71:], "header must have its SHA-256, got another"),
        (lambda x: x[:-20] + b"\2" + x[-19:], "content must have the SHA-256 .* it was changed"),
        (lambda x: x[:8] + b"\x09" + x[9:], "must have version 1, got 9; upgrade rnnlab"),
    ],
)
def test_changed_file_is_one_line(tokens, change, message):
    tokens.write_bytes(change(tokens.read_bytes()))
    with pytest.raises(DataError, match=message) as error:
        open_token_file(tokens)
    assert "\n" not in str(error.value)
    assert str(tokens) in str(error.value)


def test_large_file_is_opened_without_reading_its_content(tokens, monkeypatch):
    monkeypatch.setattr(file_format, "CHECKED_BYTES", 10)
    content = tokens.read_bytes()
    tokens.write_bytes(content[:-20] + b"\2" + content[-19:])
    file = open_token_file(tokens)
    with pytest.raises(DataError, match="it was changed; prepare it again"):
        file.check_content()


def test_file_that_changes_while_it_is_used_is_one_line(tokens, tmp_path):
    file, other = open_token_file(tokens), tmp_path / "b.tokens"
    tokens.write_bytes(tokens.read_bytes()[:-8])
    with pytest.raises(DataError, match="must not change while it is used"):
        file.views()
    (tmp_path / "b.txt").write_text("abce" * 50)
    shutil.move(prepare_token_file([tmp_path / "b.txt"], other).path, tokens)
    with pytest.raises(DataError, match="must not change while it is used"):
        file.views()
    tokens.unlink()
    with pytest.raises(DataError, match="cannot be read: No such file"):
        file.views()
