"""A data set is copied or downloaded completely; after an error no part of a file is left."""

import errno
import hashlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest
from small_data_set import FILES, LICENSE, NAME, make_set, write_set

from rnnlab.datasets import DATASETS, DataFile, DataSet, dataset_files
from rnnlab.datasets.data_set import CHECKSUMS
from rnnlab.datasets.get import get
from rnnlab.errors import DataError, InsufficientResourcesError


def ignore(*_):
    pass


def names_in(folder):
    """The names of all files of the small set, also hidden and temporary ones."""
    files = (path for path in (folder / NAME).rglob("*") if path.is_file())
    return sorted(str(path.relative_to(folder / NAME)) for path in files)


def refused(source=None, error=DataError):
    """The one line of an error of `get`."""
    with pytest.raises(error) as raised:
        get(DATASETS[NAME], source, ignore)
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_get_copies_every_part_from_a_folder_once(tmp_path, data_folder):
    source = write_set(tmp_path / "source", "hour.csv.xz", "data/a.csv", "data/b.csv")
    (source / "LICENSE").write_bytes(LICENSE)
    (source / "other").touch()
    reported = []
    written = get(DATASETS[NAME], source, lambda file, size: reported.append((file.name, size)))
    names = ["LICENSE", "data/a.csv", "data/b.csv", "hour.csv.xz"]
    assert sorted(str(path.relative_to(data_folder / NAME)) for path in written) == names
    assert names_in(data_folder) == names
    assert reported[0] == ("hour.csv.xz", len(FILES["hour.csv.xz"]))
    assert list(dataset_files(NAME)) == ["hour.csv", "tables"]
    assert get(DATASETS[NAME], tmp_path, ignore) == []


def test_get_copies_only_what_is_missing_or_not_valid(tmp_path, data_folder):
    write_set(data_folder / NAME, "hour.csv", "data/a.csv")
    (data_folder / NAME / "data" / "b.csv").write_bytes(b"b\n")
    written = get(DATASETS[NAME], write_set(tmp_path / "from" / NAME).parent, ignore)
    assert written == [data_folder / NAME / "data" / "b.csv"]
    dataset_files(NAME)


def test_get_in_another_form_removes_the_form_that_is_not_valid(tmp_path, data_folder):
    (write_set(data_folder / NAME, "hour.csv") / "hour.csv").write_bytes(b"hour")
    get(DATASETS[NAME], write_set(tmp_path, "hour.csv.xz", "data/a.csv", "data/b.csv"), ignore)
    assert names_in(data_folder) == ["data/a.csv", "data/b.csv", "hour.csv.xz"]
    dataset_files(NAME)


def test_get_from_a_folder_without_a_part_copies_nothing(tmp_path, data_folder):
    source = write_set(tmp_path / "source", "hour.csv", "data/a.csv")
    assert refused(source) == (
        f"{source} has no 2 files such as data/b.csv, a part of small; name the folder that has it "
        "by --from"
    )
    assert not data_folder.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (FILES["hour.csv"][:-7], "got 104993: it is incomplete; copy it again"),
        (FILES["hour.csv"] + b"\n", "got 105001: it is another version; copy it"),
        (
            FILES["hour.csv"][:-2] + b"1\n",
            "...: it is corrupt, incomplete or another version; copy",
        ),
    ],
)
def test_get_of_a_wrong_file_leaves_nothing_of_it(tmp_path, data_folder, content, message):
    source = write_set(tmp_path / "source")
    (source / "hour.csv").write_bytes(content)
    line = refused(source)
    assert line.startswith(f"{source / 'hour.csv'} must have ")
    assert message in line
    assert not data_folder.exists()


def test_get_of_a_wrong_file_keeps_the_file_that_is_there(tmp_path, data_folder):
    write_set(data_folder / NAME, "hour.csv")
    source = write_set(tmp_path / "source")
    (source / "data" / "b.csv").write_bytes(b"wrong")
    refused(source)
    assert names_in(data_folder) == ["hour.csv"]


def test_download_writes_the_first_form_and_verifies_it(server, data_folder):
    write_set(server)
    get(DATASETS[NAME], None, ignore)
    assert names_in(data_folder) == ["data/a.csv", "data/b.csv", "hour.csv"]
    dataset_files(NAME)


def test_download_that_ends_early_leaves_nothing(server, data_folder):
    write_set(server)
    (server / "hour.csv").write_bytes(FILES["hour.csv"][:100])
    assert "hour.csv must have 105000 bytes, got 100: it is incomplete; try again" in refused()
    assert names_in(data_folder) == []


def test_download_of_a_missing_file_names_its_address(server):
    write_set(server, "hour.csv")
    line = refused()
    assert line.startswith("http://127.0.0.1:")
    assert "/data/a.csv cannot be downloaded: File not found; connect to the network" in line
    assert "`rnnlab data get small --from FOLDER`" in line


def test_download_without_a_network_names_the_folder_option(data_folder, monkeypatch):
    with socket.socket() as closed:  # it has a port, on which nothing listens
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setitem(DATASETS, NAME, make_set(address))
        line = refused()
    reason = f"[Errno {errno.ECONNREFUSED}] {os.strerror(errno.ECONNREFUSED)}"
    assert line.startswith(f"{address}/hour.csv cannot be downloaded: {reason}; connect to the ")
    assert names_in(data_folder) == []


def test_set_without_an_address_cannot_be_downloaded(data_folder):
    assert refused() == (
        "small cannot be downloaded, because hour.csv or hour.csv.xz was made from nowhere; name a "
        "folder that has it by --from"
    )


def test_full_disk_is_an_error_that_leaves_nothing(tmp_path, data_folder):
    source = write_set(tmp_path / "source")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        line = refused(source, InsufficientResourcesError)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    path = data_folder / NAME / "hour.csv"
    assert line == f"{path} could not be written: File too large; free disk space"
    assert names_in(data_folder) == []


def test_data_folder_that_is_a_file_is_an_error_with_an_action(tmp_path, data_folder):
    data_folder.touch()
    line = refused(write_set(tmp_path / "source"), InsufficientResourcesError)
    assert line.endswith("choose another directory")


INTERRUPTED = """
import sys, time
from small_data_set import NAME, make_set
from rnnlab.cli import main
from rnnlab.datasets import DATASETS, get as getting
DATASETS[NAME] = make_set()
copied = getting._read
def slow(path):
    for piece in copied(path):
        yield piece[:5000]
        print("copying", flush=True)
        time.sleep(60)
getting._read = slow
sys.exit(main.main(["data", "get", NAME, "--from", sys.argv[1]]))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_interrupted_copy_leaves_no_file_and_can_be_repeated(tmp_path, data_folder, number):
    source = write_set(tmp_path / "source")
    inherited = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    tests = str(Path(__file__).parents[1])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, [tests, *inherited]))}
    command = [sys.executable, "-c", INTERRUPTED, str(source)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout.readline() == "copying\n"
        process.send_signal(number)
        began = time.monotonic()
        _, errors = process.communicate(timeout=30)
    assert time.monotonic() - began < 10
    left = names_in(data_folder)
    if number == signal.SIGKILL:
        assert left == ["hour.csv.tmp"]
    else:
        assert process.returncode == 128 + number
        assert len(errors.splitlines()) == 1
        assert left == []
    with pytest.raises(DataError, match="is not here"):
        dataset_files(NAME)
    get(DATASETS[NAME], source, ignore)
    assert names_in(data_folder) == ["data/a.csv", "data/b.csv", "hour.csv"]


def listed_set(address=None):
    """A set whose files are verified by the list of checksums that its source publishes."""
    names = (CHECKSUMS, "100.hea", "100.dat")
    url = f"{address}/" if address else None
    files = tuple(DataFile(name, None, url=url and url + name) for name in names)
    return DataSet(NAME, "A record", "MIT", "nowhere", {"record": (files,)})


def write_record(folder):
    """Writes the files of the set and the list, which has another file too."""
    folder.mkdir(exist_ok=True)
    contents = {"100.hea": b"100 1 360 2\n", "100.dat": b"abc"}
    lines = [f"{hashlib.sha256(raw).hexdigest()}  {name}\n" for name, raw in contents.items()]
    contents[CHECKSUMS] = ("0" * 64 + "  RECORDS\n" + "".join(lines)).encode()
    for name, raw in contents.items():
        (folder / name).write_bytes(raw)
    return folder


@pytest.mark.parametrize("downloaded", [True, False])
def test_files_of_a_published_list_are_verified_by_it(server, data_folder, monkeypatch, downloaded):
    url = DATASETS[NAME].parts["hour.csv"][0][0].url.removesuffix("/hour.csv")
    monkeypatch.setitem(DATASETS, NAME, listed_set(url))
    write_record(server)
    get(DATASETS[NAME], None if downloaded else server, ignore)
    assert names_in(data_folder) == ["100.dat", "100.hea", CHECKSUMS]
    assert dataset_files(NAME) == {"record": data_folder / NAME}
    (data_folder / NAME / "100.dat").write_bytes(b"abd")
    with pytest.raises(
        DataError, match=r"100.dat must have the SHA-256 ba7816bf8f01cfea\.\.\., got"
    ):
        dataset_files(NAME)
    (data_folder / NAME / CHECKSUMS).write_text("")
    with pytest.raises(
        DataError, match=r"SHA256SUMS.txt must have the checksum of 100.hea; get the"
    ):
        dataset_files(NAME)


def test_file_that_differs_from_a_published_list_is_not_copied(tmp_path, data_folder, monkeypatch):
    monkeypatch.setitem(DATASETS, NAME, listed_set())
    source = write_record(tmp_path / "source")
    (source / "100.dat").write_bytes(b"ab")
    assert refused(source).startswith(
        f"{source / '100.dat'} must have the SHA-256 ba7816bf8f01cfea"
    )
    assert not data_folder.exists()
