"""Tests on several virtual devices: ordinary tests, which run in one child process per module.

JAX fixes the number of CPU devices when it starts, and the processes of the suite have one. A
module of tests/parallel that needs more has one line,

    pytestmark = pytest.mark.devices(4)

and otherwise ordinary tests: fixtures, parameters, `-k` and tracebacks work as everywhere. The
first of its selected tests starts `pytest` on all of them in a child process with that many
devices, and each test reports what the child reported about it. A process that has enough devices
runs them itself, which is how to debug them:

    XLA_FLAGS=--xla_force_host_platform_device_count=4 pytest -n0 tests/parallel/test_shard_map.py
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from rnnlab.atomic_io import lock

ROOT = Path(__file__).parents[2]

RESULTS_VARIABLE = "RNNLAB_DEVICE_TEST_RESULTS"
"""The file to which a child process appends one line of JSON per phase of a test."""

CHILD_SECONDS = 1800
"""The time after which a child is killed: a deadlock of its devices ends it after 300 s itself."""

XLA_FLAGS = (
    "--xla_force_host_platform_device_count={count}",
    # The default of 40 s aborts the process on a busy machine.
    "--xla_cpu_collective_call_terminate_timeout_seconds=300",
)


class DeviceTest(pytest.Item):
    """One test of a module that runs in a child process with `count` devices."""

    @classmethod
    def replace(cls, item: pytest.Item, count: int, folder: Path) -> "DeviceTest":
        """Returns a test of the same name and markers that reports the result of `item`."""
        test = cls.from_parent(item.parent, name=item.name, nodeid=item.nodeid)
        test.own_markers = list(item.own_markers)
        test.location_in_file = item.reportinfo()
        test.count, test.folder = count, folder
        return test

    def reportinfo(self):
        return self.location_in_file

    def runtest(self):
        file = self.parent.path
        tests = [
            item.nodeid
            for item in self.session.items
            if isinstance(item, DeviceTest) and (item.path, item.count) == (file, self.count)
        ]
        phases = run_on_devices(tests, self.count, self.folder / f"{file.stem}-{self.count}")
        for phase in phases[self.nodeid]:
            if phase["outcome"] == "failed":
                raise ChildError(phase["text"])
            if phase["outcome"] == "skipped":
                pytest.skip(phase["text"])

    def repr_failure(self, excinfo, style=None):
        if isinstance(excinfo.value, ChildError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)


class ChildError(Exception):
    """A test failed in the child process; the message is its traceback there."""


def run_on_devices(tests: Sequence[str], count: int, folder: Path) -> dict[str, list[dict]]:
    """Runs tests once per session in a child process with `count` CPU devices.

    Args:
        tests: node ids relative to the repository, all those of a module that are selected.
        count: the number of virtual devices.
        folder: where the processes of a session share the results.

    Returns:
        The phases (setup, call, teardown) of each test: their outcome and the text of a failure.
    """
    folder.mkdir(parents=True, exist_ok=True)
    results = folder / "results.jsonl"
    with (folder / "lock").open("w") as file:
        lock(file)  # the first of the workers runs the tests of the module, the others wait
        if not results.exists():
            _run_child(tests, count, results)
    phases = {test: [] for test in tests}
    for line in results.read_text().splitlines():
        phase = json.loads(line)
        phases[phase["test"]].append(phase)
    return phases


def _run_child(tests: Sequence[str], count: int, results: Path) -> None:
    flags = " ".join((os.environ.get("XLA_FLAGS", ""), *XLA_FLAGS)).format(count=count).strip()
    environment = os.environ | {
        "XLA_FLAGS": flags,
        "JAX_PLATFORMS": "cpu",
        RESULTS_VARIABLE: str(results),
    }
    for variable in [name for name in environment if name.startswith("PYTEST_")]:
        del environment[variable]  # the child is not a worker of this session
    options = ["-q", "-p", "no:cacheprovider", "-o", "addopts=--strict-markers --strict-config"]
    options.append(f"--basetemp={results.parent / 'child'}")
    results.touch()
    try:
        child = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *tests],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=CHILD_SECONDS,
        )
        end, output = f"ended with exit code {child.returncode}", child.stdout
    except subprocess.TimeoutExpired as error:
        end, output = f"did not end within {CHILD_SECONDS} s", (error.stdout or b"").decode()
    called = {json.loads(line)["test"] for line in results.read_text().splitlines()}
    for test in tests:
        if test not in called:
            text = f"the child process {end} before this test's result:\n{output[-8000:]}"
            _append(results, {"test": test, "outcome": "failed", "text": text})


def write_phase(report: pytest.TestReport) -> None:
    """Appends the result of one phase of a test to the file of the child process, if it is one."""
    if RESULTS_VARIABLE not in os.environ:
        return
    if report.when == "setup" and report.passed:
        return  # a process that aborts during the test must not leave a passed one behind
    skipped = report.skipped and isinstance(report.longrepr, tuple)
    text = report.longrepr[2] if skipped else report.longreprtext
    text += "".join(f"\n--- {name} ---\n{content}" for name, content in report.sections)
    phase = {"test": report.nodeid, "outcome": report.outcome, "text": text}
    _append(Path(os.environ[RESULTS_VARIABLE]), phase)


def _append(path: Path, record: dict) -> None:
    with path.open("a") as file:
        file.write(json.dumps(record) + "\n")
