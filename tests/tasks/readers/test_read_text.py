"""Text files: what is read, and one-line errors with a location."""

import pytest
from reader_files import assert_refused

from rnnlab.tasks.readers import text as text_module
from rnnlab.tasks.readers.text import read_text


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("añb\n".encode(), "añb\n"),
        (b"\xef\xbb\xbfab", "ab"),
        (b"a\r\nb\rc\n", "a\nb\nc\n"),
        ("a\u2028b\x0cc".encode(), "a\u2028b\x0cc"),
    ],
)
def test_read_text_normalizes_line_ends_and_byte_order_mark(write_file, raw, wanted):
    assert read_text(write_file(raw)) == wanted


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"one\ntwo\xe9 three", r"line 2: not UTF-8 at byte 7 \(0xe9\)"),
        (b"ab\n\nc\0d", "line 3: must be text, got NUL at byte 5"),
        (b"", "is empty"),
        (b" \n\n", "has no text"),
        (b"\xef\xbb\xbf", "has no text"),
        (b"\x1f\x8b\x08", "looks like gzip"),
        (b"PK\x03\x04aa", "looks like zip"),
        ("hello".encode("utf-16"), "looks like UTF-16"),
    ],
)
def test_read_text_of_other_bytes_raises(write_file, raw, message):
    assert_refused(read_text, write_file(raw), message)


def test_read_text_of_unreadable_file_raises(tmp_path, write_file, monkeypatch):
    assert_refused(read_text, tmp_path / "none", "cannot be read: No such file")
    assert_refused(read_text, tmp_path, "is a directory")
    monkeypatch.setattr(text_module, "MAX_FILE_BYTES", 3)
    assert_refused(read_text, write_file("four"), "must have <= 3 bytes, got 4")
