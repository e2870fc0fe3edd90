"""`rnnlab data`: what is listed, copied and verified, and the line and exit code of each error."""

import signal

import pytest
from small_data_set import NAME, write_set

from rnnlab import errors
from rnnlab.cli import main
from rnnlab.datasets import DATASETS
from rnnlab.datasets import get as folder_get


def stdout_of(words, capsys):
    """What a command prints, which must succeed."""
    assert main.main(["data", *words]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def refused(words, capsys, code=errors.DATA):
    """The one line on stderr of a command that fails with a code."""
    assert main.main(["data", *words]) == code
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    return line.removeprefix("rnnlab: error: ")


@pytest.mark.parametrize("words", [[], ["list"]])
def test_list_shows_every_set_and_whether_it_is_here(data_folder, capsys, words):
    write_set(data_folder / NAME, "hour.csv")
    write_set(data_folder / NAME, "data/a.csv", "data/b.csv")
    printed = stdout_of(words, capsys)
    assert all(f" {name} " in printed for name in DATASETS)
    line = next(line for line in printed.splitlines() if f" {NAME} " in line)
    assert [cell.strip() for cell in line.split("│")[1:-1]] == [
        *(NAME, "0.1", "here", "MIT", "Two tables")
    ]
    assert f"The data folder is {data_folder}; RNNLAB_DATA names another one." in printed


def test_list_marks_an_incomplete_set(data_folder, capsys):
    write_set(data_folder / NAME, "hour.csv")
    assert "incomplete" in stdout_of([], capsys)


def test_get_copies_from_a_folder_and_verify_reports_valid_files(tmp_path, data_folder, capsys):
    source = write_set(tmp_path / "source")
    printed = stdout_of(["get", NAME, "--from", str(source)], capsys)
    assert f"small: 3 files, 0.1 MB, valid, in {data_folder / NAME}." in printed
    assert "License: MIT. Source: nowhere." in printed
    printed = stdout_of(["get", NAME], capsys)
    assert f"small is complete and valid in {data_folder / NAME}." in printed
    printed = stdout_of(["verify"], capsys)
    assert printed.count(" valid ") == 3


def test_verify_names_every_wrong_file_and_exits_with_3(data_folder, capsys):
    write_set(data_folder / NAME, "hour.csv", "data/a.csv", "data/b.csv")
    (data_folder / NAME / "hour.csv").write_bytes(b"")
    (data_folder / NAME / "data" / "a.csv").write_bytes(b"a\n2\n")
    assert main.main(["data", "verify", NAME]) == errors.DATA
    printed = capsys.readouterr()
    assert printed.out.count("not valid") == 2
    assert "hour.csv must have 105000 bytes, got 0: it is incomplete; get it again" in printed.err
    assert printed.err.endswith("; and 1 more\n")


def test_verify_of_a_missing_set_names_its_command(data_folder, capsys):
    line = refused(["verify", NAME], capsys)
    assert "has no hour.csv or hour.csv.xz; get it again by `rnnlab data get small" in line
    assert line.endswith("; and 1 more\n")


def test_verify_without_any_set_says_so(data_folder, capsys):
    assert stdout_of(["verify"], capsys).startswith(f"No data set is in {data_folder}; ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["get"], "get needs the name of a data set, got none; choose from physionet2012, "),
        (["get", "physionet"], "'physionet' is not a data set; did you mean physionet2012?"),
        (["verify", "x"], "'x' is not a data set; they are physionet2012, "),
        (["got"], "Unrecognized options: got; Available subcommands: list, get, verify"),
    ],
)
def test_wrong_argument_is_one_line(data_folder, capsys, words, message):
    assert refused(words, capsys, errors.USAGE_ERROR).startswith(message)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_get_keeps_complete_files_and_resumes(
    monkeypatch, tmp_path, data_folder, capsys, number, code
):
    words = ["get", NAME, "--from", str(write_set(tmp_path / "source"))]
    target = data_folder / NAME
    read = folder_get._read

    def interrupted(path):
        for piece in read(path):
            yield piece[:2]
            if path.name == "a.csv":
                signal.raise_signal(number)
            yield piece[2:]

    with monkeypatch.context() as patched:
        patched.setattr(folder_get, "_read", interrupted)
        assert main.main(["data", *words]) == code
    assert capsys.readouterr().err == (
        f"rnnlab: stopped by {number.name}; complete files are kept in {target}; repeat the "
        "command to get the others\n"
    )
    assert [path.name for path in target.rglob("*") if path.is_file()] == ["hour.csv"]
    kept = (target / "hour.csv").stat().st_mtime_ns
    assert "2 files, 0.0 MB, valid" in stdout_of(words, capsys)
    assert (target / "hour.csv").stat().st_mtime_ns == kept


def test_get_from_a_missing_folder_is_one_line(tmp_path, data_folder, capsys):
    line = refused(["get", NAME, "--from", str(tmp_path / "none")], capsys)
    assert line == f"{tmp_path / 'none'} is not a folder; name one by --from\n"
