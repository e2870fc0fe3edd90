"""The ONNX forms of the layers around cells."""

from dataclasses import replace

import jax
from flax import nnx

from rnnlab.export.onnx.forms import onnx_form, onnx_function_form, over_time
from rnnlab.export.onnx.graph import END
from rnnlab.layers.attention_pooling import LOWEST, AttentionPooling, PoolingCarry
from rnnlab.layers.bidirectional import Bidirectional
from rnnlab.layers.block import Block, BlockCarry
from rnnlab.layers.dropout import Dropout
from rnnlab.layers.input_decay import InputDecay
from rnnlab.layers.norm import EPSILON, RMSNorm
from rnnlab.layers.projection import Projection
from rnnlab.layers.running_mean import RunningMean
from rnnlab.layers.stack import Stack


@onnx_form(Stack)
def stack(part, carry, x):
    """Layers one after the other."""
    carries = []
    for k, (layer, state) in enumerate(zip(part.module.layers, carry, strict=True)):
        state, x = part.part(f"layers.{k}", layer).run(state, x)
        carries.append(state)
    return tuple(carries), x


@onnx_form(Block)
def block(part, carry, x):
    """A residual branch around a cell, then one around an MLP."""
    graph, window = part.graph, carry.conv
    y = part.part("norm").apply(x)
    if part.module.conv is not None:
        window, y = part.part("conv").run(window, y)
    state, y = part.part("cell").run(carry.cell, y)
    x = graph.op("Add", x, part.part("project").apply(y))
    if part.module.mlp is not None:
        x = graph.op("Add", x, part.part("mlp").apply(x))
    return BlockCarry(window, state), x


@onnx_form(Dropout)
def dropout(part, carry, x):
    """Nothing, as in evaluation."""
    return carry, x


@onnx_form(Projection)
def projection(part, carry, x):
    """A dense layer for every time step."""
    return carry, part.graph.dense(x, part.parameter("kernel"), part.parameter("bias"))


@onnx_form(InputDecay)
def input_decay(part, carry, x):
    """Values that fade while they are not observed."""
    graph, n = part.graph, part.module.num_variables
    sizes = [n, n, n, part.module.in_features - 3 * n]
    value, observed, age, *others = graph.split(x, [size for size in sizes if size])
    exponent = graph.op("Add", graph.op("Mul", part.parameter("rate"), age), part.parameter("bias"))
    decay = graph.op("Exp", graph.op("Neg", graph.op("Relu", exponent)))
    is_observed = graph.op("Greater", observed, graph.constant(0.5))
    value = graph.op("Where", is_observed, value, graph.op("Mul", decay, value))
    return carry, graph.concat([value, observed, age, *others], -1)


@onnx_form(RunningMean)
def running_mean(part, carry, x):
    """The sum of each feature and the number of time steps, and their quotient."""
    width = part.module.features
    terms = _with_ones(part, x)

    def body(part, states, inputs):
        (sums,), graph = states, part.graph
        sums = graph.where(part.call.reset, graph.constant(0.0), sums)
        sums = graph.op("Add", sums, *inputs)
        return [sums], [sums]

    (carry,), (sums,) = over_time(part, body, [carry], [terms])
    total, count = part.graph.split(sums, (width, 1))
    return carry, part.graph.op("Div", total, part.graph.op("Max", count, part.graph.constant(1.0)))


@onnx_form(AttentionPooling)
def attention_pooling(part, carry, x):
    """Weighted sums relative to the highest score so far, and their quotient."""
    graph, width = part.graph, part.module.features
    keys = graph.op("Tanh", graph.dense(x, part.parameter("kernel"), part.parameter("bias")))
    scores = graph.op("MatMul", keys, graph.unsqueeze(part.parameter("query"), -1))
    lowest = graph.constant(LOWEST)
    if part.call.mask is not None:
        scores = graph.op("Where", part.call.mask, scores, lowest)

    def body(part, states, inputs):
        (sums, highest), (scores, terms) = states, inputs
        graph, reset = part.graph, part.call.reset
        sums, highest = (
            graph.where(reset, graph.constant(0.0), sums),
            graph.where(reset, lowest, highest),
        )
        new = graph.op("Max", highest, scores)
        decay = graph.op("Exp", graph.op("Sub", highest, new))
        weights = graph.op("Exp", graph.op("Sub", scores, new))
        kept, added = graph.op("Mul", decay, sums), graph.op("Mul", weights, terms)
        sums = graph.op("Add", kept, added)
        return [sums, new], [sums]

    terms = _with_ones(part, x)
    states, (sums,) = over_time(part, body, list(carry), [scores, terms])
    total, weight = graph.split(sums, (width, 1))
    is_positive = graph.op("Greater", weight, graph.constant(0.0))
    weight = graph.op("Where", is_positive, weight, graph.constant(1.0))
    return PoolingCarry(*states), graph.op("Div", total, weight)


def _with_ones(part, x):
    """Appends 1 to the features of each time step, 0 in padding."""
    axes_before = 1 if part.call.form == "step" else 2
    before, after = (0,) * (axes_before + 1), (*(0,) * axes_before, 1)
    return part.masked(part.graph.pad(x, before, after, 1.0))


@onnx_form(Bidirectional)
def bidirectional(part, carry, x):
    """Two cells, of which the second reads each sequence from its end.

    Raises:
      ValueError: the call is one time step.
    """
    graph, call = part.graph, part.call
    if call.form == "step":
        raise ValueError(
            "a bidirectional model has no step: its backward cells read the future; export it with "
            "--sequence"
        )
    forward, ys = part.part("forward").run(carry[0], x)
    reset, gaps = call.reset, call.gaps
    # What belongs to an input and the one before it moves to the latter, the later one now.
    if reset is not None:
        real = reset if call.mask is None else graph.op("And", reset, call.mask)
        reset = _reverse(part, _shift_back(graph, real))
    if gaps is not None:
        gaps = graph.where(call.reset, graph.constant(0.0), gaps)
        gaps = _reverse(part, _shift_back(graph, gaps))
    mirrored = replace(part, call=replace(call, reset=reset, gaps=gaps))
    backward, reversed_ys = mirrored.part("backward").run(carry[1], _reverse(part, x))
    both = [ys, _reverse(part, reversed_ys)]
    is_concat = part.module.merge == "concat"
    return (forward, backward), graph.concat(both, -1) if is_concat else graph.op("Add", *both)


def _reverse(part, x):
    """Reverses (time, batch, features) within the length of each sequence."""
    graph, mask = part.graph, part.call.mask
    if mask is None:
        return graph.slice(x, -1, -END, 0, -1)
    lengths = graph.op("ReduceSum", graph.cast(mask, "int64"), graph.integers(0, 2), keepdims=0)
    return graph.op("ReverseSequence", x, lengths, time_axis=0, batch_axis=1)


def _shift_back(graph, x):
    """Returns the values of the following time steps, and 0 for the last."""
    return graph.slice(graph.pad(x, (0, 0, 0), (1, 0, 0)), 1, END, 0)


@onnx_function_form(RMSNorm)
def rms_norm(part, x):
    """Root mean square normalization, in the operators that ONNX Runtime fuses into one."""
    graph = part.graph
    square = graph.op("Pow", x, graph.constant(2.0))
    mean = graph.op("ReduceMean", square, graph.integers(-1), keepdims=1)
    root = graph.op("Sqrt", graph.op("Add", mean, graph.constant(EPSILON)))
    return graph.op("Mul", graph.op("Div", x, root), part.parameter("scale"))


@onnx_function_form(nnx.Linear)
def linear(part, x):
    """A matrix product, and a bias if there is one."""
    bias = None if part.module.bias is None else part.parameter("bias")
    return part.graph.dense(x, part.parameter("kernel"), bias)


@onnx_function_form(nnx.Sequential)
def sequential(part, x):
    """Modules and functions one after the other."""
    for k, layer in enumerate(part.module.layers):
        x = part.part(f"layers.{k}", layer).apply(x)
    return x


@onnx_function_form(jax.nn.gelu)
def gelu(part, x):
    """GELU in the tanh form, JAX's default."""
    return part.graph.op("Gelu", x, approximate="tanh")
