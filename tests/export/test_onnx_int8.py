"""ONNX files of int8: their size, their distance from the model, and what stays float32."""

import json

import pytest
from flax import nnx

from rnnlab import ModelConfig
from rnnlab.export import export_files, largest_error

pytest.importorskip("onnxruntime")

from rnnlab.export import onnx, onnx_int8


def build(cell):
    model = ModelConfig(cell, width=32, depth=1).build(40, vocab_size=40, rngs=nnx.Rngs(0))
    model.eval()
    return model


@pytest.mark.parametrize("form", ["step", "sequence"])
@pytest.mark.parametrize("cell", ["mingru", "lstm"])
def test_int8_file_is_smaller_and_close_to_the_model(cell, form):
    model = build(cell)
    float32, int8 = (writer.write(model, form) for writer in (onnx, onnx_int8))
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


def test_int8_files_have_their_own_names_and_a_report():
    files = export_files(build("mingru"), ["onnx-int8"], forms=["step"])
    assert "step.int8.onnx" in files
    report = json.loads(files["parity.json"])["step.int8.onnx"]
    assert report["max_relative_error"] < report["tolerance"] == 0.1
