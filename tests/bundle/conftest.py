"""A small bundle of a text model, and copies of it to change."""

import shutil

import numpy as np
import pytest
from flax import nnx

from rnnlab.bundle import Description, Sizes, write_bundle
from rnnlab.models import ModelConfig
from rnnlab.models.parameters import named_parameters
from rnnlab.tasks.text_preparation import TextPreparation

CONFIG = ModelConfig(width=4, depth=1, expansion=1, conv_kernel_size=None, mlp_expansion=None)
VOCABULARY = ("a", "b", "c")
DESCRIPTION = Description(
    "small",
    CONFIG,
    Sizes(3, vocab_size=3),
    "categorical",
    ("nll",),
    autoregressive=True,
    vocabulary=VOCABULARY,
    preparation=TextPreparation(VOCABULARY, window=8, batch_size=2),
    source={"task": "Text"},
)


@pytest.fixture(scope="session")
def model():
    """The model of the small bundle."""
    model = CONFIG.build(3, vocab_size=3, rngs=nnx.Rngs(0))
    model.eval()
    return model


@pytest.fixture(scope="session")
def arrays(model):
    """The parameters of the model."""
    return {name: np.asarray(x) for name, x in named_parameters(model).items()}


@pytest.fixture(scope="session")
def written(arrays, tmp_path_factory):
    """A bundle that tests only read."""
    folder = tmp_path_factory.mktemp("bundles") / "small"
    return write_bundle(folder, DESCRIPTION, arrays, card="# small\n", files={"note.txt": b"note"})


@pytest.fixture
def folder(written, tmp_path):
    """A copy of the bundle, in a folder of its own, that a test may change."""
    return shutil.copytree(written.path, tmp_path / "bundles" / "small")
