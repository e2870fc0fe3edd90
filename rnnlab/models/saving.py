"""Save a module and the arguments that build it again to one file, and load it.

The file is a ZIP archive of `.npy` files, one per array, which `numpy.load` reads, and of
`module.json`: the class and the constructor's arguments of the module and of its parts, and the
digest of each array. It holds no code and no pickled objects. Equal modules give equal files.
"""

import hashlib
import io
import json
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import flax
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

import rnnlab
from rnnlab.atomic_io import mkdir_durable, open_atomic, raise_resource_errors
from rnnlab.errors import CheckpointError, CorruptCheckpointError
from rnnlab.models.parameters import path_name
from rnnlab.models.rebuild import MODES, build, describe, import_classes, require_rebuildable

FORMAT, FORMAT_VERSION = "rnnlab module", 1
DESCRIPTION, DIGEST, SUFFIX = "module.json", "module.json.sha256", ".npy"
MAX_DESCRIPTION_BYTES = 64 << 20
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    struct.error,
    EOFError,
    LookupError,
    MemoryError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What `zipfile`, `json` and `numpy` raise about a file that is not what they expect."""


def save(path: str | Path, module: nnx.Module) -> None:
    """Saves a module's arrays and the arguments of its constructors to a file, atomically.

    Cells, layers, stacks and models of rnnlab can be saved, and modules of your own that keep
    their constructor's arguments as attributes of the same names.

    Args:
      path: the file; an existing one is replaced, and missing directories are created.
      module: the module, in any mode, which is restored too.

    Raises:
      ValueError: the module cannot be built again from its constructor's arguments, or path is not
        a path.
      InsufficientResourcesError: the file cannot be written; an existing one is unchanged.

    >>> import tempfile
    >>> from rnnlab import GRU
    >>> cell = GRU(3, 4, rngs=nnx.Rngs(0))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save(f"{folder}/cell.npz", cell)
    ...     loaded = load_model(f"{folder}/cell.npz")
    >>> bool((loaded.kernel[...] == cell.kernel[...]).all())
    True
    """
    if not isinstance(path, str | os.PathLike):
        raise ValueError(
            f"path must be the first argument of save, got a {type(path).__name__}; write "
            "rnnlab.save(path, module)"
        )
    if not isinstance(module, nnx.Module):
        raise ValueError(
            f"module must be an nnx.Module, got a {type(module).__name__}; save arrays with "
            "np.savez"
        )
    path, description = Path(path), describe(module)
    require_rebuildable(module, _abstract_module(description, _has_streams(module), path.parent))
    with raise_resource_errors(path):
        mkdir_durable(path.parent)
    with open_atomic(path) as file, zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        records = {}
        for name, value in _named_arrays(module):
            data = _npy_bytes(value)
            records[name] = {**_shape_and_dtype(value), "sha256": digest(data)}
            _write(archive, name + SUFFIX, data)
        content = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "versions": {p.__name__: p.__version__ for p in (rnnlab, jax, flax)},
            "module": description,
            "mode": _mode(module),
            "has_streams": _has_streams(module),
            "arrays": records,
        }
        text = f"{json.dumps(content, indent=2)}\n".encode()
        _write(archive, DESCRIPTION, text)
        _write(archive, DIGEST, digest(text).encode())


def load_model(path: str | Path) -> nnx.Module:
    """Returns the module that `save` has written, built by its class with the saved arrays.

    Importing its classes executes their code, and nothing else of the file is executed.

    Args:
      path: the file.

    Raises:
      CheckpointError: the file does not exist, is not a saved module, or has a later format.
      CorruptCheckpointError: a part of the file differs from what was written.
      ValueError: a class of the module cannot be imported, or has changed.
    """
    path = Path(path)
    if not path.is_file():
        found = "a directory" if path.is_dir() else "no file"
        raise CheckpointError(f"{path} must be a file written by rnnlab.save, got {found}")
    content, arrays = read(path)
    try:
        module = _abstract_module(content["module"], content["has_streams"], path.parent)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    return _with_arrays(path, module, arrays, content)


def read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Returns the description and the arrays of a file, after checking their digests.

    Raises:
      CheckpointError: the file is not a saved module, or has a later format.
      CorruptCheckpointError: a part of the file differs from what was written.
    """
    try:
        return _read(path)
    except CheckpointError:
        raise
    except UNREADABLE as error:
        raise CorruptCheckpointError(
            f"{path} must be a file written by rnnlab.save, but cannot be read: "
            f"{type(error).__name__}: {error}; restore it from a copy"
        ) from None


def digest(data: bytes) -> str:
    """Returns the SHA-256 digest of bytes."""
    return hashlib.sha256(data).hexdigest()


def _read(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with zipfile.ZipFile(path) as archive:
        infos = {info.filename: info for info in archive.infolist()}
        if DESCRIPTION not in infos or DIGEST not in infos:
            raise CheckpointError(f"{path} must be a file written by rnnlab.save, got another one")
        if infos[DESCRIPTION].file_size > MAX_DESCRIPTION_BYTES:
            raise _corrupt(path, DESCRIPTION)
        text = archive.read(DESCRIPTION)
        if archive.read(DIGEST) != digest(text).encode():
            raise _corrupt(path, DESCRIPTION)
        content = json.loads(text)
        version = content["format_version"]
        if content["format"] != FORMAT or version > FORMAT_VERSION:
            raise CheckpointError(
                f"{path} must have format version <= {FORMAT_VERSION}, got {version}; update rnnlab"
            )
        records = content["arrays"]
        if infos.keys() != {DESCRIPTION, DIGEST, *(name + SUFFIX for name in records)}:
            raise _corrupt(path, "the list of arrays")
        arrays = {}
        for name, record in records.items():
            # Sizes are known before anything is read: a header cannot ask for more memory.
            if infos[name + SUFFIX].compress_type != zipfile.ZIP_STORED:
                raise _corrupt(path, name)
            data = archive.read(name + SUFFIX)
            if digest(data) != record["sha256"]:
                raise _corrupt(path, name)
            arrays[name] = np.lib.format.read_array(io.BytesIO(data), allow_pickle=False)
    return content, arrays


def _with_arrays(
    path: Path, module: nnx.Module, arrays: dict[str, np.ndarray], content: dict[str, Any]
) -> nnx.Module:
    """Returns an abstract module with the arrays of a file, in the file's mode."""
    expected = {name: _shape_and_dtype(value) for name, value in _named_arrays(module)}
    for name in sorted(expected.keys() | arrays.keys()):
        record = content["arrays"].get(name, {})
        found = {key: record[key] for key in ("shape", "dtype") if record}
        if found != expected.get(name, {}):
            raise CheckpointError(
                f"{path}: array {name!r} of {type(module).__name__} must be "
                f"{expected.get(name, 'missing')}, got {found or 'none'}; load it with the version "
                "of the code that saved it"
            )
    graphdef, state = nnx.split(module)
    state = jax.tree.map_with_path(
        lambda p, like: _from_numpy(arrays[path_name(p)], like.dtype), state
    )
    module = nnx.merge(graphdef, state)
    if content["mode"] == "eval":
        module.eval()
    elif content["mode"] == "train":
        module.train()
    return module


def _abstract_module(description: dict[str, Any], has_streams: bool, directory: Path) -> nnx.Module:
    """Builds a module with shapes and dtypes in place of arrays, which are not drawn."""

    import_classes(description, directory)

    def make() -> nnx.Module:
        # `Rngs(0)` has no stream named dropout, which layers would keep.
        rngs = nnx.Rngs(0, dropout=0) if has_streams else nnx.Rngs(0)
        return build(description, rngs, directory)

    return nnx.eval_shape(make)


def _named_arrays(module: nnx.Module) -> Iterator[tuple[str, Any]]:
    """Yields the arrays of a module by path, joined by dots."""
    for path, value in jax.tree.flatten_with_path(nnx.state(module))[0]:
        yield path_name(path), value


def _shape_and_dtype(value: Any) -> dict[str, Any]:
    return {"shape": list(value.shape), "dtype": str(value.dtype)}


def _npy_bytes(value: Any) -> bytes:
    """Returns an array as `.npy`: of a random key its data, of 16-bit and 8-bit floats the bits."""
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        value = jax.random.key_data(value)
    x = np.asarray(value)
    if x.dtype.isbuiltin != 1:
        x = x.view(f"u{x.dtype.itemsize}")
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, x, allow_pickle=False)
    return buffer.getvalue()


def _from_numpy(x: np.ndarray, dtype: Any) -> jax.Array:
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        return jax.random.wrap_key_data(jnp.asarray(x))
    return jnp.asarray(x.view(dtype))


def _mode(module: nnx.Module) -> str | None:
    """Returns "train" or "eval" if all layers with a mode have this one."""
    found = {
        getattr(part, name)
        for _, part in nnx.iter_modules(module)
        for name in MODES
        if hasattr(part, name)
    }
    return {frozenset({True}): "eval", frozenset({False}): "train"}.get(frozenset(found))


def _has_streams(module: nnx.Module) -> bool:
    return any(
        isinstance(value, nnx.RngStream)
        for _, part in nnx.iter_modules(module)
        for value in vars(part).values()
    )


def _write(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name), data)  # with a constant date: equal files


def _corrupt(path: Path, name: str) -> CorruptCheckpointError:
    return CorruptCheckpointError(
        f"{path} is corrupt: {name} differs from what was written; restore it from a copy"
    )
