"""Whether there is room for what is about to be done: on the disk, and in memory."""

import os
import re
import shutil
import tempfile
from pathlib import Path

import jax

from rnnlab.errors import InsufficientResourcesError
from rnnlab.atomic_io import NO_ROOM

try:
    import resource
except ImportError:  # Windows
    resource = None

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
        raise InsufficientResourcesError(
            f"{what} needs {_megabytes(needed)} on the disk of {folder}, where {_megabytes(free)} "
            "are free; make room, then go on with `rnnlab resume`"
        )


def need_writable(folder: Path) -> None:
    """Finds out before any work whether files can be written in a folder that may not be there yet.

    Raises:
      ResourceError: they cannot; names the folder that is there and the reason.
    """
    while not os.path.lexists(folder):
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = error.strerror or error
        advice = "make room" if error.errno in NO_ROOM else "choose another place"
        raise InsufficientResourcesError(
            f"{folder} cannot be written to: {reason}; {advice}"
        ) from None


def need_memory(size: int, what: str, lower: str) -> None:
    """Refuses what cannot fit into memory, before the system ends the process without a word.

    Args:
      size: bytes of all the arrays, with those that are there already.
      what: needs them.
      lower: the settings that would make it smaller.

    Raises:
      ResourceError: gives the gigabytes that are needed and there.
    """
    device = jax.devices()[0]
    there = memory(device)
    if there is not None and size > there:
        raise InsufficientResourcesError(
            f"{what} needs about {_gigabytes(size)} of memory, and the {device.platform} has "
            f"{_gigabytes(there)} for it; lower {lower}"
        )


def memory(device: jax.Device, root: Path = Path("/")) -> int | None:
    """Bytes of memory that a device can give to arrays; None where it does not tell.

    For a CPU it is the least of these: what the machine has; what of it this process holds already
    or could get, where the system's cache of files counts as free; and the limits on the process's
    address space and its control groups. Linux tells of them in the folders proc and sys of `root`.
    """
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit")
    bounds = [_physical(), _within_reach(root), _address_space(), *_group_limits(root)]
    return min((x for x in bounds if x is not None), default=None)


def _physical() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # Windows
        return None


def _within_reach(root: Path) -> int | None:
    """What is available, in memory or in swap, and what this process has of either already."""
    text = _text(root / "proc/meminfo") + _text(root / "proc/self/status")
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE))
    names = "MemAvailable", "SwapFree", "RssAnon", "VmSwap"
    return sum(1024 * int(found[x]) for x in names) if found.keys() >= set(names) else None


def _address_space() -> int | None:
    if resource is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def _group_limits(root: Path) -> list[int]:
    """The limits on the process's control group and on those around it, of versions 1 and 2."""
    found = []
    for line in _text(root / "proc/self/cgroup").splitlines():
        _, kinds, group = line.split(":", 2)
        if kinds and "memory" not in kinds.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("memory" if kinds else "")
        inner = top / group.lstrip("/")
        for folder in (inner, *inner.parents):
            if folder.is_relative_to(top):
                limit = _text(folder / ("memory.limit_in_bytes" if kinds else "memory.max"))
                found += [int(limit)] if limit.strip().isdecimal() else []
    return found


def _text(path: Path) -> str:
    """What a file holds; nothing where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
