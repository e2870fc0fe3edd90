"""Tests with each result, which test_devices.py runs in a child process."""

import os

import jax
import pytest

pytestmark = pytest.mark.devices(2)


def test_passing():
    assert jax.device_count() == 2


def test_failing():
    print("printed")
    assert jax.device_count() == 3


def test_skipping():
    pytest.skip("a reason")


def test_aborting():
    print("last words", flush=True)
    os._exit(5)


def test_not_reached():
    pass
