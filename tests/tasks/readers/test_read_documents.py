"""Documents of files, folders, patterns and JSON Lines: what is read, and one-line errors."""

import random

import pytest
from reader_files import assert_read_or_refused, assert_refused, outcome

from rnnlab.tasks.readers import text as text_module
from rnnlab.tasks.readers.documents import read_documents
from rnnlab.tasks.readers.text import read_text

LINES = '{"id": "1", "text": "one\\r\\ntwo"}\n\n{"id": "2", "text": ""}\n{"id": "3", "text": "c"}'


def test_read_documents_of_a_folder_joins_its_files_in_order_of_path(tmp_path, write_file):
    (tmp_path / "b").mkdir()
    (tmp_path / ".git").mkdir()
    for name in ("c.txt", "b/z.txt", "b/a.md", "a.txt", ".hidden", ".git/x"):
        write_file(name, name)
    read = read_documents(tmp_path)
    assert read.content == "a.txt\n\nb/a.md\n\nb/z.txt\n\nc.txt"
    assert read.notes == (f"4 files of {tmp_path}, in the order of their paths.",)
    assert read_documents(f"{tmp_path}/**/*.txt").content == "a.txt\n\nb/z.txt\n\nc.txt"
    assert read_documents(tmp_path, as_bytes=True).content == read.content.encode()


def test_read_documents_of_one_file_equals_its_text(write_file):
    path = write_file("\ufeffone\r\ntwo")
    assert read_documents(path) == (read_text(path), ())
    assert read_documents(path, as_bytes=True) == (b"one\ntwo", ())
    brackets = write_file("one", "a[1].txt")
    assert read_documents(brackets).content == "one"


def test_read_documents_of_json_lines_joins_a_field(write_file):
    path = write_file(LINES, "a.jsonl")
    read = read_documents(path, field="text")
    assert read.content == "one\ntwo\n\n\n\nc"
    assert read.notes == ("The text is the field 'text' of 3 lines of JSON.",)
    detected = read_documents(write_file(LINES.replace('"3"', "3"), "b.ndjson"))
    assert detected == read
    assert read_documents(path, field="id", as_bytes=True).content == b"1\n\n2\n\n3"


@pytest.mark.parametrize("raw", [b"RIFF\0\0\xff", "caf\u00e9".encode("latin-1"), b"\x1f\x8b\r\n"])
def test_read_documents_by_bytes_reads_any_file(write_file, raw):
    path = write_file(raw, "a.wav")
    content, (note,) = read_documents(path, as_bytes=True)
    assert content == raw
    assert "not UTF-8 text" in note
    assert_refused(read_documents, path, "convert it to UTF-8.*or use its bytes: --data.token byte")


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"line 4: is not JSON: .*; write one JSON object per line"),
        ("[" * 100_000, "line 4: is not JSON: "),
        ("1" * 5000, "line 4: is not JSON: "),
        ('"word"', "line 4: must be a JSON object, got .*; write it as"),
        ('{"id": "4"}', "line 4: field 'text' must be a string, got no 'text' among 'id'; add it"),
        ("{}", "line 4: field 'text' must be a string, got no 'text' among no keys"),
        ('{"text": null}', "line 4: field 'text' must be a string, got 'null'"),
        ('{"text": "\\ud800"}', "line 4: field 'text' must be valid Unicode"),
    ],
)
def test_read_documents_of_invalid_json_lines_raises(write_file, line, message):
    path = write_file("\n".join(['{"text": "a"}'] * 3 + [line]), "a.jsonl")
    assert_refused(read_documents, path, message, field="text")


def test_read_documents_without_a_unique_field_raises(write_file):
    path = write_file(LINES, "a.jsonl")
    message = "has 2 keys with a string in every line; choose the text by --data.field: .*'id', 'te"
    assert_refused(read_documents, path, message)
    path = write_file('{"n": 1}', "b.jsonl")
    assert_refused(read_documents, path, "must have a key with a string in every line, got 'n'")
    assert_refused(read_documents, write_file("one"), "field must be None for files", field="text")


def test_read_documents_without_files_raises(tmp_path, write_file, monkeypatch):
    assert_refused(read_documents, tmp_path, "is a folder without files; add texts")
    assert_refused(read_documents, tmp_path / "*.txt", "matches no file; correct the pattern")
    assert_refused(read_documents, tmp_path / "a.txt", "cannot be read: No such file")
    write_file("one", "a.txt")
    write_file(b"\xff\xff", "b.bin")
    assert_refused(read_documents, tmp_path, r"b.bin, line 1: not UTF-8 at byte 0")
    monkeypatch.setattr(text_module, "MAX_FILE_BYTES", 4)
    assert_refused(
        read_documents, tmp_path, "must have <= 4 bytes in its 2 files, got 5; use fewer"
    )


def test_read_documents_of_mutated_json_lines_reads_or_raises_one_line(write_file):
    rng = random.Random(0)
    messages = []
    for _ in range(300):
        raw = bytearray(LINES.encode())
        for _ in range(rng.randrange(1, 4)):
            raw[rng.randrange(len(raw))] = rng.choice(b'{}":,\\u0\n\xff[]a1')
        path = write_file(bytes(raw), "a.jsonl")
        messages.append(outcome(read_documents, path, field=rng.choice(["text", None])))
    assert_read_or_refused(messages)
