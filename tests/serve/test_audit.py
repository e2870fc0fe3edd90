"""The audit log: any edit breaks the chain, and a killed server's torn line does not."""

import json

import pytest

from rnnlab.cli.main import main
from rnnlab.errors import DataError, RunLockedError
from rnnlab.serve.audit import START, AuditLog, check_chain


def write(path, count=4):
    log = AuditLog(path)
    for number in range(count):
        log.append({"event": "generate", "number": number, "seconds": float("nan")})
    log.close()
    return log.head


def test_chain_of_several_processes_is_valid(tmp_path):
    path = tmp_path / "audit.jsonl"
    write(path)
    head = write(path, 2)
    assert check_chain(path).records == 6
    assert check_chain(path).head == head


def edit_value(lines):
    lines[1] = lines[1].replace(b'"number": 1', b'"number": 7')


def remove(lines):
    del lines[1]


def swap(lines):
    lines[1], lines[2] = lines[2], lines[1]


def repeat(lines):
    lines.insert(2, lines[1])


def forge(lines):
    record = json.loads(lines[1])
    lines[1] = json.dumps({**record, "digest": "0" * 64}).encode() + b"\n"


def break_json(lines):
    lines[1] = b"{\n"


@pytest.mark.parametrize("edit", [edit_value, remove, swap, repeat, forge, break_json])
def test_edited_log_breaks_the_chain_at_the_edit(tmp_path, edit):
    path = tmp_path / "audit.jsonl"
    write(path)
    lines = path.read_bytes().splitlines(keepends=True)
    edit(lines)
    path.write_bytes(b"".join(lines))
    with pytest.raises(DataError, match=r"line [23], must"):
        check_chain(path)
    with pytest.raises(DataError, match="restore the file"):
        AuditLog(path)


def test_every_changed_byte_is_found(tmp_path):
    path = tmp_path / "audit.jsonl"
    write(path, 2)
    content = path.read_bytes()
    for index in range(0, len(content) - 1, 7):
        path.write_bytes(content[:index] + bytes([content[index] ^ 1]) + content[index + 1 :])
        with pytest.raises(DataError):
            check_chain(path)


def test_torn_last_line_is_cut_off_and_the_chain_goes_on(tmp_path):
    path = tmp_path / "audit.jsonl"
    write(path)
    path.write_bytes(path.read_bytes() + b'{"event": "gen')
    assert check_chain(path).torn == 14
    write(path, 1)
    assert check_chain(path).records == 5
    assert check_chain(path).torn == 0


def test_verify_command_checks_a_log(tmp_path, capsys):
    path = tmp_path / "audit.jsonl"
    head = write(path)
    assert main(["verify", str(path)]) == 0
    assert f"4 valid records, the last with SHA-256 {head}" in capsys.readouterr().out
    path.write_bytes(path.read_bytes().replace(b'"number": 1', b'"number": 7'))
    assert main(["verify", str(path)]) == 3
    assert "line 2" in capsys.readouterr().err


def test_second_writer_is_refused(tmp_path):
    log = AuditLog(tmp_path / "audit.jsonl")
    with pytest.raises(RunLockedError, match="one writer"):
        AuditLog(tmp_path / "audit.jsonl")
    log.close()


def test_empty_log_has_the_head_of_the_start(tmp_path):
    (tmp_path / "audit.jsonl").touch()
    assert check_chain(tmp_path / "audit.jsonl").head == START


def test_full_disk_leaves_a_valid_chain_and_is_reported(tmp_path, monkeypatch):
    path = tmp_path / "audit.jsonl"
    head = write(path)
    log = AuditLog(path)
    monkeypatch.setattr("rnnlab.serve.audit.os.fsync", _fail)
    log.append({"event": "generate"})
    log.close()
    assert (check_chain(path).records, check_chain(path).head) == (4, head)
    with pytest.raises(OSError, match="free disk space"):
        log.append({"event": "generate"})


def _fail(file):
    raise OSError(28, "No space left on device")
