"""A bundle with a language model of random weights, and `rnnlab serve` on it as a process."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from flax import nnx

from rnnlab.bundle import Bundle, Description, Sizes, add_files, write_bundle
from rnnlab.export.files import export_files
from rnnlab.models.config import ModelConfig
from rnnlab.models.parameters import named_parameters
from rnnlab.tasks.text_preparation import TextPreparation

VOCAB_SIZE = 128
NAME = "random_lm"
STOP_SECONDS = 60


@dataclass(frozen=True)
class ServerProcess:
    """A running server.

    Attributes:
      process: of `rnnlab serve`.
      port: on the loopback address.
    """

    process: subprocess.Popen
    port: int

    def resident_bytes(self) -> int:
        """Returns the memory that the process holds; 0 on systems without /proc."""
        path = Path(f"/proc/{self.process.pid}/statm")
        if not path.exists():
            return 0
        return int(path.read_text(encoding="utf-8").split()[1]) * os.sysconf("SC_PAGESIZE")


def random_bundle(folder: Path, config: ModelConfig, *, has_onnx: bool = False) -> Bundle:
    """Writes and returns a bundle of a language model that is not trained.

    Args:
      folder: of the bundle.
      config: of the model.
      has_onnx: whether the bundle has exported ONNX files.
    """
    model = config.build(VOCAB_SIZE, vocab_size=VOCAB_SIZE, rngs=nnx.Rngs(0))
    vocabulary = tuple(chr(0x20 + k) for k in range(VOCAB_SIZE))
    description = Description(
        NAME,
        config,
        Sizes(VOCAB_SIZE, vocab_size=VOCAB_SIZE),
        "categorical",
        autoregressive=True,
        vocabulary=vocabulary,
        preparation=TextPreparation(vocabulary, window=128, batch_size=8),
    )
    arrays = {name: np.asarray(x) for name, x in named_parameters(model).items()}
    bundle = write_bundle(folder, description, arrays)
    return add_files(folder, export_files(model)) if has_onnx else bundle


@contextmanager
def serving(bundle: Path, options: Sequence[str]) -> Iterator[ServerProcess]:
    """Serves a bundle on a free port while the context lasts.

    Raises:
      ValueError: the server did not start; has its output.
    """
    command = [sys.executable, "-m", "rnnlab.cli.main", "serve", str(bundle), "--port", "0"]
    process = subprocess.Popen(
        [*command, *options], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("serving"):
                break
        else:
            raise ValueError(f"rnnlab serve must start, got {' '.join(''.join(lines).split())}")
        yield ServerProcess(process, int(lines[-1].rpartition(":")[2]))
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.communicate(timeout=STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
