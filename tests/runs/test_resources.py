"""Available memory is the minimum of what the machine and its limits allow."""

import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import pytest

from rnnlab.errors import InsufficientResourcesError
from rnnlab.runs.resources import available_memory, require_memory

CPU = jax.devices("cpu")[0]
UNLIMITED = "9223372036854771712\n"
PHYSICAL = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def put(root, path, text):
    path = root / path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def meminfo(root, available, swap=0):
    text = f"MemTotal: 9 kB\nMemAvailable:   {available} kB\nSwapFree:  {swap} kB\nHugePages: 0\n"
    put(root, "proc/meminfo", text)


def test_available_memory_without_limits_is_the_physical_memory(tmp_path):
    assert available_memory(CPU, tmp_path) == PHYSICAL


@pytest.mark.parametrize(
    ("groups", "limits", "least"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "4096\n"}, 4096),
        ("0::/a/b\n", {"a/b/memory.max": "max\n", "a/memory.max": "8192\n"}, 8192),
        ("0::/a/b\n", {"a/b/memory.max": "4096\n", "a/memory.max": "8192\n"}, 4096),
        ("0::/\n", {"memory.max": "4096\n"}, 4096),
        ("0::/a\n", {"b/memory.max": "4096\n"}, PHYSICAL),
        ("0::/a\n", {"a/memory.max": "max\n"}, PHYSICAL),
        ("0::/a\n", {"a/memory.max": "\n"}, PHYSICAL),
        ("4:memory:/a\n0::/\n", {"memory/a/memory.limit_in_bytes": "4096\n"}, 4096),
        ("4:cpu,memory:/a\n", {"memory/a/memory.limit_in_bytes": "4096\n"}, 4096),
        ("4:memory:/seen/outside\n", {"memory/memory.limit_in_bytes": "4096\n"}, 4096),
        ("4:memory:/a\n", {"memory/a/memory.limit_in_bytes": UNLIMITED}, PHYSICAL),
        ("4:cpu:/a\n", {"memory/a/memory.limit_in_bytes": "4096\n"}, PHYSICAL),
    ],
)
def test_available_memory_respects_control_groups_of_both_versions(tmp_path, groups, limits, least):
    put(tmp_path, "proc/self/cgroup", groups)
    for path, text in limits.items():
        put(tmp_path, f"sys/fs/cgroup/{path}", text)
    assert available_memory(CPU, tmp_path) == least


def test_available_memory_ignores_an_unreadable_limit(tmp_path):
    put(tmp_path, "proc/self/cgroup", "0::/a\n")
    (tmp_path / "sys/fs/cgroup/a/memory.max").mkdir(parents=True)
    assert available_memory(CPU, tmp_path) == PHYSICAL


def test_available_memory_adds_what_the_process_uses(tmp_path):
    meminfo(tmp_path, 100, swap=10)
    assert available_memory(CPU, tmp_path) == PHYSICAL
    put(tmp_path, "proc/self/status", "VmSize:\t 999 kB\nVmSwap:\t 3 kB\nRssAnon:\t   20 kB\n")
    assert available_memory(CPU, tmp_path) == 1024 * (100 + 10 + 3 + 20)
    meminfo(tmp_path, 1 << 50)
    assert available_memory(CPU, tmp_path) == PHYSICAL


def test_available_memory_is_the_minimum_of_all_limits(tmp_path):
    put(tmp_path, "proc/self/status", "VmSwap:\t 0 kB\nRssAnon:\t   1 kB\n")
    put(tmp_path, "proc/self/cgroup", "0::/\n")
    put(tmp_path, "sys/fs/cgroup/memory.max", "4096")
    meminfo(tmp_path, 1)
    assert available_memory(CPU, tmp_path) == 2048
    meminfo(tmp_path, 9)
    assert available_memory(CPU, tmp_path) == 4096


def test_available_memory_of_an_accelerator_is_its_own(tmp_path, unchecked):
    put(tmp_path, "proc/self/cgroup", "0::/\n")
    put(tmp_path, "sys/fs/cgroup/memory.max", "4096")
    reported = SimpleNamespace(platform="gpu", memory_stats=lambda: {"bytes_limit": 1 << 40})
    unreported = SimpleNamespace(platform="gpu", memory_stats=lambda: None)
    assert available_memory(reported, tmp_path) == 1 << 40
    assert available_memory(unreported, tmp_path) is None


def test_require_memory_raises_only_above_the_available_memory():
    require_memory(1 << 20, "it", "width")
    with pytest.raises(
        InsufficientResourcesError, match=r"^it needs about .* GB .* has .* GB; lower width$"
    ):
        require_memory(PHYSICAL + 1, "it", "width")


LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (4_000_000_000, 4_000_000_000))
from rnnlab.runs.resources import require_memory
require_memory(1_000_000, "a small model", "width")
print("fits")
require_memory(4_100_000_000, "a large model", "width")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems ignore the limit")
def test_require_memory_respects_the_address_space_limit():
    command = [sys.executable, "-c", LIMITED]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout == "fits\n"
    assert done.returncode == 1
    message = "a large model needs about 4.1 GB of memory, and the cpu has 4.0 GB; lower width"
    assert done.stderr.endswith(f"rnnlab.errors.InsufficientResourcesError: {message}\n")
