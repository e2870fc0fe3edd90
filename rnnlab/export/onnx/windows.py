"""The ONNX forms of layers whose carry is a window of the last inputs."""

from dataclasses import replace

import numpy as np

from rnnlab.export.onnx.forms import Part, onnx_form
from rnnlab.export.onnx.graph import END
from rnnlab.layers.conv import CausalConv
from rnnlab.layers.tcn import DilatedConv, TemporalBlock, TemporalBlockCarry


class Window:
    """A window of `size` inputs followed by those of a call, time first.

    Args:
      part: the layer, whose call is a sequence.
      carry: the window (batch, size, features).
      size: its length, >= 0.
      xs: inputs (time, batch, features).
    """

    def __init__(self, part: Part, carry: str, size: int, xs: str):
        graph = part.graph
        self._part, self._carry, self._size = part, carry, size
        self.values = xs
        if size:
            self.values = graph.concat([graph.transpose(carry, 1, 0, 2), xs], 0)
        self._segments = None
        if part.call.reset is not None:
            count = graph.op(
                "CumSum", graph.cast(part.call.reset, "int64"), graph.constant(0, np.int64)
            )
            self._count, self._segments = count, graph.pad(count, (size, 0, 0), (0, 0, 0))

    def tap(self, lag: int) -> str:
        """Returns the inputs `lag` steps before each step, 0 where a reset lies between them."""
        x = self._at(self.values, lag)
        if self._segments is None or not lag:
            return x
        graph = self._part.graph
        same = graph.op("Equal", self._at(self._segments, lag), self._count)
        return graph.op("Where", same, x, graph.constant(0.0))

    def segments(self) -> tuple[str | None, str | None]:
        """Returns the segment numbers of all positions and of the call's time steps, or None.

        Each is (positions, batch, 1).
        """
        return (None, None) if self._segments is None else (self._segments, self._count)

    def pushed(self, features: int) -> str:
        """Returns the window after the call, (batch, size, features)."""
        graph, call, size = self._part.graph, self._part.call, self._size
        if not size:
            return self._carry
        if call.mask is None:
            last, segments = (
                None if x is None else graph.slice(x, -size, END, 0)
                for x in (self.values, self._segments)
            )
        else:
            length = graph.op("ReduceSum", graph.cast(call.mask, "int64"), graph.integers(0))
            index = graph.op(
                "Add", length, graph.constant(np.arange(size)[:, None, None], np.int64)
            )
            shape = graph.integers(1, 1, features)
            last = graph.op("GatherElements", self.values, graph.op("Expand", index, shape), axis=0)
            segments = self._segments and graph.op("GatherElements", self._segments, index, axis=0)
        if segments is not None:
            same = graph.op("Equal", segments, graph.slice(self._count, -1, END, 0))
            last = graph.op("Where", same, last, graph.constant(0.0))
        return graph.transpose(last, 1, 0, 2)

    def _at(self, x: str, lag: int) -> str:
        if not self._size:
            return x
        return self._part.graph.slice(x, self._size - lag, -lag if lag else END, 0)


def as_sequence(part: Part) -> Part:
    """Returns a part whose time step is a sequence of length 1."""
    flags = {
        name: None if flag is None else part.graph.unsqueeze(flag, 0)
        for name, flag in (("reset", part.call.reset), ("mask", part.call.mask))
    }
    return replace(part, call=replace(part.call, form="sequence", **flags))


@onnx_form(CausalConv)
def causal_conv(part, carry, x):
    """A depthwise convolution: a sum of products of taps and weights."""
    graph, module = part.graph, part.module
    if part.call.form == "step":
        carry, window = step_window(part, carry, x, module.kernel_size - 1)
        weights = graph.slice(part.parameter("kernel"), -1, -END, 0, -1)
        products = graph.op("Mul", window, weights)
        y = graph.op("ReduceSum", products, graph.integers(1), keepdims=0)
        return carry, graph.op("Add", y, part.parameter("bias"))
    window = Window(part, carry, module.kernel_size - 1, x)
    y = part.parameter("bias")
    weights = graph.split(part.parameter("kernel"), [1] * module.kernel_size, 0)
    for lag, weight in enumerate(weights):
        y = graph.op("Add", y, graph.op("Mul", graph.squeeze(weight, 0), window.tap(lag)))
    return window.pushed(module.features), y


def step_window(part: Part, carry: str, x: str, size: int) -> tuple[str, str]:
    """Returns the next window, and the carried one with the input of a time step at its end."""
    graph, call = part.graph, part.call
    if not size:
        return carry, graph.unsqueeze(x, 1)
    if call.reset is not None:
        carry = graph.where(graph.unsqueeze(call.reset, 1), graph.constant(0.0), carry)
    joined = graph.concat([carry, graph.unsqueeze(x, 1)], 1)
    pushed = graph.slice(joined, 1, END, 1)
    if call.mask is not None:
        pushed = graph.op("Where", graph.unsqueeze(call.mask, 1), pushed, carry)
    return pushed, joined


@onnx_form(DilatedConv)
def dilated_conv(part, carry, x):
    """A dense convolution: one matrix product of all taps side by side, the oldest first."""
    graph, module = part.graph, part.module
    name = part.parameter_name("kernel")
    kernel = graph.array(name)
    norm = np.sqrt(np.square(kernel).sum((0, 1), keepdims=True))
    kernel = kernel / norm * graph.array(part.parameter_name("scale"))
    flat = kernel[::-1].reshape(-1, module.features)
    weights = graph.derived(f"{name}.weight_normalized", flat), part.parameter("bias")
    if part.call.form == "step":
        carry, joined = step_window(part, carry, x, module.lags[-1])
        taps = graph.slice(joined, 0, END, 1, module.dilation)
        taps = graph.op("Reshape", taps, graph.integers(0, len(module.lags) * module.in_features))
        return carry, graph.dense(taps, *weights)
    window = Window(part, carry, module.lags[-1], x)
    taps = graph.concat([window.tap(lag) for lag in reversed(module.lags)], -1)
    return window.pushed(module.features), graph.dense(taps, *weights)


@onnx_form(TemporalBlock)
def temporal_block(part, carry, x):
    """A residual branch of two convolutions."""
    graph, y, windows = part.graph, x, []
    for name, window in zip(("first", "second"), carry, strict=True):
        window, y = part.part(name).run(window, y)
        y = graph.op("Relu", y)
        windows.append(window)
    return TemporalBlockCarry(*windows), graph.op("Relu", graph.op("Add", x, y))
