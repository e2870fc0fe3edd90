"""A small experiment, and runs of it that the tests of commands read."""

from pathlib import Path

import jax
import pytest

from rnnlab.cli import main

EXPERIMENT = '''
"""Is this a question?

Command:  rnnlab run {name}
"""

from pathlib import Path

from rnnlab import Experiment, ModelConfig, Preset, Text, TrainConfig

PRESETS = {{
    "cpu": Preset(
        Experiment(
            Text(Path("{text}"), length=8, batch_size=4),
            ModelConfig(width=4, depth=1, expansion=1, conv_kernel_size=None, mlp_expansion=None),
            TrainConfig(steps=4, eval_every=2, log_every=1),
        ),
        {{"model.cell": ("mingru", "gru")}},
    )
}}
'''


def write_experiment(folder: Path) -> str:
    """Writes an experiment on a text that every model learns. Returns its file."""
    text, file = folder / "text.txt", folder / "small.py"
    text.write_text("abcabcabc " * 60, encoding="utf-8")
    file.write_text(EXPERIMENT.format(name=file.name, text=text), encoding="utf-8")
    return str(file)


@pytest.fixture
def experiment(tmp_path):
    """The file of a small experiment."""
    return write_experiment(tmp_path)


@pytest.fixture(scope="session")
def trained_runs(tmp_path_factory):
    """Directory of two finished runs: of a minGRU, and of a minGRU under a transformer block.

    Tests read them only.
    """
    folder = tmp_path_factory.mktemp("trained")
    command = ["run", write_experiment(folder), "--out", str(folder / "runs")]
    sizes = ["--model.depth", "2", "--model.width", "8"]
    jax.config.update("jax_disable_most_optimizations", True)
    with jax.numpy_dtype_promotion("standard"):
        assert main.main([*command, "--model.cell", "mingru,mingru+transformer", *sizes]) == 0
    jax.config.update("jax_disable_most_optimizations", False)
    return folder / "runs"


@pytest.fixture
def trained_run(trained_runs):
    """Directory of a finished run of a minGRU."""
    return trained_runs / "cell=mingru,seed=0"
