"""Tests marked `devices(N)` run in a child process with N virtual devices; see devices.py."""

import os

import jax
import pytest
from devices import DeviceTest, write_phase


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    """Replaces the selected tests that need more devices than this process has."""
    for k, item in enumerate(items):
        marker = item.get_closest_marker("devices")
        if marker is not None and jax.device_count() < marker.args[0]:
            folder = config._tmp_path_factory.getbasetemp()
            if "PYTEST_XDIST_WORKER" in os.environ:
                folder = folder.parent
            items[k] = DeviceTest.replace(item, marker.args[0], folder / "devices")


def pytest_runtest_logreport(report):
    write_phase(report)
