"""Strict settings for the whole suite, and the shape annotations of rnnlab checked as it runs."""

import warnings

import jax
import jaxtyping
import pytest
from example_state import ABOUT, tree
from faults.harness import Lab
from jaxtyping import install_import_hook

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of beartype, about annotations it cannot check
    with install_import_hook("rnnlab", "beartype.beartype"):
        import rnnlab.models  # noqa: F401
        from rnnlab.runs.checkpoints.store import CheckpointStore

jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_addoption(parser):
    parser.addoption("--long", action="store_true", help="fault and numerics suites at full size")


def pytest_collection_modifyitems(config, items):
    """Leaves out what is marked `long`, unless it is asked for."""
    if config.getoption("--long"):
        return
    left = [item for item in items if "long" in item.keywords]
    items[:] = [item for item in items if "long" not in item.keywords]
    config.hook.pytest_deselected(items=left)


@pytest.fixture
def size(request):
    """A function that chooses a test's size: the first in everyday runs, the second by `--long`."""
    long = request.config.getoption("--long")
    return lambda quick, full: full if long else quick


@pytest.fixture(scope="session")
def lab(tmp_path_factory):
    """An experiment and its undisturbed run, by whose bytes others are judged."""
    return Lab.build(tmp_path_factory.mktemp("lab"))


@pytest.fixture
def getkey():
    """A function that returns a new random key at each call, the same ones in each run."""
    keys = iter(jax.random.split(jax.random.key(2410), 100))
    return lambda: next(keys)


@pytest.fixture
def x64():
    """Float64 for the length of a test."""
    with jax.enable_x64(True):
        yield


@pytest.fixture
def unchecked():
    """Shape annotations off, so that a bad argument meets rnnlab's own message."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


@pytest.fixture
def quick_compile():
    """Compilation in half the time, for tests of what a program does and not of its arithmetic."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


@pytest.fixture
def implicit_promotion():
    """JAX's default promotion: optax's Adam raises a float to an integer count."""
    with jax.numpy_dtype_promotion("standard"):
        yield


EXPERIMENT = '''
"""Is this a question?

Command:  rnnlab run {name}
"""

from pathlib import Path

from rnnlab.models.config import ModelConfig
from rnnlab.runs.api import Experiment, Preset
from rnnlab.tasks import Text
from rnnlab.train.config import TrainConfig

PRESETS = {{
    "cpu": Preset(
        Experiment(
            Text(Path("{text}"), length=8, batch_size=4),
            ModelConfig(width=4, depth=1, expansion=1, conv_size=None, mlp_expansion=None),
            TrainConfig(steps=4, eval_every=2, log_every=1),
        ),
        {{"model.cell": ("mingru", "gru")}},
    )
}}
'''


@pytest.fixture
def experiment(tmp_path):
    """A small experiment's file; its text is one that every model learns."""
    text, file = tmp_path / "text.txt", tmp_path / "small.py"
    text.write_text("abcabcabc " * 60, encoding="utf-8")
    file.write_text(EXPERIMENT.format(name=file.name, text=text), encoding="utf-8")
    return str(file)


@pytest.fixture
def stored(tmp_path):
    """Checkpoints of steps 1 to 3, of which 1 is the best."""
    lines = []
    checkpoints = CheckpointStore(tmp_path, ABOUT, lines.append)
    for step in (1, 2, 3):
        checkpoints.save(step, tree(step), best=step == 1)
    return checkpoints, lines
