"""Check that the disk and the memory have enough free space for what follows."""

import os
import re
import shutil
import tempfile
from pathlib import Path

import jax

from rnnlab.atomic_io import disk_advice
from rnnlab.errors import InsufficientResourcesError

try:
    import resource
except ImportError:  # Windows
    resource = None

CHECKPOINT_OVERHEAD_BYTES = 1 << 18
"""Bytes of a checkpoint's directory besides its arrays."""

DISK_FULL_PATTERN = re.compile(
    r"No space left|Disk quota exceeded|File too large|RESOURCE_EXHAUSTED"
)
"""Patterns of disk-full and out-of-memory errors in third-party messages."""


def require_disk(directory: Path, size: int, what: str) -> None:
    """Raises unless 2 × `size` bytes are free: the old checkpoint stays until the new one is there.

    Args:
      directory: a directory, which may not exist yet.
      size: bytes of the arrays.
      what: what needs them, for the message.

    Raises:
      InsufficientResourcesError: gives the required and the free megabytes.
    """
    while not directory.exists():
        directory = directory.parent
    needed, free = 2 * size + CHECKPOINT_OVERHEAD_BYTES, shutil.disk_usage(directory).free
    if free < needed:
        raise InsufficientResourcesError(
            f"{what} needs {_megabytes(needed)} of free disk space in {directory}, got "
            f"{_megabytes(free)}; free disk space, then run `rnnlab resume`"
        )


def require_writable(directory: Path) -> None:
    """Raises unless files can be written in a directory, which may not exist yet.

    Raises:
      InsufficientResourcesError: names the existing directory and the reason.
    """
    while not os.path.lexists(directory):
        directory = directory.parent
    try:
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(b"x")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        reason = error.strerror or error
        raise InsufficientResourcesError(
            f"{directory} must be a writable directory: {reason}; {disk_advice(error)}"
        ) from None


def require_memory(size: int, what: str, lower: str) -> None:
    """Raises if `size` exceeds available memory, before the OOM killer ends the process.

    Args:
      size: bytes of all arrays, including existing ones.
      what: what needs them, for the message.
      lower: the settings that would reduce the size.

    Raises:
      InsufficientResourcesError: gives the required and the available gigabytes.
    """
    device = jax.devices()[0]
    available = available_memory(device)
    if available is not None and size > available:
        raise InsufficientResourcesError(
            f"{what} needs about {_gigabytes(size)} of memory, and the {device.platform} has "
            f"{_gigabytes(available)}; lower {lower}"
        )


def available_memory(device: jax.Device, root: Path = Path("/")) -> int | None:
    """Returns the bytes of memory that arrays on a device can use; None where it is unknown.

    For a CPU it is the minimum of: the physical memory; what this process holds already or could
    get, where the file cache counts as free; and the limits on the process's address space and its
    control groups. Linux reports them in `proc` and `sys` below `root`.
    """
    if device.platform != "cpu":
        return (device.memory_stats() or {}).get("bytes_limit")
    bounds = [_physical(), _reclaimable(root), _address_space(), *_group_limits(root)]
    return min((x for x in bounds if x is not None), default=None)


def _physical() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # Windows
        return None


def _reclaimable(root: Path) -> int | None:
    """Returns what is available in memory and in swap, plus what this process uses of either."""
    text = _read_text(root / "proc/meminfo") + _read_text(root / "proc/self/status")
    found = dict(re.findall(r"^(\w+):\s+(\d+) kB$", text, re.MULTILINE))
    names = "MemAvailable", "SwapFree", "RssAnon", "VmSwap"
    return sum(1024 * int(found[x]) for x in names) if found.keys() >= set(names) else None


def _address_space() -> int | None:
    if resource is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else limit


def _group_limits(root: Path) -> list[int]:
    """Returns the limits of the process's control group and its parents, of versions 1 and 2."""
    found = []
    for line in _read_text(root / "proc/self/cgroup").splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("memory" if controllers else "")
        inner = top / group.lstrip("/")
        file = "memory.limit_in_bytes" if controllers else "memory.max"
        for directory in (inner, *inner.parents):
            if directory.is_relative_to(top):
                limit = _read_text(directory / file)
                found += [int(limit)] if limit.strip().isdecimal() else []
    return found


def _read_text(path: Path) -> str:
    """Returns a file's text; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f} MB"


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:,.1f} GB"
