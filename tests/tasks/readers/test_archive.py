"""Compressed files and archives: read in memory, or an error of one line."""

import io
import lzma
import tarfile
import zipfile

import pytest
from reader_files import assert_refused

from rnnlab.tasks.readers import archive
from rnnlab.tasks.readers.archive import read_members
from rnnlab.tasks.readers.table import read_table
from rnnlab.tasks.readers.text import read_text

FILES = {"a/2.txt": b"two", "a/1.txt": b"one", "a/3.csv": b"three", "b.txt": b"four"}
READ = {"a/1.txt": b"one", "a/2.txt": b"two", "b.txt": b"four"}


def packed(mode):
    """The bytes of a tar archive of the files, with a link."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as made:
        for name, content in FILES.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            made.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("link.txt")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        made.addfile(link)
    return file.getvalue()


def test_text_that_is_compressed_with_xz_is_read(write_file):
    assert read_text(write_file(lzma.compress(b"one\r\ntwo"))) == "one\ntwo"
    table = read_table(write_file(lzma.compress(b"day,x\n2020-01-01,1.5\n"), "a.csv.xz"))
    assert table.numbers(1).tolist() == [1.5]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (lzma.compress(b"one" * 999)[:-20], "ends too early to be decompressed; copy it again"),
        (lzma.compress(b"one" * 999)[:40] + b"x" * 40, "cannot be decompressed: .*; copy it again"),
    ],
)
def test_text_that_is_badly_compressed_is_refused(write_file, content, message):
    assert_refused(read_text, write_file(content, "a.xz"), message)


def test_text_that_is_too_large_when_decompressed_is_refused(write_file, monkeypatch):
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 1000)
    assert_refused(read_text, write_file(lzma.compress(b"a" * 1001)), "must contain <= 1000 bytes")


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_members_of_an_archive_are_read_in_order_without_links(write_file, mode):
    assert list(read_members(write_file(packed(mode)), ".txt").items()) == list(READ.items())


def test_members_of_a_folder_are_those_of_an_archive(tmp_path):
    for name, content in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    assert list(read_members(tmp_path, ".txt").items()) == list(READ.items())


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (packed("w:gz")[:-30], "ends too early to be decompressed; copy it again"),
        (packed("w:xz")[:-30], "ends too early to be decompressed; copy it again"),
        (packed("w:gz")[:40] + b"x" * 40, "cannot be decompressed: .*; copy it again"),
        (packed("w")[:600], "cannot be read as a tar archive: .*; copy it again"),
        (b"text", "cannot be read as a tar archive: .*; copy it again"),
    ],
    # The content of a gzip file has the time in it: workers would disagree on the names of tests.
    ids=["short gzip", "short xz", "corrupt gzip", "short tar", "text"],
)
def test_corrupt_archive_is_refused(write_file, content, message):
    assert_refused(read_members, write_file(content), message, ".txt")


def zipped(change=lambda raw: raw):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as of:
        for name, content in FILES.items():
            of.writestr(zipfile.ZipInfo(name), 9 * content, zipfile.ZIP_DEFLATED)
    return change(file.getvalue())


def test_members_of_a_zip_file_are_read_in_order(write_file):
    found = read_members(write_file(zipped(), "a.zip"), ".txt")
    assert list(found.items()) == [(name, 9 * content) for name, content in READ.items()]


def with_flag(raw):
    """A zip file whose directory marks a member as encrypted."""
    at = raw.index(b"PK\x01\x02")
    return raw[: at + 8] + b"\x01" + raw[at + 9 :]


def with_method(raw):
    """A zip file whose directory names a compression that nobody knows."""
    at = raw.index(b"PK\x01\x02")
    return raw[: at + 10] + b"\x63\x00" + raw[at + 12 :]


@pytest.mark.parametrize(
    "change",
    [
        lambda raw: raw[:-30],
        lambda raw: raw[:36] + b"\xff" * 12 + raw[48:],
        with_flag,
        with_method,
        lambda raw: b"text",
    ],
    ids=["short", "corrupt", "encrypted", "unknown compression", "text"],
)
def test_corrupt_zip_file_is_refused(write_file, change):
    file = write_file(zipped(change), "a.zip")
    assert_refused(read_members, file, "cannot be read as a zip file: .*; copy it again", ".txt")


def test_missing_or_too_large_archive_is_refused(tmp_path, write_file, monkeypatch):
    assert_refused(read_members, tmp_path / "a.tar", "cannot be read: No such file", ".txt")
    monkeypatch.setattr(archive, "MAX_UNPACKED_BYTES", 9)
    message = "must contain <= 9 bytes, got more; split it"
    for mode in ("w:gz", "w:xz"):
        assert_refused(read_members, write_file(packed(mode)), message, ".txt")
    assert_refused(read_members, write_file(zipped()), message, ".txt")
