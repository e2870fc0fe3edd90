"""Corrupt and made-up bundles: one clear line each, no crash, no code, nothing written outside."""

import json
import os
import shutil

import pytest
from bundle.corruptions import refusal, replace_file, rewrite, set_key

from rnnlab.bundle import open_bundle
from rnnlab.bundle.format import FileRecord


def set_file_name(name):
    def change(folder):
        record = {"size": 0, "sha256": FileRecord.of(b"").sha256}
        rewrite(folder, lambda of: of["files"].update({name: record}))

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
