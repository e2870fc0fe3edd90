"""The ONNX forms of linear cells with a state of their own kind: RG-LRU and LRU."""

import numpy as np
from scipy.linalg import block_diag

from rnnlab.cells.lru import LRU
from rnnlab.cells.rglru import RGLRU, SHARPNESS
from rnnlab.export.onnx.cells import initial_state, linear_recurrence
from rnnlab.export.onnx.forms import Part, onnx_form, over_time


@onnx_form(RGLRU)
def rglru(part: Part, state: str, x: str) -> tuple[str, str]:
    """RG-LRU: gates of all time steps, then the linear recurrence."""
    graph = part.graph
    u = graph.dense(x, part.parameter("input_kernel"))
    r, i = (graph.op("Sigmoid", _block_dense(part, u, gate)) for gate in ("recurrence", "input"))
    rate = graph.op("Mul", graph.constant(SHARPNESS), graph.op("Softplus", part.parameter("rate")))
    cost = graph.op("Mul", r, rate)  # -log a
    a = graph.op("Exp", graph.op("Neg", cost))
    # 1 - a^2 without its cancellation: (1 + a^2) tanh(-log a).
    total = graph.op("Add", graph.constant(1.0), graph.op("Mul", a, a))
    scale = graph.op("Sqrt", graph.op("Mul", graph.op("Tanh", cost), total))
    b = graph.op("Mul", scale, graph.op("Mul", i, u))
    return linear_recurrence(part, state, a, b)


def _block_dense(part: Part, x: str, gate: str) -> str:
    """Returns a gate's pre-activation, of its kernel as one matrix with zeros between the heads."""
    graph = part.graph
    name = part.parameter_name(f"{gate}_gate_kernel")
    kernel = graph.derived(f"{name}.block_diagonal", block_diag(*graph.array(name)))
    return graph.dense(x, kernel, part.parameter(f"{gate}_gate_bias"))


@onnx_form(LRU)
def lru(part: Part, state: str, x: str) -> tuple[str, str]:
    """LRU: projections of all time steps, then a loop over real and imaginary parts."""
    graph = part.graph
    real, imaginary, input_kernels = _constants(part)
    parts = [graph.unsqueeze(graph.dense(x, kernel), -2) for kernel in input_kernels]
    turn = graph.constant([[0.0, -1.0], [1.0, 0.0]])  # i h

    def body(part, states, inputs):
        (before,), (b,) = states, inputs
        graph, call = part.graph, part.call
        if call.reset is not None:
            before = graph.where(graph.unsqueeze(call.reset, -1), initial_state(part), before)
        turned = graph.op("Mul", imaginary, graph.op("MatMul", turn, before))
        h = graph.op("Add", graph.op("Add", graph.op("Mul", real, before), turned), b)
        if call.mask is not None:
            h = graph.op("Where", graph.unsqueeze(call.mask, -1), h, before)
        return [h], [h]

    (state,), (h,) = over_time(part, body, [state], [graph.concat(parts, -2)])
    kernels = part.parameter_name("output_kernel")
    y = graph.dense(x, part.parameter("skip_kernel"))
    for k, (row, sign) in enumerate((([[1.0, 0.0]], 1.0), ([[0.0, 1.0]], -1.0))):
        states = graph.squeeze(graph.op("MatMul", graph.constant(row), h), -2)
        kernel = graph.derived(
            f"{kernels}.{('real', 'imaginary')[k]}", sign * graph.array(kernels)[k]
        )
        y = graph.op("Add", y, graph.dense(states, kernel))
    return state, y


def _constants(part: Part) -> tuple[str, str, list[str]]:
    """Returns both parts of the decays, and the input kernels with their scale."""
    graph = part.graph

    def values(name: str) -> np.ndarray:
        return np.asarray(graph.array(part.parameter_name(name)), np.float64)

    exponent = -np.exp(values("log_rate")) + 1j * np.exp(values("log_phase"))
    if part.module.delta:
        a = np.exp(exponent * np.exp(values("log_delta")))
        scale = (a - 1) / exponent
    else:
        a, scale = np.exp(exponent), np.exp(values("log_scale"))
    kernel = (values("input_kernel")[0] + 1j * values("input_kernel")[1]) * scale

    def derived(name: str, array: np.ndarray) -> str:
        name = part.parameter_name(name)
        return graph.derived(name, array.astype(np.float32))

    kernels = [
        derived("input_kernel.real", kernel.real),
        derived("input_kernel.imaginary", kernel.imag),
    ]
    return derived("decay.real", a.real), derived("decay.imaginary", a.imag), kernels
