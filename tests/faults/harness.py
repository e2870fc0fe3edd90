"""A small training run as a real process: started, stopped, resumed, compared byte by byte."""

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rnnlab.atomic_io import lock
from rnnlab.runs.checkpoints import manifest
from rnnlab.runs.checkpoints.store import CheckpointStore

HERE = Path(__file__).parent
LAST_STEP = 12
"""The last training step of the run; it saves a checkpoint at every second step."""

EXPERIMENT = '''
"""Is nothing lost?

Command:  rnnlab run {name}
"""

from pathlib import Path

from rnnlab.models.config import ModelConfig
from rnnlab.runs.api import Experiment, Preset
from rnnlab.tasks import Text
from rnnlab.train.config import TrainConfig

MODEL = ModelConfig(
    width=16, depth=1, expansion=1, conv_kernel_size=2, mlp_expansion=None, dropout=0.1
)
TRAINING = TrainConfig(
    steps={last}, eval_every=2, log_every=1, schedule="plateau", plateau_patience=1
)
DATA = Text(Path("{text}"), length=8, batch_size=4, stateful=True)

PRESETS = {{"cpu": Preset(Experiment(DATA, MODEL, TRAINING))}}
'''


class Outcome(NamedTuple):
    """The exit code of a process, its output, and its duration in seconds."""

    code: int
    stdout: str
    stderr: str
    seconds: float

    @property
    def saved_step(self) -> int:
        """The last step that the process reported as saved; -1 without a report."""
        found = re.findall(r"saved step ([0-9]+)", self.stdout + self.stderr)
        return max(map(int, found), default=-1)


@dataclass(frozen=True)
class Lab:
    """A folder with an experiment and the reference run, which no fault disturbed.

    Attributes:
      folder: holds the experiment, its text and the reference run.
    """

    folder: Path

    @classmethod
    def build(cls, folder: Path) -> "Lab":
        """Writes the experiment and trains the reference run.

        Raises:
          RuntimeError: the reference run failed.
        """
        lab = cls(folder)
        folder.mkdir(parents=True, exist_ok=True)
        text = folder / "text.txt"
        text.write_text("a quick brown fox jumps over the lazy dog. " * 40, encoding="utf-8")
        fields = {"name": lab.experiment.name, "text": text, "last": LAST_STEP}
        lab.experiment.write_text(EXPERIMENT.format(**fields), encoding="utf-8")
        outcome = lab.wait(lab.run(folder / "reference"))
        if outcome.code:
            raise RuntimeError(outcome.stderr)
        return lab

    @property
    def experiment(self) -> Path:
        """The experiment's file."""
        return self.folder / "small.py"

    @property
    def reference_run(self) -> Path:
        """The run directory of the reference run."""
        return run_folder(self.folder / "reference")

    def reference_bundle(self) -> Path:
        """Returns the bundle of the reference run, which the first call of any process writes.

        Raises:
          RuntimeError: it could not be written.
        """
        path = self.folder / "bundle"
        with (self.folder / "bundle.lock").open("w") as file:
            lock(file)
            if not path.exists():
                command = "bundle", str(self.reference_run), "--out", str(path)
                outcome = self.wait(self.rnnlab(*command))
                if outcome.code:
                    raise RuntimeError(outcome.stderr)
        return path

    @property
    def is_complete(self) -> bool:
        """Whether the reference run has been trained."""
        return (self.reference_run / "result.json").exists()

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables of the processes.

        All share one compilation cache: the tests' if there is one. Their output is buffered even
        if that of this process is not.
        """
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
        cache = {
            "JAX_COMPILATION_CACHE_DIR": str(self.folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        }
        return cache | inherited | {"COLUMNS": "200"}

    def run(self, out: Path, *flags: str, point: str = "") -> subprocess.Popen:
        """Starts `rnnlab run`; it pauses at `point`, a name of `injection_points.py`."""
        return self.rnnlab("run", str(self.experiment), "--out", str(out), *flags, point=point)

    def resume(self, out: Path, *flags: str, point: str = "") -> Outcome:
        """Runs `rnnlab resume` for the run below `out` until it ends."""
        return self.wait(self.rnnlab("resume", str(run_folder(out)), *flags, point=point))

    def rnnlab(self, *arguments: str, point: str = "", **options) -> subprocess.Popen:
        """Starts the command line as a process with its output in pipes."""
        command = [sys.executable, str(HERE / "injection_points.py"), point or "none", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        defaults = {"env": self.environment, "cwd": self.folder, **pipes}
        return subprocess.Popen(command, **defaults | options)

    def wait(self, process: subprocess.Popen, timeout: float = 300) -> Outcome:
        """Waits until a process ends."""
        start = time.perf_counter()
        try:
            stdout, stderr = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return Outcome(process.returncode, stdout, stderr, time.perf_counter() - start)

    def marker(self, point: str, process: subprocess.Popen) -> Path:
        """The file that a process makes when it reaches an injection point."""
        return self.folder / "reached" / f"{point}.{process.pid}"

    def copy_reference_without_result(self, out: Path) -> Path:
        """Copies the reference run as if it had stopped just before its end; returns the copy."""
        copy = run_folder(out)
        shutil.copytree(self.reference_run, copy)
        (copy / "result.json").unlink()
        return copy

    def matches_reference(self, out: Path) -> bool:
        """Whether the run below `out` ended with the reference run's state, byte by byte."""
        return digests(run_folder(out)) == digests(self.reference_run)


def run_folder(out: Path) -> Path:
    """The run directory below a folder of runs."""
    return out / "cell=mingru,seed=0"


def saved_steps(folder: Path) -> list[int]:
    """The steps of the checkpoints in a run directory, in order."""
    return CheckpointStore(folder, {}).saved_steps()


def digests(folder: Path, step: int = LAST_STEP) -> dict[str, str]:
    """The digests of a checkpoint's reproducible leaves, after its files were verified."""
    leaves = manifest.read_verified_manifest(folder / "checkpoints" / str(step)).leaves
    return {name: leaf["sha256"] for name, leaf in leaves.items() if "seconds" not in name}
