"""ONNX files of int8: their size, their distance from the model, and what stays float32."""

import json

import numpy as np
import pytest
from flax import nnx

from rnnlab import ModelConfig
from rnnlab.export import export_files, largest_error

pytest.importorskip("onnxruntime")

from onnx import load_from_string

from rnnlab.export import onnx, onnx_int8, onnx_int8_blocks


def build(cell):
    model = ModelConfig(cell, width=32, depth=1).build(40, vocab_size=40, rngs=nnx.Rngs(0))
    model.eval()
    return model


@pytest.mark.parametrize("form", ["step", "sequence"])
@pytest.mark.parametrize("cell", ["mingru", "lstm"])
@pytest.mark.parametrize("writer", [onnx_int8, onnx_int8_blocks])
def test_int8_file_is_smaller_and_close_to_the_model(writer, cell, form):
    model = build(cell)
    float32, int8 = (module.write(model, form) for module in (onnx, writer))
    assert len(int8) < 0.6 * len(float32)
    run = onnx_int8.read(int8)
    error = largest_error(run, model, form, sizes=[(1, 1), (2, 7)])
    assert 1e-4 < error < 0.1


def test_int8_step_of_a_gru_quantizes_its_recurrent_weights_and_its_sequence_does_not():
    model = build("gru")
    float32, step, sequence = (
        len(content)
        for content in (
            onnx.write(model, "step"),
            onnx_int8.write(model, "step"),
            onnx_int8.write(model, "sequence"),
        )
    )
    assert step < 0.5 * float32 < sequence


def test_blocks_of_a_kernel_with_many_inputs_lose_less_than_a_scale_per_channel():
    """A kernel whose last input has large weights: the others keep their own scale."""
    layer = nnx.Linear(272, 8, rngs=nnx.Rngs(0))
    kernel = np.array(layer.kernel)
    kernel[-1] *= 100
    integers, scales = onnx_int8_blocks.to_blocks(kernel, 256)
    assert integers.shape == (8, 2, 256)
    assert (integers[:, 1, 16:] == 128).all()
    values = (integers.astype(np.float32) - 128) * scales.reshape(8, 2, 1)
    decoded = values.reshape(8, -1)[:, :272].T
    assert np.abs(decoded - kernel)[:256].max() <= np.abs(kernel[:256]).max() / 254 * 1.0001


def test_blocks_replace_each_product_once_and_keep_a_tied_embedding():
    config = ModelConfig("mingru", width=32, depth=1, mlp_expansion=None, tie_embeddings=True)
    model = config.build(32, vocab_size=32, rngs=nnx.Rngs(0))
    model.eval()
    proto = load_from_string(onnx_int8_blocks.write(model, "step"))
    products = [node for node in proto.graph.node if node.op_type == "MatMulNBits"]
    assert len(products) == 3
    assert {attribute.name: attribute.i for attribute in products[0].attribute}["block_size"] == 32
    stored = {array.name for array in proto.graph.initializer}
    assert "body.layers.0.cell.update_kernel.integers" in stored
    assert "body.layers.0.cell.update_kernel" not in stored
    error = largest_error(onnx_int8_blocks.read(proto.SerializeToString()), model, "step")
    assert 1e-4 < error < 0.1


def test_int8_files_have_their_own_names_and_a_report():
    files = export_files(build("mingru"), ["onnx-int8", "onnx-int8-blocks"], forms=["step"])
    assert {"step.int8.onnx", "step.int8-blocks.onnx"} < set(files)
    report = json.loads(files["parity.json"])["step.int8.onnx"]
    assert report["max_relative_error"] < report["tolerance"] == 0.1
