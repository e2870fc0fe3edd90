"""Write a bundle, completely or not at all, and add files to one."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rnnlab.bundle.architecture import abstract_model, dump_config, state_layout
from rnnlab.bundle.bundle import Bundle, open_bundle
from rnnlab.bundle.description import Description
from rnnlab.bundle.encodings import Encoding, Float32, Parameter, Stored, stored_arrays
from rnnlab.bundle.files import write_folder
from rnnlab.bundle.format import (
    CARD,
    DESCRIPTION,
    MAX_JSON_BYTES,
    REFERENCE,
    SIGNATURE,
    WEIGHTS,
    Content,
    FileRecord,
    require_name,
    write_content,
)
from rnnlab.bundle.values import dump
from rnnlab.bundle.weights import encode_arrays
from rnnlab.models.parameters import named_parameters


def write_bundle(
    path: Path | str,
    description: Description,
    arrays: Mapping[str, np.ndarray],
    *,
    encodings: Mapping[str, Encoding] | None = None,
    reference: Mapping[str, Any] | None = None,
    card: str = "",
    files: Mapping[str, bytes] | None = None,
    overwrite: bool = False,
) -> Bundle:
    """Writes a bundle and returns it, opened. The folder is written completely or not at all.

    Args:
      path: the folder.
      description: of the model.
      arrays: as they are stored. Of a parameter without an encoding, its value under its name of
        `rnnlab.models.parameters.named_parameters`, float32.
      encodings: by the name of the parameter; default: `Float32`.
      reference: statistics of the run's data, JSON values.
      card: Markdown.
      files: contents of further files by name, such as "step.onnx".
      overwrite: whether an existing bundle is replaced.

    Raises:
      ValueError: the arrays do not fit the architecture, a cell is a class of a user's file, or
        the folder exists and is not a bundle, or `overwrite` is False.
      InsufficientResourcesError: it cannot be written; an existing folder is unchanged.
    """
    folder, encodings = Path(path), dict(encodings or {})
    require_free(folder, overwrite)
    dump_config(description.config)  # fails for a user's cell before its shapes are looked at
    model, leaves = abstract_model(description.config, description.sizes, description.loss)
    parameters = {
        name: Parameter(tuple(like.shape), encodings.pop(name, Float32()))
        for name, like in named_parameters(model).items()
    }
    if encodings:
        raise ValueError(
            f"encodings must be of parameters of the model, got {min(encodings)!r}; remove it"
        )
    arrays = {name: np.asarray(x) for name, x in arrays.items()}
    _require_stored(stored_arrays(parameters), arrays)
    contents = {
        WEIGHTS: encode_arrays(arrays),
        REFERENCE: f"{json.dumps(dump(reference or {}), indent=1)}\n".encode(),
        CARD: card.encode(),
    }
    for name, content in (files or {}).items():
        require_name(name, "a file's name")
        if name in contents:
            raise ValueError(f"files must not have {name}, which is an argument; rename it")
        contents[name] = content
    records = {name: FileRecord.of(content) for name, content in contents.items()}
    text = write_content(Content(description, parameters, state_layout(leaves), records))
    contents[DESCRIPTION] = text
    for name in (DESCRIPTION, REFERENCE):
        if len(contents[name]) > MAX_JSON_BYTES:
            raise ValueError(
                f"{name} must have at most {MAX_JSON_BYTES:,} bytes to be read, got "
                f"{len(contents[name]):,}; reduce the vocabulary, the series or the features"
            )
    write_folder(folder, contents, overwrite=os.path.lexists(folder))
    return open_bundle(folder)


def add_files(path: Path | str, files: Mapping[str, bytes]) -> Bundle:
    """Adds files to a bundle, or replaces them, and returns the bundle with its new digest.

    The folder has all of the files or none of them.

    Args:
      path: the folder.
      files: contents by name, such as "step.onnx" or "parity.json".

    Raises:
      BundleError: the bundle is invalid.
      ValueError: a name is not that of a file, or is one of the weights, or the bundle is signed.
      InsufficientResourcesError: they cannot be written; the bundle is unchanged.
    """
    folder, bundle = Path(path), open_bundle(path)
    if os.path.lexists(folder / SIGNATURE):
        raise ValueError(
            f"{folder} must not be signed while files are added; remove {SIGNATURE}, and sign it "
            f"again with `rnnlab bundle {folder} --sign-key KEY`"
        )
    for name in files:
        require_name(name, "a file's name")
        if name in (WEIGHTS, REFERENCE):
            raise ValueError(f"files must not replace {name}, got it; write a new bundle")
    _, leaves = abstract_model(bundle.config, bundle.sizes, bundle.loss)
    records = {name: FileRecord.of(content) for name, content in files.items()}
    content = Content(
        bundle.description,
        bundle.parameters,
        state_layout(leaves),
        {**bundle.files, **records},
    )
    kept = {name: folder / name for name in bundle.files if name not in files}
    contents = {**kept, **files, DESCRIPTION: write_content(content)}
    write_folder(folder, contents, overwrite=True)
    return open_bundle(folder)


def require_free(folder: Path, overwrite: bool) -> None:
    """Raises ValueError if a bundle cannot be written to a folder."""
    if not os.path.lexists(folder):
        return
    if not overwrite:
        raise ValueError(f"{folder} must not exist, and does; choose another --out")
    open_bundle(folder)  # nothing but a bundle is replaced


def _require_stored(expected: Mapping[str, Stored], arrays: Mapping[str, np.ndarray]) -> None:
    """Raises ValueError unless arrays have the names, dtypes and shapes of the encodings."""
    found = {name: Stored(str(x.dtype), x.shape) for name, x in arrays.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise ValueError(
                f"arrays must have {name!r} as {expected.get(name)}, got {found.get(name)}; "
                "convert it"
            )
