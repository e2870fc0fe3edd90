"""Models that read a source besides their inputs, which no exported file or server has."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import ModelConfig
from rnnlab.bundle import Description, Sizes, open_bundle, write_bundle
from rnnlab.compress.prune import prune
from rnnlab.export import export_files, forms_of, input_fields
from rnnlab.models.parameters import named_parameters
from rnnlab.serve.bundles import add_bundle
from rnnlab.serve.limits import Limits
from rnnlab.serve.versions import Versions

CONFIG = ModelConfig("mingru", width=8, depth=1, conv_kernel_size=None)
SIZES = Sizes(6, vocab_size=6, source_vocab_size=4)
MESSAGE = "must read one sequence to {}, got EncoderDecoder, which also reads a source; keep"


@pytest.fixture(scope="module")
def model():
    return CONFIG.build(6, vocab_size=6, source_vocab_size=4, rngs=nnx.Rngs(0))


@pytest.fixture
def folder(model, tmp_path):
    arrays = {name: np.asarray(x) for name, x in named_parameters(model).items()}
    description = Description("pairs", CONFIG, SIZES, "categorical", autoregressive=True)
    return write_bundle(tmp_path / "pairs", description, arrays, reference={}, card="").path


def test_export_of_an_encoder_decoder_is_refused(model):
    message = MESSAGE.format("be exported")
    for form in ("step", "sequence"):
        with pytest.raises(ValueError, match=message):
            export_files(model, ("stablehlo",), forms=(form,))
        with pytest.raises(ValueError, match=message):
            input_fields(model, form)
    with pytest.raises(ValueError, match=message):
        forms_of(model)


def test_pruning_of_an_encoder_decoder_is_refused(model):
    with pytest.raises(ValueError, match=MESSAGE.format("be pruned")):
        prune(model, [], 0.25)


def test_bundle_of_an_encoder_decoder_has_its_model_and_is_not_served(folder, model):
    bundle = open_bundle(folder)
    assert bundle.sizes == SIZES
    source, xs = jnp.array([[1, 3, 0]]), jnp.array([[5, 2]])
    wanted = model(xs, source=source)[1]
    np.testing.assert_array_equal(bundle.model()(xs, source=source)[1], wanted)
    with pytest.raises(ValueError, match=MESSAGE.format("be served")):
        add_bundle(Versions("pairs"), folder, Limits())
