"""The protections are what the tests see: each is taken away in a copy, and a test turns red."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent

MUTATIONS = {
    "the lock": (
        "rnnlab/runs/lock.py",
        "            lock(file, wait=False)",
        "            pass",
        "tests/runs/test_lock.py::test_second_writer_gets_an_error_that_names_the_first",
    ),
    "the digests of files": (
        "rnnlab/runs/checkpoints/manifest.py",
        "if _file_digest(file) != known:",
        "if False:",
        "tests/runs/test_corruption.py::test_flipped_bit_is_named_and_the_previous_step_is_restored",
    ),
    "the digests of arrays": (
        "rnnlab/runs/checkpoints/manifest.py",
        'if digest(x) != manifest.leaves.get(name, {}).get("sha256"):',
        "if False:",
        "tests/runs/test_corruption.py::test_array_that_differs_from_its_digest_is_named",
    ),
    "the list's own digest": (
        "rnnlab/runs/checkpoints/manifest.py",
        'body.pop("sha256") != _body_digest(body)',
        'body.pop("sha256") is None',
        "tests/runs/test_corruption.py::test_edited_manifest_is_corruption",
    ),
    "the pointer's replacement as a whole": (
        "rnnlab/atomic_io.py",
        "tmp = path.with_name(path.name + TMP_SUFFIX)",
        "tmp = path",
        "tests/runs/test_checkpoints.py::test_write_json_that_fails_leaves_the_previous_content",
    ),
    "the step's appearance as a whole": (
        "rnnlab/runs/checkpoints/store.py",
        'target, tmp = self.path(step), self.folder / f"{step}{TMP_SUFFIX}"',
        "target = tmp = self.path(step)",
        "tests/runs/test_checkpoints.py::test_save_flushes_the_files_before_the_name",
    ),
    "the old step's disappearance as a whole": (
        "rnnlab/runs/checkpoints/store.py",
        "self.path(step).rename(trash)\n            shutil.rmtree(trash)",
        "shutil.rmtree(self.path(step))",
        "tests/faults/test_faults.py::test_a_deletion_that_is_cut_short_leaves_every_step_sound",
    ),
    "the move of later steps": (
        "rnnlab/runs/checkpoints/store.py",
        "self.move_away(self.path(saved), archive_dir)",
        "pass",
        "tests/runs/test_checkpoints.py::test_archive_after_moves_later_steps_and_keeps_them",
    ),
    "the guard against what is no number": (
        "rnnlab/train/step.py",
        "applied = jnp.isfinite(jnp.append(stats, change)).all()",
        "applied = jnp.array(True)",
        "tests/train/test_divergence.py::test_update_with_nan_or_inf_is_skipped_and_later_ones_are_applied",
    ),
    "the end after too many skipped updates": (
        "rnnlab/train/divergence.py",
        "if consecutive > max_skips:",
        "if False:",
        "tests/train/test_divergence.py::"
        "test_run_with_too_many_skips_stops_and_keeps_valid_checkpoints",
    ),
    "the wait of signals during an update": (
        "rnnlab/runs/signals.py",
        "self._deferred = True",
        "self._deferred = False",
        "tests/train/test_loop.py::test_run_on_sigterm_stops_between_updates",
    ),
    "the removal of a torn row": (
        "rnnlab/records.py",
        "            file.truncate(end)\n            try:",
        "            try:",
        "tests/test_records.py",
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_without_it_a_test_turns_red(tmp_path, name):
    file, there, instead, test = MUTATIONS[name]
    for folder in ("rnnlab", "tests", "experiments"):
        ignored = shutil.ignore_patterns("__pycache__", "results", "*.png", "*.jsonl")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    source = (tmp_path / file).read_text(encoding="utf-8")
    assert source.count(there) == 1, f"{file} has {there!r} no longer"
    (tmp_path / file).write_text(source.replace(there, instead), encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-n0", "-p", "no:cacheprovider", test]
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    # 1 says that a test failed; anything else that it could not be run.
    assert done.returncode == 1, done.stdout[-3000:]
    assert f"FAILED {test.partition('::')[0]}" in done.stdout
