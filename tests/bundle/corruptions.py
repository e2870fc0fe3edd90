"""Changes of bundles as somebody else could make them, and the error that opening raises."""

import json
import re

import pytest

from rnnlab.bundle import open_bundle
from rnnlab.bundle.format import FileRecord, seal
from rnnlab.errors import BundleError


def refusal(folder):
    """Returns the message of the error that opening a folder raises."""
    before = sorted(folder.parent.parent.rglob("*"))
    with pytest.raises(BundleError) as caught:
        open_bundle(folder)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 500 + 2 * len(str(folder))
    assert message.startswith(str(folder)) or str(folder) in message
    assert re.search(
        r"; (restore|remove|rename|replace|upgrade|name|choose|make|add|correct|pass|lower)",
        message,
    )
    assert sorted(folder.parent.parent.rglob("*")) == before
    return message


def record_of(folder):
    return json.loads((folder / "bundle.json").read_text())


def rewrite(folder, change):
    """Changes the record of `bundle.json`, with a new digest, as somebody else could."""
    record = record_of(folder)
    change(record)
    record.pop("digest", None)
    (folder / "bundle.json").write_bytes(seal(record))


def replace_file(folder, name, content):
    """Replaces a file and its digests."""
    (folder / name).write_bytes(content)
    record = {"size": len(content), "sha256": FileRecord.of(content).sha256}
    rewrite(folder, lambda of: of["files"].update({name: record}))


def set_key(*path, value):
    def change(folder):
        def inner(record):
            of = record
            for key in path[:-1]:
                of = of[key]
            of[path[-1]] = value

        rewrite(folder, inner)

    return change
