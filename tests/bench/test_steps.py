"""Steps that the benchmarks time: every runtime computes what the model computes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import ModelConfig
from rnnlab.bench.steps import bound_step, compiled_loop, jitted_step, onnx_step
from rnnlab.bench.torch_steps import has_torch_twin, torch_step
from rnnlab.export.onnx import write

pytest.importorskip("onnxruntime")

STREAMS, STEPS = 3, 6


@pytest.fixture(scope="module")
def model():
    config = ModelConfig("gru", width=8, depth=2, conv_kernel_size=3, mlp_expansion=2)
    model = config.build(7, vocab_size=7, rngs=nnx.Rngs(0))
    # Biases and scales start as zeros and ones, which would hide one that is not mapped.
    random = jax.tree.map(
        lambda x: x + 0.3 * jax.random.normal(jax.random.key(x.size), x.shape),
        nnx.state(model, nnx.Param),
    )
    nnx.update(model, random)
    model.eval()
    return model


def programs(model):
    device = jax.devices("cpu")[0]
    content = write(model, "step")
    return {
        "jitted": jitted_step(model, STREAMS, device),
        "onnx": onnx_step(content, model, STREAMS, 1),
        "bound": bound_step(content, model, STREAMS, 1),
    }


def test_steps_of_every_runtime_equal_the_sequence_and_start_again(model):
    tokens = np.random.default_rng(0).integers(0, 7, (STEPS, STREAMS), np.int32)
    steps = programs(model)
    pytest.importorskip("torch")
    assert has_torch_twin(model)
    steps["torch"] = torch_step(model, STREAMS, 1)
    expected = np.asarray(model(jnp.asarray(tokens.T))[1]).swapaxes(0, 1)
    for name, step in steps.items():
        for _ in range(2):
            np.testing.assert_allclose(step.all_logits(tokens), expected, atol=3e-6, err_msg=name)
        np.testing.assert_allclose(step.stream(tokens), expected[-1], atol=3e-6, err_msg=name)
    loop = compiled_loop(model, STREAMS, jax.devices("cpu")[0])
    np.testing.assert_allclose(loop(tokens), expected[-1], atol=3e-6)


@pytest.mark.parametrize(
    ("cell", "options"),
    [("mingru", {}), ("gru", {"readout": "mean"})],
)
def test_models_that_torch_cannot_run_have_no_twin(cell, options):
    config = ModelConfig(cell, width=8, depth=1, **options)
    assert not has_torch_twin(config.build(5, vocab_size=5, rngs=nnx.Rngs(0)))
