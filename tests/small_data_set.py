"""A small data set, its files in a folder, a server of them; and whether a public set is here."""

import hashlib
import http.server
import lzma
import threading
from functools import partial

import pytest

from rnnlab.datasets.catalog import DATASETS
from rnnlab.datasets.data_set import DataFile, DataSet
from rnnlab.datasets.folder import present_form, set_folder

NAME = "small"
TEXT = b"hour,count\n1,16\n2,40\n" * 5000
PACKED = lzma.compress(TEXT)
FILES = {"hour.csv": TEXT, "hour.csv.xz": PACKED, "data/a.csv": b"a\n1\n", "data/b.csv": b"b\n2\n"}
LICENSE = b"Free.\n"


def is_here(name):
    """Whether all files of a public data set are in the data folder."""
    folder, parts = set_folder(name), DATASETS[name].parts.values()
    return all(present_form(folder, forms) is not None for forms in parts)


def make_set(address=None):
    """Returns the set, with files to download if there is an address."""

    def file(name, content, url=True):
        digest = hashlib.sha256(content).hexdigest()
        url = f"{address}/{name}" if url and address else None
        return DataFile(name, digest, len(content), url)

    hours = ((file("hour.csv", TEXT),), (file("hour.csv.xz", PACKED, url=False),))
    tables = (tuple(file(name, FILES[name]) for name in ("data/a.csv", "data/b.csv")),)
    documents = (file("LICENSE", LICENSE, url=False),)
    parts = {"hour.csv": hours, "tables": tables}
    return DataSet(NAME, "Two tables", "MIT", "nowhere", parts, documents)


def write_set(folder, *names):
    """Writes files of the set, all in both forms by default, and returns the folder."""
    for name in names or FILES:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(FILES[name])
    return folder


class Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files without a log on stderr."""

    def log_message(self, *_):
        pass


@pytest.fixture
def data_folder(tmp_path, monkeypatch):
    """An empty data folder, with the small set as part of the catalog."""
    monkeypatch.setenv("RNNLAB_DATA", str(tmp_path / "store"))
    monkeypatch.setitem(DATASETS, NAME, make_set())
    return tmp_path / "store"


@pytest.fixture
def server(tmp_path, data_folder, monkeypatch):
    """The folder that a local server serves, from which the small set is downloaded."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setitem(DATASETS, NAME, make_set(address))
        yield folder
        server.shutdown()
        thread.join()
