"""Records survive what happens to the processes that write them."""

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from rnnlab import records

WRITER = """
import sys
from pathlib import Path
from rnnlab import records

k, count = int(sys.argv[2]), int(sys.argv[3])
for n in range(count):
    length = 20_000 if n % 7 == 0 else 20
    records.append(Path(sys.argv[1]), {"writer": k, "n": n, "text": "x" * length})
"""


def writer(path, k, count):
    return subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(k), str(count)])


def test_read_returns_what_append_wrote(tmp_path):
    path = tmp_path / "new" / "rows.jsonl"
    for n in range(3):
        records.append(path, {"n": n, "ä": [1.5, None]})
    assert [r["n"] for r in records.read(path)] == [0, 1, 2]


def test_append_writes_nan_and_inf_as_null(tmp_path):
    path = tmp_path / "rows.jsonl"
    records.append(path, {"loss": float("nan"), "curve": [[1, float("inf")]], "n": 1.5})
    assert path.read_text() == '{"loss": null, "curve": [[1, null]], "n": 1.5}\n'


@pytest.mark.parametrize("cut", [1, 5, 13])
def test_torn_last_record_is_skipped_and_then_removed(cut, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"n": 0}\n' + b'{"n": 1, "x": "'[:cut])
    with pytest.warns(UserWarning, match=r"line 2, is cut off and skipped"):
        assert list(records.read(path)) == [{"n": 0}]
    records.append(path, {"n": 2})
    assert path.read_bytes() == b'{"n": 0}\n{"n": 2}\n'


def test_complete_last_record_without_newline_is_kept(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"n": 0}\n{"n": 1}')
    records.append(path, {"n": 2})
    assert [r["n"] for r in records.read(path)] == [0, 1, 2]


def test_append_to_a_file_of_one_torn_record_replaces_it(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"n"' + b" " * 200_000)  # longer than a block
    records.append(path, {"n": 0})
    assert path.read_bytes() == b'{"n": 0}\n'


@pytest.mark.parametrize("text", ["a note\nof two lines", "[" * 100_000])
def test_append_to_another_kind_of_file_is_an_error(tmp_path, text):
    path = tmp_path / "a.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.txt must end with a record"):
        records.append(path, {"a": 1})
    assert path.read_text(encoding="utf-8") == text


def test_append_to_symlinks_pipes_and_directories_is_an_error(tmp_path):
    kept = tmp_path / "kept"
    kept.write_text("", encoding="utf-8")
    (tmp_path / "link").symlink_to(kept)
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "link", tmp_path / "pipe", tmp_path):
        with pytest.raises(ValueError, match="must be a regular file"):
            records.append(path, {"a": 1})
    assert kept.read_text(encoding="utf-8") == ""
    with pytest.raises(ValueError, match="must be a file"):
        next(records.read(tmp_path / "pipe"))


def test_read_names_a_line_that_is_not_json(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b'{"n": 0}\n<<<<<<< HEAD\n{"n": 1}\n')
    with pytest.raises(ValueError, match=r"line 2, is not JSON"):
        list(records.read(path))


def test_append_on_a_full_disk_leaves_the_file_unchanged(tmp_path):
    """A limit on the size of files stands for the full disk."""
    path = tmp_path / "rows.jsonl"
    records.append(path, {"n": 0})
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200, limits[1]))
        with pytest.raises(OSError, match="File too large"):
            records.append(path, {"n": 1, "text": "x" * 1000})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    records.append(path, {"n": 1})
    assert [r["n"] for r in records.read(path)] == [0, 1]


def test_append_by_four_processes_keeps_every_record(tmp_path):
    path, count = tmp_path / "rows.jsonl", 100
    writers = [writer(path, k, count) for k in range(4)]
    assert [w.wait(120) for w in writers] == [0] * 4
    found = list(records.read(path))
    assert len(found) == 4 * count
    for k in range(4):
        assert [r["n"] for r in found if r["writer"] == k] == list(range(count))


def test_append_by_a_killed_process_leaves_valid_records(tmp_path):
    path = tmp_path / "rows.jsonl"
    process = writer(path, 0, 1_000_000)
    while not path.exists() or path.stat().st_size < 100_000:
        time.sleep(0.01)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) > 10
    assert [json.loads(line)["n"] for line in lines[:-1]] == list(range(len(lines) - 1))
    records.append(path, {"n": -1})
    assert list(records.read(path))[-1] == {"n": -1}
