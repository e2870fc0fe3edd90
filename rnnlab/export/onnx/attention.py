"""The ONNX form of causal attention over a sliding window."""

import math

import numpy as np

from rnnlab.export.onnx.forms import onnx_form
from rnnlab.export.onnx.graph import END, Graph
from rnnlab.export.onnx.windows import Window, as_sequence
from rnnlab.layers.attention import ROPE_BASE, Attention, AttentionCarry

NOT_VISIBLE = np.finfo(np.float32).min
"""Score of a position that a time step does not attend to."""


@onnx_form(Attention)
def attention(part, carry, x):
    """Scores of all pairs of time steps, for a sequence; a step is a sequence of length 1."""
    graph, module = part.graph, part.module
    width, head_width, size = module.features, module.features // module.heads, module.window - 1
    is_step = part.call.form == "step"
    if is_step:
        x, part = graph.unsqueeze(x, 0), as_sequence(part)
        length = graph.constant(1, np.int64)
    else:
        length = graph.squeeze(graph.op("Shape", x, start=0, end=1), 0)
    queries, *new = graph.split(graph.dense(x, part.parameter("kernel")), (width, width, width))
    new.append(_ones_per_step(graph, x))
    stored = (carry.keys, carry.values, graph.unsqueeze(carry.valid, -1))
    keys, values, valid = (
        Window(part, window, size, xs) for window, xs in zip(stored, new, strict=True)
    )
    positions = _positions(graph, size, length)
    visible = _visible(graph, valid, positions, size)
    k, v, poisoned = _without_nan(graph, keys.values, values.values, visible)

    cos, sin = _rotation(graph, positions, head_width // 2)
    own = (graph.slice(table, size, END, 0) for table in (cos, sin))
    q, k, v = (_split_heads(graph, value, module.heads, head_width) for value in (queries, k, v))
    q, k = _rotated(graph, q, *own), _rotated(graph, k, cos, sin)
    # (batch, heads, time, positions)
    q, k, v = (
        graph.transpose(q, 1, 2, 0, 3),
        graph.transpose(k, 1, 2, 3, 0),
        graph.transpose(v, 1, 2, 0, 3),
    )
    scores = graph.op("Mul", graph.op("MatMul", q, k), graph.constant(1 / math.sqrt(head_width)))
    scores = graph.op("Where", visible, scores, graph.constant(NOT_VISIBLE))
    y = graph.op("MatMul", graph.op("Softmax", scores, axis=-1), v)
    y = graph.op("Reshape", graph.transpose(y, 2, 0, 1, 3), graph.integers(0, 0, width))
    y = graph.op("Where", poisoned, graph.constant(np.nan), y)
    carry = AttentionCarry(
        keys.pushed(width), values.pushed(width), graph.squeeze(valid.pushed(1), -1)
    )
    return carry, graph.squeeze(y, 0) if is_step else y


def _ones_per_step(graph: Graph, x: str) -> str:
    """Returns 1 for each time step of x, (time, batch, 1)."""
    shape = graph.concat([graph.op("Shape", x, start=0, end=2), graph.integers(1)], 0)
    return graph.op("Expand", graph.constant(1.0), shape)


def _positions(graph: Graph, size: int, length: str) -> str:
    """Returns the numbers of the carried positions and of the time steps."""
    zero, one, size = (graph.constant(value, np.int64) for value in (0, 1, size))
    return graph.op("Range", zero, graph.op("Add", length, size), one)


def _visible(graph: Graph, valid: Window, positions: str, size: int) -> str:
    """Returns which positions each time step attends to, (batch, 1, time, positions)."""
    steps = graph.unsqueeze(graph.slice(positions, size, END, 0), -1)
    distance = graph.op("Sub", steps, graph.unsqueeze(positions, 0))
    zero, limit = (graph.constant(value, np.int64) for value in (0, size + 1))
    near = graph.op("GreaterOrEqual", distance, zero), graph.op("Less", distance, limit)
    is_valid = graph.op("Greater", valid.values, graph.constant(0.5))
    visible = graph.op("And", graph.op("And", *near), _per_position(graph, is_valid))
    segments, own = valid.segments()
    if segments is None:
        return visible
    own = graph.unsqueeze(graph.transpose(own, 1, 0, 2), 1)
    return graph.op("And", visible, graph.op("Equal", own, _per_position(graph, segments)))


def _per_position(graph: Graph, x: str) -> str:
    """Returns (positions, batch, 1) as (batch, 1, 1, positions)."""
    return graph.unsqueeze(graph.transpose(x, 1, 2, 0), 1)


def _without_nan(graph: Graph, keys: str, values: str, visible: str) -> tuple[str, str, str]:
    """Returns keys and values with 0 in place of those of a position that is not finite.

    A weight of 0 times NaN would be NaN. Also returns the time steps that attend to such a
    position, (time, batch, 1), whose outputs are NaN.
    """
    zero = graph.constant(0.0)
    # The product is NaN where a number is not finite.
    product = graph.op("Mul", graph.concat([keys, values], -1), zero)
    total = graph.op("ReduceSum", product, graph.integers(-1), keepdims=1)
    finite = graph.op("Equal", total, zero)
    keys, values = (graph.op("Where", finite, x, zero) for x in (keys, values))
    hit = graph.op("And", visible, _per_position(graph, graph.op("Not", finite)))
    hit = graph.op("ReduceMax", graph.cast(hit, "float32"), graph.integers(-1), keepdims=1)
    hit = graph.transpose(graph.squeeze(hit, 1), 1, 0, 2)
    return keys, values, graph.op("Greater", hit, zero)


def _rotation(graph: Graph, positions: str, half: int) -> tuple[str, str]:
    """Returns cosines and sines of the rotary angles, (positions, 1, 1, half).

    Angles are counted in units of 2**-32 turns, as in `rnnlab.layers.attention.apply_rope`.
    """
    turn, half_turn = 2**32, 2**31
    units = np.round(ROPE_BASE ** (-np.arange(half) / half) / (2 * np.pi) * turn)
    total = graph.op("Mul", graph.unsqueeze(positions, -1), graph.constant(units, np.int64))
    half_turn = graph.constant(half_turn, np.int64)
    wrapped = graph.op("Mod", graph.op("Add", total, half_turn), graph.constant(turn, np.int64))
    signed = graph.cast(graph.op("Sub", wrapped, half_turn), "float32")
    angle = graph.op("Mul", signed, graph.constant(2 * np.pi / turn))
    angle = graph.op("Unsqueeze", angle, graph.integers(1, 2))
    return graph.op("Cos", angle), graph.op("Sin", angle)


def _split_heads(graph: Graph, x: str, heads: int, head_width: int) -> str:
    """Returns (positions, batch, features) as (positions, batch, heads, head_width)."""
    return graph.op("Reshape", x, graph.integers(0, 0, heads, head_width))


def _rotated(graph: Graph, x: str, cos: str, sin: str) -> str:
    """Returns heads with features j and j + head_width / 2 rotated."""
    a, b = graph.ops("Split", x, outputs=2, axis=-1, num_outputs=2)
    first = graph.op("Sub", graph.op("Mul", a, cos), graph.op("Mul", b, sin))
    second = graph.op("Add", graph.op("Mul", a, sin), graph.op("Mul", b, cos))
    return graph.concat([first, second], -1)
