"""Each protection is removed from a copy of the code, and a test must fail.

A mutation names the file, the code, its replacement, and the test that fails.
"""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

MUTATIONS = {
    "lock": (
        "rnnlab/runs/lock.py",
        "            lock(file, wait=False)",
        "            pass",
        "tests/runs/test_lock.py::test_second_writer_gets_an_error_that_names_the_first",
    ),
    "digests of files": (
        "rnnlab/runs/checkpoints/manifest.py",
        "if _file_digest(file) != known:",
        "if False:",
        "tests/runs/test_corruption.py::test_flipped_bit_is_named_and_the_previous_step_is_restored",
    ),
    "digests of arrays": (
        "rnnlab/runs/checkpoints/manifest.py",
        'is_same = isinstance(x, jax.Array) or digest(x) == known[name].get("sha256")',
        "is_same = True",
        "tests/runs/test_corruption.py::test_array_that_differs_from_its_digest_is_named",
    ),
    "digest of the manifest": (
        "rnnlab/runs/checkpoints/manifest.py",
        'body.pop("sha256") != _body_digest(body)',
        'body.pop("sha256") is None',
        "tests/runs/test_corruption.py::test_edited_manifest_is_corruption",
    ),
    "atomic replacement of a pointer": (
        "rnnlab/atomic_io.py",
        "tmp = path.with_name(path.name + TMP_SUFFIX)",
        "tmp = path",
        "tests/runs/test_checkpoints.py::test_write_json_that_fails_leaves_the_previous_content",
    ),
    "atomic appearance of a step": (
        "rnnlab/runs/checkpoints/store.py",
        'target, tmp = self.path(step), self.directory / f"{step}{TMP_SUFFIX}"',
        "target = tmp = self.path(step)",
        "tests/runs/test_checkpoints.py::test_save_flushes_the_files_before_the_name",
    ),
    "atomic deletion of a step": (
        "rnnlab/runs/checkpoints/store.py",
        "self.path(step).rename(trash)\n            shutil.rmtree(trash)",
        "shutil.rmtree(self.path(step))",
        "tests/faults/test_faults.py::test_interrupted_deletion_leaves_every_step_valid",
    ),
    "archive of later steps": (
        "rnnlab/runs/checkpoints/store.py",
        "self.move_away(self.path(saved), archive_dir)",
        "pass",
        "tests/runs/test_checkpoints.py::test_archive_after_moves_later_steps_and_keeps_them",
    ),
    "skip of a NaN update": (
        "rnnlab/train/step.py",
        "applied = jnp.isfinite(jnp.append(stats, change)).all()",
        "applied = jnp.array(True)",
        "tests/train/test_divergence.py::test_update_with_nan_or_inf_is_skipped_and_later_ones_are_applied",
    ),
    "stop after too many skipped updates": (
        "rnnlab/train/divergence.py",
        "if consecutive > max_skips:",
        "if False:",
        "tests/train/test_divergence.py::"
        "test_run_with_too_many_skips_stops_and_keeps_valid_checkpoints",
    ),
    "signals deferred during an update": (
        "rnnlab/runs/signals.py",
        "self._deferred = True",
        "self._deferred = False",
        "tests/train/test_loop.py::test_run_on_sigterm_stops_between_updates",
    ),
    "removal of a truncated record": (
        "rnnlab/records.py",
        "            file.truncate(end)\n            try:",
        "            try:",
        "tests/test_records.py",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_mutation_names_code_and_a_test_that_exist(name):
    file, original, _, test = MUTATIONS[name]
    assert (ROOT / file).read_text(encoding="utf-8").count(original) == 1
    path, _, function = test.partition("::")
    assert f"def {function}" in (ROOT / path).read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", MUTATIONS)
def test_code_without_a_protection_fails_its_test(tmp_path, name):
    file, original, replacement, test = MUTATIONS[name]
    for folder in ("rnnlab", "tests", "experiments", "tools"):
        ignored = shutil.ignore_patterns("__pycache__", "results", "*.png", "*.jsonl")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    source = (tmp_path / file).read_text(encoding="utf-8")
    (tmp_path / file).write_text(source.replace(original, replacement), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider", test]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    # Exit code 1: a test failed. Any other: the test did not run.
    assert done.returncode == 1, done.stdout[-3000:]
    assert f"FAILED {test.partition('::')[0]}" in done.stdout
