"""The file `bundle.json`: what it holds, its digest, and how it is written and checked.

Its digest is the SHA-256 of its own bytes with the 64 digits of the digest replaced by zeros, so
that any changed byte is found without a rule for the spelling of numbers.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rnnlab.atomic_io import parse_json
from rnnlab.bundle.architecture import dump_config, load_config
from rnnlab.bundle.description import Description, Sizes
from rnnlab.bundle.encodings import ENCODINGS, Parameter
from rnnlab.bundle.kinds import (
    dump_kind,
    dump_loss,
    dump_preparation,
    load_kind,
    load_loss,
    load_preparation,
)
from rnnlab.bundle.values import dump, load, require_keys

FORMAT, FORMAT_VERSION = "rnnlab bundle", 1
DESCRIPTION, WEIGHTS, REFERENCE, CARD = (
    "bundle.json",
    "model.safetensors",
    "reference.json",
    "card.md",
)
SIGNATURE = "model.sig"
REQUIRED = (WEIGHTS, REFERENCE, CARD)
"""Files of every bundle besides `bundle.json`."""

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
"""Names of files and bundles: not a path, and not hidden."""

MAX_JSON_BYTES = 16 << 20
"""Size of the largest JSON file that is read."""

NO_DIGEST = "0" * 64
KEYS = {
    *("format", "format_version", "name", "architecture", "sizes", "loss", "metrics"),
    *("target_scale", "autoregressive", "vocabulary", "classes", "preparation", "state"),
    *("parameters", "source", "files", "digest"),
}


@dataclass(frozen=True)
class FileRecord:
    """Size in bytes and SHA-256 of a file of a bundle."""

    size: int
    sha256: str

    @classmethod
    def of(cls, content: bytes) -> "FileRecord":
        """Returns the record of a file's content."""
        return cls(len(content), hashlib.sha256(content).hexdigest())


@dataclass(frozen=True)
class Content:
    """The content of `bundle.json`.

    Attributes:
      description: of the model.
      parameters: shape and encoding by name.
      state: name, dtype and shape of each part of the state of one stream, as JSON values.
      files: by name, without `bundle.json` and the signature.
    """

    description: Description
    parameters: Mapping[str, Parameter]
    state: list[dict[str, Any]]
    files: Mapping[str, FileRecord]


def write_content(content: Content) -> bytes:
    """Returns the bytes of `bundle.json`.

    Raises:
      ValueError: a part cannot be described, such as a class of a user's file.
    """
    of = content.description
    record = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "name": of.name,
        "architecture": dump_config(of.config),
        "sizes": of.sizes.record(),
        "loss": dump_loss(of.loss),
        "metrics": dump(of.metrics),
        "target_scale": dump(of.target_scale),
        "autoregressive": of.autoregressive,
        "vocabulary": dump(of.vocabulary),
        "classes": dump(of.classes),
        "preparation": dump_preparation(of.preparation),
        "state": content.state,
        "parameters": {
            name: {
                "shape": dump(parameter.shape),
                "encoding": dump_kind(parameter.encoding, ENCODINGS, "encoding"),
            }
            for name, parameter in content.parameters.items()
        },
        "source": dump(of.source),
        "files": {name: dump(content.files[name]) for name in sorted(content.files)},
    }
    return seal(record)


def seal(record: Mapping[str, Any]) -> bytes:
    """Returns a record as JSON whose key `digest`, the last one, has the digest of the bytes."""
    record = {**record, "digest": NO_DIGEST}
    text = f"{json.dumps(record, indent=1, allow_nan=False)}\n".encode()
    before, after = text.rsplit(NO_DIGEST.encode(), 1)
    return before + hashlib.sha256(text).hexdigest().encode() + after


def read_content(text: bytes, where: str) -> tuple[Content, str]:
    """Returns the content of `bundle.json` and its digest.

    Args:
      text: the file's bytes.
      where: its name, for messages.

    Raises:
      ValueError: it is not JSON, of a later format, changed, or a part of it is invalid.
    """
    record = parse_json(text, where)
    require_format(record, where)
    require_keys(record, KEYS, where)
    digest = require_digest(text, record["digest"], where)
    parameters = load(Mapping[str, Any], record["parameters"], f"{where}: parameters")
    state = list(load(tuple[Any, ...], record["state"], f"{where}: state"))
    description = Description(
        name=_name(record["name"], f"{where}: name"),
        config=load_config(record["architecture"], f"{where}: architecture"),
        sizes=load_sizes(record["sizes"], f"{where}: sizes"),
        loss=load_loss(record["loss"], f"{where}: loss"),
        metrics=load(tuple[str, ...], record["metrics"], f"{where}: metrics"),
        target_scale=load(float, record["target_scale"], f"{where}: target_scale"),
        autoregressive=load(bool, record["autoregressive"], f"{where}: autoregressive"),
        vocabulary=load(tuple[str, ...], record["vocabulary"], f"{where}: vocabulary"),
        classes=load(tuple[str, ...], record["classes"], f"{where}: classes"),
        preparation=load_preparation(record["preparation"], f"{where}: preparation"),
        source=load(Mapping[str, Any], record["source"], f"{where}: source"),
    )
    return Content(
        description,
        {
            name: _parameter(value, f"{where}: parameters.{name}")
            for name, value in parameters.items()
        },
        state,
        _files(record["files"], f"{where}: files"),
    ), digest


def load_sizes(value: Any, where: str) -> Sizes:
    """Returns the sizes of `Sizes.record`: those in `Sizes.OMITTED` may be missing."""
    if isinstance(value, dict):
        value = {**dict.fromkeys(Sizes.OMITTED), **value}
    return load(Sizes, value, where)


def require_format(record: Any, where: str) -> None:
    """Raises ValueError unless JSON is the description of a bundle, of a known format."""
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError(f"{where} must describe a bundle, and does not; name another folder")
    version = record.get("format_version")
    if type(version) is not int or version < 1:
        raise ValueError(f"{where}: format_version must be >= 1, got {version!s:.40}; restore it")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"{where}: format_version must be <= {FORMAT_VERSION}, got {version!s:.40}; upgrade "
            "rnnlab"
        )


def require_digest(text: bytes, digest: Any, where: str) -> str:
    """Returns the digest that a file contains, which must be that of its bytes."""
    if isinstance(digest, str) and re.fullmatch(r"[0-9a-f]{64}", digest):
        before, _, after = text.rpartition(digest.encode())
        if hashlib.sha256(before + NO_DIGEST.encode() + after).hexdigest() == digest:
            return digest
    raise ValueError(f"{where} has changed since it was written; restore it from a copy")


def require_name(name: str, where: str) -> None:
    """Raises ValueError unless `name` may be that of a file of a bundle."""
    if not NAME.fullmatch(name) or name in (DESCRIPTION, SIGNATURE):
        raise ValueError(
            f"{where} must be 1 to 100 letters, digits and ._-, starting with a letter or a "
            f"digit, and not {DESCRIPTION} or {SIGNATURE}, got {name[:60]!r}; rename it"
        )


def _name(value: Any, where: str) -> str:
    if isinstance(value, str) and NAME.fullmatch(value):
        return value
    raise ValueError(
        f"{where} must be 1 to 100 letters, digits and ._-, starting with a letter or a digit, got "
        f"{value!s:.60}; choose another"
    )


def _parameter(value: Any, where: str) -> Parameter:
    require_keys(value, {"shape", "encoding"}, where)
    shape = load(tuple[int, ...], value["shape"], f"{where}.shape")
    if any(n < 0 for n in shape):
        raise ValueError(f"{where}.shape must be >= 0, got {min(shape)}; restore it")
    return Parameter(shape, load_kind(value["encoding"], ENCODINGS, f"{where}.encoding"))


def _files(value: Any, where: str) -> dict[str, FileRecord]:
    records = load(Mapping[str, FileRecord], value, where)
    for name, record in records.items():
        require_name(name, where)
        if record.size < 0 or not re.fullmatch(r"[0-9a-f]{64}", record.sha256):
            raise ValueError(f"{where}.{name} must be a size and a SHA-256; restore it from a copy")
    if missing := set(REQUIRED) - records.keys():
        raise ValueError(f"{where} must have {min(missing)}, got none; restore it from a copy")
    return records
