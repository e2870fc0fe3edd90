"""Whether there is room for what is about to be done: on the disk, and in memory."""

import os
import re
import shutil
import tempfile
from pathlib import Path

import jax

from rnnlab.errors import ResourceError

MARGIN = 1 << 18
"""Bytes beside the arrays' own that a checkpoint's folder takes."""

FULL = re.compile(r"No space left|Disk quota exceeded|File too large|RESOURCE_EXHAUSTED")
"""What a full disk is called in other libraries' errors, which are of many kinds."""


def need_disk(folder: Path, size: int, what: str) -> None:
    """Refuses to begin what the disk cannot hold: twice the size, for what is replaced is kept.

    Raises:
      ResourceError: gives the megabytes that are needed and free.
    """
    while not folder.exists():
        folder = folder.parent
    needed, free = 2 * size + MARGIN, shutil.disk_usage(folder).free
    if free < needed:
        raise ResourceError(
            f"{what} needs {_megabytes(needed)} on the disk of {folder}, where {_megabytes(free)} "
            "are free; make room, then go on with `rnnlab resume`"
        )


def need_writable(folder: Path) -> None:
    """Finds out before any work whether files can be written in a folder, which is made.

    Raises:
      ResourceError: they cannot; names the folder and the reason.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = error.strerror or error
        raise ResourceError(
            f"{folder} cannot be written to: {reason}; choose another --out"
        ) from None


def need_memory(size: int, what: str, lower: str) -> None:
    """Refuses what cannot fit into memory, before the system ends the process without a word.

    Args:
      size: bytes.
      what: needs them.
      lower: the settings that would make it smaller.

    Raises:
      ResourceError: gives the gigabytes that are needed and there.
    """
    device = jax.devices()[0]
    there = memory(device)
    if there is not None and size > there:
        raise ResourceError(
            f"{what} needs about {_gigabytes(size)} of memory, and the {device.platform} has "
            f"{_gigabytes(there)}; lower {lower}"
        )


def memory(device: jax.Device) -> int | None:
    """Bytes of memory that a device can give to arrays; None where it does not tell."""
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit")
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # Windows
        return None


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
