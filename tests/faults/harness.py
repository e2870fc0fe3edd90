"""A small run as a real process: started, stopped, gone on with, and compared byte by byte."""

import os
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rnnlab.runs.checkpoints import manifest
from rnnlab.runs.checkpoints.store import CheckpointStore

HERE = Path(__file__).parent
LAST = 12
"""The run's last step; every second one is saved."""

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
    width=16, depth=1, expansion=1, conv_size=2, mlp_expansion=None, dropout=0.1
)
TRAINING = TrainConfig(
    steps={last}, eval_every=2, log_every=1, schedule="plateau", plateau_patience=1
)
DATA = Text(Path("{text}"), length=8, batch_size=4, stateful=True)

PRESETS = {{"cpu": Preset(Experiment(DATA, MODEL, TRAINING))}}
'''


class Done(NamedTuple):
    """What a process left: its exit code, what it said, and how long it took."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def last_saved(self) -> int:
        """The last step that it reported as saved; -1 where there is none."""
        found = re.findall(r"saved step ([0-9]+)", self.out + self.err)
        return max(map(int, found), default=-1)


@dataclass(frozen=True)
class Lab:
    """A folder with an experiment in it and the run that nobody disturbed.

    Attributes:
      folder: holds everything.
      experiment: its file.
      whole: the undisturbed run's folder.
    """

    folder: Path
    experiment: Path
    whole: Path

    @classmethod
    def build(cls, folder: Path) -> "Lab":
        """Writes the experiment and trains it once."""
        folder.mkdir(parents=True, exist_ok=True)
        text, experiment = folder / "text.txt", folder / "small.py"
        text.write_text("a quick brown fox jumps over the lazy dog. " * 40, encoding="utf-8")
        words = {"name": experiment.name, "text": text, "last": LAST}
        experiment.write_text(EXPERIMENT.format(**words), encoding="utf-8")
        lab = cls(folder, experiment, run_folder(folder / "whole"))
        done = lab.wait(lab.run(folder / "whole"))
        if done.code:
            raise RuntimeError(done.err)
        return lab

    @property
    def environment(self) -> dict[str, str]:
        """The variables of its processes, which compile each program once for all of them.

        Their output is buffered, whatever this process's is.
        """
        inherited = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}
        return inherited | {
            "JAX_COMPILATION_CACHE_DIR": str(self.folder / "compiled"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
            "COLUMNS": "200",
        }

    def run(self, out: Path, *flags: str, stage: str = "") -> subprocess.Popen:
        """Starts `rnnlab run`; it waits at `stage`, a name of `injection_points.py`."""
        return self.rnnlab("run", str(self.experiment), "--out", str(out), *flags, stage=stage)

    def resume(self, out: Path, *flags: str, stage: str = "") -> Done:
        """`rnnlab resume` of the run below `out`, to its end."""
        return self.wait(self.rnnlab("resume", str(run_folder(out)), *flags, stage=stage))

    def rnnlab(self, *arguments: str, stage: str = "", **options) -> subprocess.Popen:
        """Starts the command line as a process of its own, with its output in pipes."""
        command = [sys.executable, str(HERE / "injection_points.py"), stage or "none", *arguments]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        defaults = {"env": self.environment, "cwd": self.folder, **pipes}
        return subprocess.Popen(command, **defaults | options)

    def wait(self, process: subprocess.Popen, limit: float = 120) -> Done:
        """Waits for a process's end."""
        start = time.perf_counter()
        try:
            out, err = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
            raise
        return Done(process.returncode, out, err, time.perf_counter() - start)

    def copy_of_whole(self, out: Path) -> Path:
        """A copy of the undisturbed run without its result, as if stopped at its end."""
        copy = run_folder(out)
        shutil.copytree(self.whole, copy)
        (copy / "result.json").unlink()
        return copy

    def same_end(self, out: Path) -> bool:
        """Whether the run below `out` ended with the undisturbed run's state, byte by byte."""
        return digests(run_folder(out)) == digests(self.whole)


def run_folder(out: Path) -> Path:
    """The only run below a folder of runs."""
    return out / "cell=mingru,seed=0"


def steps(folder: Path) -> list[int]:
    """The steps that a run has on disk."""
    return CheckpointStore(folder, {}).saved_steps()


def digests(folder: Path, step: int = LAST) -> dict[str, str]:
    """The digests of all that a step decides, after its files were found sound."""
    leaves = manifest.read_verified_manifest(folder / "checkpoints" / str(step)).leaves
    return {name: leaf["sha256"] for name, leaf in leaves.items() if "seconds" not in name}
