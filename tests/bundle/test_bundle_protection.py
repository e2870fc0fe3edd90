"""Every byte and every key of a bundle is checked: one clear line, nothing written outside."""

import json
from pathlib import Path

import pytest
from bundle.corruptions import refusal

from rnnlab.bundle import open_bundle
from rnnlab.bundle.format import seal
from rnnlab.errors import BundleError
from rnnlab.models import ModelConfig

FILES = ("bundle.json", "model.safetensors", "reference.json", "card.md", "note.txt")
CONFIG = ModelConfig(width=4, depth=1, expansion=1, conv_kernel_size=None, mlp_expansion=None)
DEFAULT_SETTINGS = {
    name for name, value in ModelConfig().settings().items() if value == CONFIG.settings()[name]
} - {"cell"}
FREE = ("source",)
"""Keys of `bundle.json` that hold any JSON object."""


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
