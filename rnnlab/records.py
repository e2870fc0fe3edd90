"""Result rows: one JSON object a line, each with all that is needed to repeat it."""

import json
import os
import platform
import subprocess
import sys
import warnings
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from io import RawIOBase
from pathlib import Path
from typing import Any

from rnnlab import malloc
from rnnlab.atomic_io import finite, lock, make_folder, sync, writing
from rnnlab.errors import DataError

Record = dict[str, Any]

PACKAGES = (
    *("rnnlab", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "torch"),
    *("scikit-learn", "sktime", "statsmodels", "vega_datasets", "music21"),
)


def environment(device: Any) -> Record:
    """What the numbers depend on beside the program: device, versions, flags and command."""
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "processor": _processor(),
        "cores": cores(),
        "python": platform.python_version(),
        "versions": {name: v for name in PACKAGES if (v := _version(name))},
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "glibc_tunables": os.environ.get("GLIBC_TUNABLES", ""),
        "malloc_keep_memory": malloc.keeps_memory(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "started": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def commit() -> str | None:
    """The commit of the source, marked where it has been edited; None outside of a checkout."""
    here = Path(__file__).parent
    if not (here.parent / "pyproject.toml").exists():
        return None
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def cores() -> int:
    """Cores that XLA computes on: those of this process, or what NPROC in the environment says."""
    nproc = os.environ.get("NPROC", "")
    if nproc.isascii() and nproc.isdigit() and int(nproc):
        return int(nproc)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def append(path: Path, row: Record) -> None:
    """Adds a row, on the disk when this returns. Rows of several processes do not mix.

    What an interrupted process left of its last row is taken away first. If the disk is full the
    file is as it was before. A number that is not finite, which JSON has not, becomes null.

    Raises:
      DataError: what is there is a link, no file, or ends with what is no row.
      ResourceError: it could not be written; names the file and the reason.
    """
    if path.is_symlink() or (path.exists() and not path.is_file()):
        raise DataError(f"{path} is no file of its own; name one for the rows")
    line = json.dumps(finite(row), allow_nan=False).encode() + b"\n"
    # Without a buffer, which would be written once more when the file is closed.
    with writing(path):
        make_folder(path.parent)
        new = not path.exists()
        with path.open("a+b", buffering=0) as file:
            lock(file)
            end = _end_of_rows(path, file)
            file.truncate(end)
            try:
                while line:
                    line = line[file.write(line) :]
                os.fsync(file.fileno())
            except BaseException:
                file.truncate(end)
                raise
        if new:
            sync(path.parent)


def read(path: Path) -> Iterator[Record]:
    """The rows of a file. A last line that a process was killed in is left out, with a warning.

    Raises:
      DataError: a line is not a JSON object, or there is no file; names the file and the line.
    """
    if Path(path).exists() and not Path(path).is_file():
        raise DataError(f"{path} is no file; one of rows is needed")
    with Path(path).open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                if not line.endswith(b"\n"):
                    warnings.warn(f"{path}, line {number}, is cut off: left out", stacklevel=2)
                    return
                raise DataError(
                    f"{path}, line {number}, is not JSON: {error}; mend the line or take it out"
                ) from None
            if not isinstance(row, dict):
                raise DataError(f"{path}, line {number}, is not a JSON object")
            yield row


def _end_of_rows(path: Path, file: RawIOBase, block: int = 1 << 16) -> int:
    """Where the last whole line ends; a last line without its end that is a row gets one."""
    end = file.seek(0, os.SEEK_END)
    start, tail = end, b""
    while start and b"\n" not in tail:
        start = max(0, start - block)
        file.seek(start)
        tail = file.read(end - start)
    whole = start + tail.rfind(b"\n") + 1 if b"\n" in tail else 0
    rest = tail[whole - start :]
    if rest and _is_row(rest):
        file.write(b"\n")
        return end + 1
    if rest and not rest.startswith(b"{"):
        raise DataError(f"{path} ends with what is no row; name a file for the rows")
    return whole


def _is_row(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """The CPU's name: JAX calls every one of them `cpu`."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
