"""A transducer reads labels besides its inputs, which no exported file or server has."""

import numpy as np
import pytest
from flax import nnx

from rnnlab import ModelConfig
from rnnlab.bundle import Description, Sizes, open_bundle, write_bundle
from rnnlab.export import export_files
from rnnlab.models.parameters import named_parameters
from rnnlab.serve.bundles import add_bundle
from rnnlab.serve.limits import Limits
from rnnlab.serve.versions import Versions

CONFIG = ModelConfig("mingru", width=8, depth=1, conv_kernel_size=None)
MESSAGE = "must read one sequence to be {}, got Transducer, which also reads labels"


@pytest.fixture(scope="module")
def model():
    return CONFIG.build(4, in_features=3, loss="transducer", rngs=nnx.Rngs(0))


@pytest.mark.parametrize("format_name", ["onnx", "stablehlo"])
def test_export_of_a_transducer_is_refused(model, format_name):
    with pytest.raises(ValueError, match=MESSAGE.format("exported")):
        export_files(model, (format_name,))


def test_bundle_of_a_transducer_has_its_model_and_is_not_served(model, tmp_path):
    arrays = {name: np.asarray(x) for name, x in named_parameters(model).items()}
    sizes = Sizes(4, in_features=3)
    description = Description("speech", CONFIG, sizes, "transducer", autoregressive=False)
    folder = write_bundle(tmp_path / "speech", description, arrays, reference={}, card="").path
    loaded = open_bundle(folder).model()
    assert {k: np.asarray(x).tolist() for k, x in named_parameters(loaded).items()} == {
        k: x.tolist() for k, x in arrays.items()
    }
    with pytest.raises(ValueError, match=MESSAGE.format("served")):
        add_bundle(Versions("speech"), folder, Limits())
