"""Content of ONNX files: names, metadata, errors, and use without rnnlab."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from cases import TOLERANCE, build, onnx_error, with_random_parameters  # noqa: E402

import rnnlab  # noqa: E402
from rnnlab.export import evaluation_copy, input_fields, output_fields  # noqa: E402
from rnnlab.export.onnx import onnx_form, read, write  # noqa: E402
from rnnlab.export.onnx.forms import CELL_FORMS  # noqa: E402
from rnnlab.models.parameters import named_parameters  # noqa: E402


def graph_of(module, form, flags=()):
    return onnx.load_from_string(write(module, form, flags)).graph


def test_initializers_have_the_names_and_values_of_parameters():
    model = build("mingru+gru+tcn")
    arrays = named_parameters(model)
    for form in ("step", "sequence"):
        stored = {x.name: onnx.numpy_helper.to_array(x) for x in graph_of(model, form).initializer}
        used = set()
        for name, array in stored.items():
            if name in arrays:
                np.testing.assert_array_equal(array, arrays[name])
            used.add(name)
            used.update(prefix for prefix in arrays if name.startswith(f"{prefix}."))
        derived = {name for name in stored if "onnx_gru" in name or "normalized" in name}
        assert len(derived) == (2 if form == "step" else 5)
        folded = {name for name in arrays if name.endswith(("first.scale", "second.scale"))}
        merged = {"body.layers.1.cell.candidate_bias"} if form == "sequence" else set()
        assert arrays.keys() - used == folded | merged


def test_native_operators_are_used_for_sequences_without_flags_only():
    model = build("rnn+gru+lstm")
    native = {"RNN", "GRU", "LSTM"}
    assert native <= {node.op_type for node in graph_of(model, "sequence").node}
    for form, flags in (("step", ()), ("sequence", ("mask",))):
        assert not native & {node.op_type for node in graph_of(model, form, flags).node}


def test_loop_of_a_minimal_cell_has_only_a_product_and_a_sum():
    (scan,) = [
        node for node in graph_of(build("mingru"), "sequence").node if node.op_type == "Scan"
    ]
    (body,) = [attribute.g for attribute in scan.attribute if attribute.name == "body"]
    assert [node.op_type for node in body.node] == ["Mul", "Add", "Identity"]


def test_inputs_and_outputs_have_the_names_and_shapes_of_fields():
    model = build("lstm", readout="mean")
    graph = graph_of(model, "sequence", ("reset", "mask"))
    fields = [
        *input_fields(model, "sequence", ("reset", "mask")),
        *output_fields(model, "sequence"),
    ]
    for field, value in zip(fields, [*graph.input, *graph.output], strict=True):
        sizes = value.type.tensor_type.shape.dim
        assert value.name == field.name
        assert tuple(d.dim_param or d.dim_value for d in sizes) == field.shape


def test_metadata_has_the_initial_carry():
    cell = rnnlab.MinGRU(3, 4, learn_initial_state=True, rngs=nnx.Rngs(0))
    content = onnx.load_from_string(write(cell, "step"))
    metadata = {entry.key: entry.value for entry in content.metadata_props}
    stored = json.loads(metadata["initial_carry"])["carry.0"]
    np.testing.assert_array_equal(np.float32(stored), cell.carry[...])


def test_model_of_bfloat16_is_exported_in_float32():
    model = evaluation_copy(build("gru", dtype="bfloat16"))
    assert onnx_error(model, "step") <= TOLERANCE


def test_parameters_of_float64_are_refused():
    with jax.enable_x64(True):
        cell = rnnlab.MinGRU(3, 4, param_dtype=jnp.float64, rngs=nnx.Rngs(0))
        with pytest.raises(ValueError, match=r"must be float32 or narrower .* got float64"):
            evaluation_copy(cell)


def test_step_of_a_bidirectional_model_is_refused():
    with pytest.raises(ValueError, match="a bidirectional model has no step"):
        write(build("gru", bidirectional=True), "step")


def test_cell_without_a_form_is_refused_by_name_and_can_be_given_one():
    class Half(rnnlab.MinGRU):
        """A subclass may compute anything: the form of its base class is not used."""

    cell = with_random_parameters(Half(3, 4, rngs=nnx.Rngs(0)))
    with pytest.raises(ValueError, match=r"no ONNX form for Half; write one with .*\(Half\)"):
        write(cell, "step")
    onnx_form(Half)(CELL_FORMS[rnnlab.MinGRU])
    try:
        assert onnx_error(cell, "step") <= TOLERANCE
    finally:
        del CELL_FORMS[Half]


def test_activation_without_a_form_is_refused_by_name():
    model = build("gru")
    model.body.layers[0].mlp.layers[2] = jax.nn.elu
    with pytest.raises(ValueError, match=r"no ONNX form for elu \(body.layers.0.mlp.layers.2\)"):
        write(model, "step")


def test_nan_reaches_only_outputs_that_attend_to_it():
    layer = rnnlab.Attention(3, 8, rngs=nnx.Rngs(0), heads=2, window=3)
    xs = np.random.default_rng(0).normal(size=(1, 7, 3)).astype(np.float32)
    xs[0, 2] = np.nan
    carry = {
        name: np.asarray(x)
        for name, x in rnnlab.export.flatten_carry(layer.initial_carry(1)).items()
    }
    found = read(write(layer, "sequence"))({"inputs": xs, **carry})["outputs"]
    is_nan = np.isnan(found).any((0, 2)).tolist()
    assert is_nan == [False, False, True, True, True, False, False]


def test_reset_clears_a_carry_that_is_nan():
    model = build("mingru+gru+lstm+mamba+transformer+tcn", readout="attention")
    function = read(write(model, "sequence", ("reset",)))
    fields = input_fields(model, "sequence")
    carry = {
        field.name: np.full((2, *field.shape[1:]), np.nan, np.float32)
        for field in fields
        if field.name.startswith("carry")
    }
    reset = np.zeros((2, 3), bool)
    reset[:, 0] = True
    found = function({"inputs": np.ones((2, 3), np.int32), "reset": reset, **carry})
    assert np.isfinite(found["outputs"]).all()


PROGRAM = """
import json, sys
for name in ("rnnlab", "jax", "flax", "onnx"):
    sys.modules[name] = None
import numpy as np
import onnxruntime as ort

session = ort.InferenceSession("step.onnx", providers=["CPUExecutionProvider"])
initial = json.loads(session.get_modelmeta().custom_metadata_map["initial_carry"])
carry = {
    value.name: np.broadcast_to(np.float32(initial[value.name]), [2, *value.shape[1:]])
    for value in session.get_inputs()
    if value.name in initial
}
for token in ([1, 2], [3, 0], [2, 2]):
    outputs, *carried = session.run(None, {"inputs": np.int32(token), **carry})
    carry = dict(zip(carry, carried))
np.save("outputs.npy", outputs)
"""


def test_file_runs_where_rnnlab_and_jax_cannot_be_imported(tmp_path):
    model = build("mingru+lstm", readout="attention")
    (tmp_path / "step.onnx").write_bytes(write(model, "step"))
    subprocess.run([sys.executable, "-c", PROGRAM], cwd=tmp_path, check=True)
    _, ys = model(model.initial_carry(2), jnp.array([[1, 3, 2], [2, 0, 2]]))
    found = np.load(tmp_path / "outputs.npy")
    np.testing.assert_allclose(found, ys[:, -1], rtol=TOLERANCE, atol=TOLERANCE)
