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
        "tests/runs/test_lock.py::test_the_second_writer_is_told_who_the_first_is",
    ),
    "digests of files": (
        "rnnlab/runs/checkpoints/manifest.py",
        "if _file_digest(file) != known:",
        "if False:",
        "tests/runs/test_corruption.py::test_a_flipped_bit_is_named_and_the_step_before_is_taken",
    ),
    "digests of arrays": (
        "rnnlab/runs/checkpoints/manifest.py",
        'if digest(x) != body["leaves"].get(name, {}).get("sha256"):',
        "if False:",
        "tests/runs/test_corruption.py::test_an_array_that_is_not_what_was_stored_is_named",
    ),
    "digest of the manifest": (
        "rnnlab/runs/checkpoints/manifest.py",
        'body.pop("sha256") != _body_digest(body)',
        'body.pop("sha256") is None',
        "tests/runs/test_corruption.py::test_a_list_that_was_edited_is_damage",
    ),
    "atomic replacement of a pointer": (
        "rnnlab/atomic_io.py",
        'beside = path.with_name(path.name + ".new")',
        "beside = path",
        "tests/runs/test_checkpoints.py::test_a_file_that_cannot_be_written_whole_is_what_it_was",
    ),
    "atomic appearance of a step": (
        "rnnlab/runs/checkpoints/store.py",
        'final, beside = self.folder / str(step), self.folder / f"{step}.new"',
        "final = beside = self.folder / str(step)",
        "tests/runs/test_checkpoints.py::test_the_steps_files_are_on_the_disk_before_its_name",
    ),
    "atomic deletion of a step": (
        "rnnlab/runs/checkpoints/store.py",
        "(self.folder / str(step)).rename(aside)\n            shutil.rmtree(aside)",
        "shutil.rmtree(self.folder / str(step))",
        "tests/faults/test_faults.py::test_interrupted_deletion_leaves_every_step_valid",
    ),
    "archive of later steps": (
        "rnnlab/runs/checkpoints/store.py",
        "self.put_away(self.folder / str(step), into)",
        "pass",
        "tests/runs/test_checkpoints.py::test_later_steps_are_moved_aside_and_kept",
    ),
    "skip of a NaN update": (
        "rnnlab/train/step.py",
        "taken = jnp.isfinite(jnp.append(now, change)).all()",
        "taken = jnp.array(True)",
        "tests/train/test_divergence.py::test_what_is_no_number_is_skipped_and_what_follows_is_not",
    ),
    "stop after too many skipped updates": (
        "rnnlab/train/divergence.py",
        "if in_a_row > limit:",
        "if False:",
        "tests/train/test_divergence.py::"
        "test_too_many_in_a_row_end_the_run_with_its_last_checkpoint_sound",
    ),
    "signals deferred during an update": (
        "rnnlab/runs/signals.py",
        "self._waiting = True",
        "self._waiting = False",
        "tests/train/test_loop.py::test_sigterm_stops_between_two_steps",
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
