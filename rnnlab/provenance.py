"""Provenance of measurements: device, versions, flags, command and git revision."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from rnnlab import malloc

PACKAGES = (
    *("rnnlab", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "scipy", "torch"),
    *("scikit-learn", "sktime", "statsmodels", "vega_datasets", "music21"),
)
"""Packages whose versions are recorded where they are installed."""


def environment(device: Any) -> dict[str, Any]:
    """Returns what numbers depend on besides the program: device, versions, flags and command.

    `device` is a `jax.Device`; this module does not import JAX.
    """
    return {
        "device": device.device_kind,
        "platform": device.platform,
        "processor": _processor(),
        "cores": cpu_count(),
        "python": platform.python_version(),
        "versions": {name: v for name in PACKAGES if (v := _version(name))},
        "xla_flags": os.environ.get("XLA_FLAGS", ""),
        "glibc_tunables": os.environ.get("GLIBC_TUNABLES", ""),
        "malloc_keep_memory": malloc.keeps_memory(),
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "started": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


def git_revision() -> str | None:
    """Returns the git revision of the source, marked if it is edited; None outside a checkout."""
    here = Path(__file__).parent
    if not (here.parent / "pyproject.toml").exists():
        return None
    command = ["git", "-C", str(here), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def cpu_count() -> int:
    """Returns the CPU cores that XLA uses: those of this process, or the variable NPROC."""
    nproc = os.environ.get("NPROC", "")
    if nproc.isascii() and nproc.isdigit() and int(nproc):
        return int(nproc)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    """Returns the CPU's name: JAX calls every one of them `cpu`."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
