"""A small trained language model that the tests of this folder share."""

import jax
import numpy as np
import pytest
from flax import nnx

from rnnlab import ModelConfig, Text, TrainConfig
from rnnlab.compress import fine_tune
from rnnlab.train.evaluate import evaluate, make_predict

WORDS = ("the", "minimal", "gated", "unit", "forgets", "what", "input", "tells", "it", "to")


class Trained:
    """A model, its data and its training; `loss` measures any model on the validation part."""

    def __init__(self, folder):
        drawn = np.random.default_rng(0).choice(WORDS, 2500)
        path = folder / "words.txt"
        path.write_text(" ".join(drawn), encoding="utf-8")
        self.data = Text(path, length=32, batch_size=8).load(0)
        self.config = TrainConfig(steps=120, learning_rate=1e-2, eval_every=120)
        self.model_config = ModelConfig("mingru", width=16, depth=1, mlp_expansion=None)
        sizes = {"vocab_size": self.data.vocab_size, "rngs": nnx.Rngs(0)}
        untrained = self.model_config.build(self.data.out_features, **sizes)
        self.model = fine_tune(untrained, self.data, self.config)
        self.batches = [self.data.train_batch(k) for k in range(8)]

    def loss(self, model):
        graphdef, params = nnx.split(model, nnx.Param)
        batches = self.data.eval_sets["valid"]()
        return evaluate(make_predict(graphdef), params, self.data, batches)["nll"]


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """A minGRU of two blocks that has learned to write words."""
    with jax.numpy_dtype_promotion("standard"):
        return Trained(tmp_path_factory.mktemp("words"))
