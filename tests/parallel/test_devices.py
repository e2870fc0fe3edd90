"""Tests on several devices run in one child process and report what happened there."""

import jax
import pytest
from devices import run_on_devices

EXAMPLES = "tests/parallel/results_examples.py"


@pytest.mark.devices(3)
def test_marked_test_has_its_number_of_devices(tmp_path):
    assert jax.device_count() == 3
    assert tmp_path.exists()


def test_results_of_a_child_are_reported_per_test(tmp_path):
    names = ["passing", "failing", "skipping", "aborting", "not_reached"]
    ids = {name: f"{EXAMPLES}::test_{name}" for name in names}
    results = run_on_devices(list(ids.values()), 2, tmp_path)
    found = {name: results[node][0] for name, node in ids.items()}
    outcomes = ["passed", "failed", "skipped", "failed", "failed"]
    assert [found[name]["outcome"] for name in names] == outcomes
    assert "assert 2 == 3" in found["failing"]["text"]
    assert "printed" in found["failing"]["text"]
    assert "a reason" in found["skipping"]["text"]
    for name in ("aborting", "not_reached"):
        assert "ended with exit code 5 before" in found[name]["text"]
