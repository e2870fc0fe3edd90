"""The ONNX form of a sequence model, and a whole model as the content of a file."""

import json
from collections.abc import Collection, Sequence

import jax
import numpy as np
from flax import nnx

import rnnlab
from rnnlab.export.names import (
    CARRY,
    GAPS,
    INPUTS,
    MASK,
    Field,
    Form,
    initial_values,
    input_fields,
    output_fields,
)
from rnnlab.export.onnx import attention, cells, layers, linear_cells, windows
from rnnlab.export.onnx.forms import Call, Part, onnx_form
from rnnlab.export.onnx.graph import IR_VERSION, OPSET, Graph
from rnnlab.models.parameters import named_parameters
from rnnlab.models.sequence_model import ModelCarry, SequenceModel
from rnnlab.optional import require_module

MODULES_OF_FORMS = (attention, cells, layers, linear_cells, windows)
"""The modules whose import registers forms."""

MAX_BYTES = 2**31 - 2**20
"""Size of the largest ONNX file, less what the graph takes."""


@onnx_form(SequenceModel)
def sequence_model(part, carry, x):
    """Embedding, body, norm, pooling and head."""
    graph, model = part.graph, part.module
    if model.words is not None:
        x = part.part("words").apply(x)
    elif model.project is None:
        if part.call.mask is not None:  # an id in padding may be out of range
            mask = graph.squeeze(part.call.mask, -1)
            x = graph.op("Where", mask, x, graph.constant(0, np.int32))
        x = graph.op("Gather", part.parameter("embedding"), x)
    else:
        if model.decay is not None:
            _, x = part.part("decay").run((), x)
        x = part.part("project").apply(x)
    state, y = part.part("body").run(carry.body, x)
    y, pooled = part.part("norm").apply(y), carry.readout
    if model.pooling is not None:
        pooled, y = part.part("pooling").run(pooled, y)
    if model.head_kernel is None:
        kernel = graph.transpose(part.parameter("embedding"), 1, 0)
    else:
        kernel = part.parameter("head_kernel")
    return ModelCarry(state, pooled), graph.dense(y, kernel, part.parameter("head_bias"))


def write(module: nnx.Module, form: Form, flags: Collection[str] = ()) -> bytes:
    """Returns a module as the content of an ONNX file in standard operators.

    The file computes what the module computes in evaluation mode, for any batch size and length.
    Its inputs and outputs are those of `rnnlab.export.names`. Initializers have the names of
    `named_parameters`; one of another layout has a suffix that names it, such as `.onnx_gru`. The
    metadata `initial_carry` has the carry of a new sequence, as JSON.

    Args:
      module: a cell, layer, stack or model of float32.
      form: "step" or "sequence".
      flags: which of "reset" and "mask" are inputs.

    Raises:
      ValueError: a part has no ONNX form, a model with `Bidirectional` has no step, the file would
        be too large, or the package onnx is not installed.
    """
    parameters = {name: np.asarray(x) for name, x in named_parameters(module).items()}
    size = sum(array.nbytes for array in parameters.values())
    if size > MAX_BYTES:
        raise ValueError(
            f"parameters must have <= {MAX_BYTES:,} bytes for an ONNX file, got {size:,}; export "
            "them as stablehlo"
        )
    inputs, outputs = input_fields(module, form, flags), output_fields(module, form)
    graph = Graph(parameters)
    _add_call(graph, module, form, inputs, outputs)
    helper = require_module("onnx.helper", "onnx")
    model = helper.make_model(
        graph.proto(form, inputs, outputs),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=IR_VERSION,
        producer_name="rnnlab",
        producer_version=rnnlab.__version__,
    )
    metadata = {
        "form": form,
        "initial_carry": json.dumps(initial_values(module)),
    }
    helper.set_model_props(model, metadata)
    return model.SerializeToString()


def _add_call(
    graph: Graph,
    module: nnx.Module,
    form: Form,
    inputs: Sequence[Field],
    outputs: Sequence[Field],
) -> None:
    """Adds the module's call between the inputs and the outputs of a file."""
    names = {field.name: graph.input(field.name) for field in inputs}
    carried = [name for name in names if name.startswith(f"{CARRY}.")]
    given = {name: names[name] for name in names if name not in carried}
    structure = jax.tree.structure(jax.eval_shape(lambda: module.initial_carry((1,))))
    if form == "sequence":
        length = graph.op("Shape", names[INPUTS], start=1, end=2)
        is_empty = graph.op("Equal", length, graph.integers(0))
        fields = [field for field in inputs if field.name in given]
        given = {field.name: _steps_first(graph, field, is_empty) for field in fields}
    flags = {name: graph.unsqueeze(x, -1) for name, x in given.items() if name != INPUTS}
    if MASK in flags and GAPS in flags:
        flags[GAPS] = graph.op("Where", flags[MASK], flags[GAPS], graph.constant(0.0))
    part = Part(graph, module, "", Call(form, **flags))
    carry, y = part.run(jax.tree.unflatten(structure, carried), given[INPUTS])
    results = [y, *jax.tree.leaves(carry)]
    if form == "sequence":
        y = graph.op("Slice", y, graph.integers(0), length, graph.integers(0))
        pairs = zip(carried, results[1:], strict=True)
        kept = [graph.op("Where", is_empty, before, after) for before, after in pairs]
        results = [graph.transpose(y, 1, 0, 2), *kept]
    for field, x in zip(outputs, results, strict=True):
        graph.output(x, field.name)


def _steps_first(graph: Graph, field: Field, is_empty: str) -> str:
    """Returns an input (batch, time, ...) with its time axis first, and at least one time step.

    ONNX Runtime refuses loops over no time step. The results of an added one are dropped.
    """
    rank = len(field.shape)
    missing = graph.cast(is_empty, "int64")
    none, others = graph.integers(*(0,) * (rank + 1)), graph.integers(*(0,) * (rank - 2))
    x = graph.op("Pad", field.name, graph.concat([none, missing, others], 0))
    return graph.transpose(x, 1, 0, *range(2, rank))
