"""Whether there is room in memory: the least of what the machine and its limits give."""

import os
import subprocess
import sys
from types import SimpleNamespace

import jax
import pytest

from rnnlab.errors import InsufficientResourcesError
from rnnlab.runs.resources import (memory, need_memory)

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


def test_without_anything_told_it_is_what_the_machine_has(tmp_path):
    assert memory(CPU, tmp_path) == PHYSICAL


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
def test_limits_of_control_groups_of_both_versions_count(tmp_path, groups, limits, least):
    put(tmp_path, "proc/self/cgroup", groups)
    for path, text in limits.items():
        put(tmp_path, f"sys/fs/cgroup/{path}", text)
    assert memory(CPU, tmp_path) == least


def test_a_limit_that_cannot_be_read_is_none(tmp_path):
    put(tmp_path, "proc/self/cgroup", "0::/a\n")
    (tmp_path / "sys/fs/cgroup/a/memory.max").mkdir(parents=True)
    assert memory(CPU, tmp_path) == PHYSICAL


def test_what_is_available_counts_with_what_the_process_has_already(tmp_path):
    meminfo(tmp_path, 100, swap=10)
    assert memory(CPU, tmp_path) == PHYSICAL
    put(tmp_path, "proc/self/status", "VmSize:\t 999 kB\nVmSwap:\t 3 kB\nRssAnon:\t   20 kB\n")
    assert memory(CPU, tmp_path) == 1024 * (100 + 10 + 3 + 20)
    meminfo(tmp_path, 1 << 50)
    assert memory(CPU, tmp_path) == PHYSICAL


def test_the_least_of_all_counts(tmp_path):
    put(tmp_path, "proc/self/status", "VmSwap:\t 0 kB\nRssAnon:\t   1 kB\n")
    put(tmp_path, "proc/self/cgroup", "0::/\n")
    put(tmp_path, "sys/fs/cgroup/memory.max", "4096")
    meminfo(tmp_path, 1)
    assert memory(CPU, tmp_path) == 2048
    meminfo(tmp_path, 9)
    assert memory(CPU, tmp_path) == 4096


def test_an_accelerator_tells_of_its_own_memory(tmp_path, unchecked):
    put(tmp_path, "proc/self/cgroup", "0::/\n")
    put(tmp_path, "sys/fs/cgroup/memory.max", "4096")
    told = SimpleNamespace(platform="gpu", memory_stats=lambda: {"bytes_limit": 1 << 40})
    untold = SimpleNamespace(platform="gpu", memory_stats=lambda: None)
    assert memory(told, tmp_path) == 1 << 40
    assert memory(untold, tmp_path) is None


def test_what_fits_is_not_refused_and_what_cannot_is():
    need_memory(1 << 20, "it", "width")
    with pytest.raises(InsufficientResourcesError, match=r"^it needs about .* GB .* has .* GB .*lower width$"):
        need_memory(PHYSICAL + 1, "it", "width")


LIMITED = """
import resource
resource.setrlimit(resource.RLIMIT_AS, (4_000_000_000, 4_000_000_000))
from rnnlab.train.room import need_memory
need_memory(1_000_000, "a small model", "width")
print("fits")
need_memory(4_100_000_000, "a large model", "width")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the limit is of no effect elsewhere")
def test_a_limit_on_the_address_space_counts():
    command = [sys.executable, "-c", LIMITED]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout == "fits\n"
    assert done.returncode == 1
    said = "a large model needs about 4.1 GB of memory, and the cpu has 4.0 GB for it; lower width"
    assert done.stderr.endswith(f"rnnlab.errors.ResourceError: {said}\n")
