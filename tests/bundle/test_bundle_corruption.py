"""Corrupt and made-up bundles: one clear line each, no crash, no code, nothing written outside."""

import json
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest

from rnnlab.bundle import open_bundle, write_bundle
from rnnlab.bundle.encodings import Integers
from rnnlab.bundle.format import FileRecord, seal
from rnnlab.errors import BundleError
from rnnlab.models import ModelConfig
from rnnlab.models.parameters import named_parameters

FILES = ("bundle.json", "model.safetensors", "reference.json", "card.md", "note.txt")
CONFIG = ModelConfig(width=4, depth=1, expansion=1, conv_kernel_size=None, mlp_expansion=None)
DEFAULT_SETTINGS = {
    name for name, value in ModelConfig().settings().items() if value == CONFIG.settings()[name]
} - {"cell"}
FREE = ("source",)
"""Keys of `bundle.json` that hold any JSON object."""


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
    digest = record.pop("digest", None)
    content = seal(record)
    (folder / "bundle.json").write_bytes(content)
    return digest


def replace_file(folder, name, content):
    """Replaces a file and its digests."""
    (folder / name).write_bytes(content)
    record = {"size": len(content), "sha256": FileRecord.of(content).sha256}
    rewrite(folder, lambda of: of["files"].update({name: record}))


@pytest.mark.parametrize("name", FILES)
def test_every_region_of_every_file_is_protected(folder, name):
    path = folder / name
    content = path.read_bytes()
    step = max(1, len(content) // 60)
    for position in {*range(0, len(content), step), len(content) - 1}:
        changed = bytearray(content)
        changed[position] ^= 1
        path.write_bytes(changed)
        refusal(folder)
    for shorter in (content[:-1], content[: len(content) // 2], b""):
        path.write_bytes(shorter)
        refusal(folder)
    path.write_bytes(content + b" ")
    refusal(folder)
    path.write_bytes(content)
    open_bundle(folder)


def key_paths(value, path=()):
    """Yields the path of every key below a JSON value; of a list only the first element."""
    if isinstance(value, dict) and path[:1] not in [(key,) for key in FREE]:
        for key, part in value.items():
            yield (*path, key)
            yield from key_paths(part, (*path, key))
    elif isinstance(value, list) and value:
        yield from key_paths(value[0], (*path, 0))


def removed(of, key):
    del of[key]


def renamed(of, key):
    of[f"{key}2"] = of.pop(key)


def retyped(of, key):
    of[key] = {"code": [None]}


@pytest.mark.parametrize("change", [removed, renamed, retyped])
def test_every_key_is_checked_even_with_a_new_digest(folder, change):
    original = (folder / "bundle.json").read_bytes()
    paths = [path for path in key_paths(json.loads(original)) if path != ("digest",)]
    assert len(paths) > 100
    for path in paths:
        if change is retyped and path[0] in FREE:
            continue
        record = json.loads(original)
        of = record
        for key in path[:-1]:
            of = of[key]
        change(of, path[-1])
        record.pop("digest")
        (folder / "bundle.json").write_bytes(seal(record))
        if change is removed and path[0] == "architecture" and path[-1] in DEFAULT_SETTINGS:
            # As of a bundle of an earlier version, which did not have the setting.
            assert open_bundle(folder).config == CONFIG
        else:
            refusal(folder)


def set_file_name(name):
    def change(folder):
        record = {"size": 0, "sha256": FileRecord.of(b"").sha256}
        rewrite(folder, lambda of: of["files"].update({name: record}))

    return change


def set_key(*path, value):
    def change(folder):
        def inner(record):
            of = record
            for key in path[:-1]:
                of = of[key]
            of[path[-1]] = value

        rewrite(folder, inner)

    return change


def set_header(change):
    """Changes the header of the weights, with new digests."""

    def inner(folder):
        content = (folder / "model.safetensors").read_bytes()
        end = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:end])
        header = change(header) or header
        text = header if isinstance(header, bytes) else json.dumps(header).encode()
        replace_file(
            folder, "model.safetensors", len(text).to_bytes(8, "little") + text + content[end:]
        )

    return inner


def first(header):
    return header["body.layers.0.cell.candidate_bias"]


def link(folder):
    shutil.move(folder / "model.safetensors", folder.parent / "model.safetensors")
    (folder / "model.safetensors").symlink_to(folder.parent / "model.safetensors")


def link_description(folder):
    shutil.move(folder / "bundle.json", folder.parent / "bundle.json")
    (folder / "bundle.json").symlink_to(folder.parent / "bundle.json")


def folder_in_place_of_a_file(folder):
    (folder / "card.md").unlink()
    (folder / "card.md").mkdir()


def pipe(folder):
    (folder / "card.md").unlink()
    os.mkfifo(folder / "card.md")


def user_cell(folder):
    """A cell of a file that would leave a mark if it were executed."""
    code = folder.parent / "cell.py"
    code.write_text(f"open({str(folder.parent / 'executed')!r}, 'w')\nclass Cell: pass\n")
    set_key("architecture", "cell", value=f"{code}:Cell")(folder)


def pickled(folder):
    (folder / "model.pkl").write_bytes(b"\x80\x04N.")


def duplicate_key(folder):
    path = folder / "bundle.json"
    path.write_text(path.read_text().replace("{", '{"format": "rnnlab bundle",', 1))


CORRUPTIONS = {
    "link": (link, "must be a regular file, got a link"),
    "link of the description": (link_description, "must be a regular file, got a link"),
    "folder in place of a file": (folder_in_place_of_a_file, "must be a regular file"),
    "pipe": (pipe, "must be a regular file"),
    "missing file": (lambda folder: (folder / "card.md").unlink(), "card.md is missing; restore"),
    "missing description": (lambda folder: (folder / "bundle.json").unlink(), "must be a bundle"),
    "further file": (pickled, "must have only the files of bundle.json, got 'model.pkl'"),
    "hidden file": (lambda folder: (folder / ".x").touch(), "must have only the files"),
    "name of the parent": (set_file_name(".."), "must be 1 to 100 letters"),
    "name outside": (set_file_name("../outside"), "must be 1 to 100 letters"),
    "absolute name": (set_file_name("/etc/passwd"), "must be 1 to 100 letters"),
    "name of a stream": (set_file_name("card.md:x"), "must be 1 to 100 letters"),
    "own name": (set_file_name("bundle.json"), "and not bundle.json or model.sig"),
    "later format": (set_key("format_version", value=2), "must be <= 1, got 2; upgrade rnnlab"),
    "no version": (set_key("format_version", value=True), "format_version must be >= 1"),
    "other format": (set_key("format", value="zip"), "must describe a bundle, and does not"),
    "name with a folder": (set_key("name", value="../x"), "name must be 1 to 100 letters"),
    "negative size": (set_key("files", "card.md", "size", value=-1), "must be a size and a SHA"),
    "cell of a file": (user_cell, "must be of registered cells"),
    "unknown cell": (set_key("architecture", "cell", value="x"), "must be of registered cells"),
    "huge width": (set_key("architecture", "width", value=10**9), "must be at most 1048576"),
    "huge depth": (set_key("architecture", "depth", value=10**6), "depth must be at most"),
    "other width": (set_key("architecture", "width", value=8), "must have the shape that the arch"),
    "other sizes": (set_key("sizes", "out_features", value=4), "must have the shape that the arc"),
    "no sizes": (set_key("sizes", "vocab_size", value=None), "vocab_size"),
    "negative size of a variable": (
        set_key("sizes", "num_variables", value=-1),
        "num_variables must be",
    ),
    "variables of tokens": (set_key("sizes", "num_variables", value=1), "at most a third of"),
    "other vocabulary": (set_key("vocabulary", value=["a"]), "must have vocab_size symbols, 3"),
    "other head": (
        set_key("loss", value={"kind": "StudentT", "horizon": 3}),
        "the head must have out_features outputs, 3, got 9",
    ),
    "other state": (set_key("state", value=[]), "state must be that of the architecture"),
    "other shape": (
        set_key("parameters", "head_bias", "shape", value=[4]),
        "array 'head_bias' must be float32 of shape",
    ),
    "unknown encoding": (
        set_key("parameters", "head_bias", "encoding", "kind", value="int3"),
        "encoding.kind must be one of float32",
    ),
    "unknown loss": (set_key("loss", value="mine"), "loss must be one of categorical"),
    "head of a class": (set_key("loss", value={"kind": "os.system"}), "loss.kind must be one of"),
    "preparation of a class": (
        set_key("preparation", "kind", value="Path"),
        "preparation.kind must be one of",
    ),
    "duplicate key": (duplicate_key, "the key 'format' occurs twice"),
    "no JSON": (lambda folder: (folder / "bundle.json").write_text("x"), "is not JSON"),
    "no text": (lambda folder: (folder / "bundle.json").write_bytes(b"\xff\xfe"), "is not JSON"),
    "nested": (lambda folder: (folder / "bundle.json").write_text("[" * 10**5), "is not JSON"),
    "huge number": (
        lambda folder: (folder / "bundle.json").write_text("9" * 10**5),
        "is not JSON",
    ),
    "list": (lambda folder: (folder / "bundle.json").write_text("[]"), "must describe a bundle"),
    "large description": (
        lambda folder: (folder / "bundle.json").write_bytes(b" " * (17 << 20)),
        "must have at most 16,777,216 bytes",
    ),
    "reference with a key": (
        lambda folder: replace_file(folder, "reference.json", b'{"code": 1}'),
        "must not have the key 'code'",
    ),
    "reference of a list": (
        lambda folder: replace_file(folder, "reference.json", b"[]"),
        "must be a JSON object",
    ),
    "huge header": (
        lambda folder: replace_file(folder, "model.safetensors", b"\xff" * 8 + b"{}"),
        "must have a header of at most 2 bytes",
    ),
    "no header": (
        lambda folder: replace_file(folder, "model.safetensors", b"\x00" * 7),
        "must have a header of at most 0 bytes",
    ),
    "header of no JSON": (set_header(lambda header: b"{"), "the header of"),
    "array of another dtype": (
        set_header(lambda header: first(header).update(dtype="F64")),
        "must be float32 of shape",
    ),
    "array of another shape": (
        set_header(lambda header: first(header).update(shape=[2, 2])),
        "must be float32 of shape",
    ),
    "array outside": (
        set_header(lambda header: first(header).update(data_offsets=[0, 1 << 60])),
        "must be at bytes",
    ),
    "array before": (
        set_header(lambda header: first(header).update(data_offsets=[-16, 0])),
        "must be at bytes",
    ),
    "array of another": (
        set_header(lambda header: first(header).update(data_offsets=header["head_bias"])),
        "must have two offsets",
    ),
    "further array": (
        set_header(lambda header: {**header, "x": first(header)}),
        "must not have the key 'x'",
    ),
    "missing array": (
        set_header(lambda header: {name: x for name, x in header.items() if name != "head_bias"}),
        "must have the key 'head_bias'",
    ),
    "further bytes": (
        lambda folder: replace_file(
            folder, "model.safetensors", (folder / "model.safetensors").read_bytes() + b"x"
        ),
        "bytes behind its header",
    ),
}


@pytest.mark.parametrize(("corrupt", "message"), CORRUPTIONS.values(), ids=CORRUPTIONS)
def test_corrupt_bundle_is_refused_in_one_line(folder, corrupt, message):
    open_bundle(folder)
    corrupt(folder)
    assert message in refusal(folder)
    assert not (folder.parent / "executed").exists()


KERNEL = "body.layers.0.cell.update_kernel"
OPTIONS = {
    "bits": (5, "bits must be one of"),
    "bits ": (8, "array 'body.layers.0.cell.update_kernel.integers' must be int8 of shape"),
    "group": (-1, "group must be an int >= 0"),
    "group ": (1, "update_kernel.scales' must be float32 of shape"),
    "channel_axis": (1, "channel_axis must be one of"),
}


@pytest.fixture
def quantized(written, arrays, tmp_path):
    """A bundle of which one kernel is stored as integers of 4 bits."""
    encoding = Integers(bits=4, group=2)
    integers = np.arange(16, dtype=np.int8).reshape(4, 4) % 8
    stored = {name: x for name, x in arrays.items() if name != KERNEL}
    stored |= encoding.arrays(KERNEL, integers, np.ones((4, 2), np.float32))
    folder = tmp_path / "bundles" / "quantized"
    encodings = {KERNEL: encoding}
    return write_bundle(folder, written.description, stored, encodings=encodings).path


@pytest.mark.parametrize(("name", "value", "message"), [(k, *v) for k, v in OPTIONS.items()])
def test_options_of_an_encoding_must_fit_the_stored_arrays(quantized, name, value, message):
    set_key("parameters", KERNEL, "encoding", name.strip(), value=value)(quantized)
    assert message in refusal(quantized)


def test_group_of_more_than_all_inputs_needs_no_memory(written, arrays, tmp_path):
    encoding = Integers(bits=8, group=1 << 60)
    stored = {name: x for name, x in arrays.items() if name != KERNEL}
    stored |= encoding.arrays(KERNEL, np.ones((4, 4), np.int8), np.full((4, 1), 2, np.float32))
    encodings = {KERNEL: encoding}
    bundle = write_bundle(tmp_path / "m", written.description, stored, encodings=encodings)
    found = named_parameters(bundle.model())[KERNEL]
    np.testing.assert_array_equal(found, np.full((4, 4), 2, np.float32))


def test_file_that_changes_after_opening_is_refused(folder):
    bundle = open_bundle(folder)
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match="has changed since the bundle was written"):
        bundle.model()


@pytest.mark.parametrize("path", ["none", "file"])
def test_path_that_is_not_a_folder_is_refused(tmp_path, path):
    (tmp_path / "file").touch()
    with pytest.raises(BundleError, match="must be a bundle, a folder with a"):
        open_bundle(Path(tmp_path, path))
