"""The ONNX forms of the cells.

Gates of minimal cells are computed for all time steps before the loop, which is left with a product
and a sum. Classic cells have operators of their own in ONNX, which have no flags and no decay; with
those they are a loop over primitive operators, as in a step.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnlab.cells.gru import GRU
from rnnlab.cells.lstm import LSTM, LSTMCarry
from rnnlab.cells.mamba import Mamba, MambaCarry
from rnnlab.cells.mingru import MinGRU
from rnnlab.cells.minlstm import MinLSTM
from rnnlab.cells.rnn import VanillaRNN
from rnnlab.export.onnx.forms import Part, onnx_form, over_time
from rnnlab.export.onnx.graph import Graph


@onnx_form(MinGRU)
def mingru(part: Part, state: str, x: str) -> tuple[str, str]:
    """minGRU: gates of all time steps, then the linear recurrence."""
    graph = part.graph
    update, candidate = (_dense(part, x, name) for name in part.module.projections)
    z = graph.op("Sigmoid", update)
    a = graph.op("Sub", graph.constant(1.0), z)
    return linear_recurrence(part, state, a, graph.op("Mul", z, _candidate(part, candidate)))


@onnx_form(MinLSTM)
def minlstm(part: Part, state: str, x: str) -> tuple[str, str]:
    """minLSTM. f / (f + i) is the sigmoid of log f - log i, without the 0/0 of closed gates."""
    graph = part.graph
    forget, new, candidate = (_dense(part, x, name) for name in part.module.projections)
    if part.module.normalize:
        costs = [graph.op("Softplus", graph.op("Neg", gate)) for gate in (new, forget)]
        a = graph.op("Sigmoid", graph.op("Sub", *costs))
        i = graph.op("Sub", graph.constant(1.0), a)
    else:
        a, i = graph.op("Sigmoid", forget), graph.op("Sigmoid", new)
    return linear_recurrence(part, state, a, graph.op("Mul", i, _candidate(part, candidate)))


def linear_recurrence(part: Part, state: str, a: str, b: str) -> tuple[str, str]:
    """Adds `h[t] = a[t] h[t-1] + b[t]` for a decay in (0, 1) and an input term, both real."""
    graph, module = part.graph, part.module
    if module.decay_range != (0, 1):
        a = graph.op("Sub", graph.op("Add", a, a), graph.constant(1.0))
    if part.call.gaps is not None:
        a = graph.op("Mul", a, _gap_decay(part))
    if part.call.mask is not None:
        a = graph.op("Where", part.call.mask, a, graph.constant(1.0))
        b = graph.op("Where", part.call.mask, b, graph.constant(0.0))

    def body(part, states, inputs):
        (h,), (a, b) = states, inputs
        graph = part.graph
        h = graph.where(part.call.reset, initial_state(part), h)
        h = graph.op("Add", graph.op("Mul", a, h), b)
        return [h], [h]

    (state,), (ys,) = over_time(part, body, [state], [a, b])
    return state, ys


@onnx_form(Mamba)
def mamba(part: Part, carry: MambaCarry, x: str) -> tuple[MambaCarry, str]:
    """Mamba: projections and convolution of all time steps, then a loop over its states.

    The loop computes the decays, since those of all time steps take `state_size` times the memory
    of the inputs.
    """
    graph, module = part.graph, part.module
    width, sizes = module.features, (module.dt_rank, module.state_size, module.state_size)
    u, z = graph.split(graph.dense(x, part.parameter("in_kernel")), (width, width))
    window, u = part.part("conv").run(carry.conv, u)
    u = _silu(graph, u)
    low, b, c = graph.split(graph.dense(u, part.parameter("x_kernel")), sizes)
    dt = graph.dense(low, part.parameter("delta_kernel"), part.parameter("delta_bias"))
    # A step of size 0 keeps the state: its decay is 1, its input 0.
    dt = part.masked(graph.op("Softplus", dt))
    inputs = graph.op("Mul", dt, u)
    rates = graph.op("Neg", graph.op("Exp", part.parameter("log_rate")))

    def body(part, states, inputs):
        (h,), (dt, u, b, c) = states, inputs
        graph, reset = part.graph, part.call.reset
        if reset is not None:
            h = graph.where(graph.unsqueeze(reset, -1), initial_state(part), h)
        a = graph.op("Exp", graph.op("Mul", dt, rates))
        h = graph.op("Add", graph.op("Mul", a, h), graph.op("Mul", u, b))
        return [h], [graph.op("MatMul", h, c)]

    columns = [graph.unsqueeze(value, -1) for value in (dt, inputs)]
    columns += [graph.unsqueeze(b, -2), graph.unsqueeze(c, -1)]
    (state,), (y,) = over_time(part, body, [carry.state], columns)
    skipped = graph.op("Mul", part.parameter("skip"), u)
    y = graph.op("Add", graph.squeeze(y, -1), skipped)
    return MambaCarry(window, state), graph.op("Mul", y, _silu(graph, z))


@onnx_form(VanillaRNN)
def rnn(part: Part, state: str, x: str) -> tuple[str, str]:
    """Elman RNN."""
    activation = part.module.activation.capitalize()
    if not _needs_loop(part):
        return _native(part, "RNN", [state], x, "0", activations=[activation])

    def update(part, states, pre):
        (h,) = states
        graph = part.graph
        total = graph.op("Add", graph.dense(h, part.parameter("recurrent_kernel")), pre)
        return [graph.op(activation, total)]

    (state,), y = _loop(part, update, [state], x)
    return state, y


@onnx_form(GRU)
def gru(part: Part, state: str, x: str) -> tuple[str, str]:
    """GRU, with the reset gate after or before the candidate's matmul."""
    reset_after, width = part.module.reset_after, part.module.features
    if not _needs_loop(part):
        options = {"linear_before_reset": int(reset_after)}
        return _native(part, "GRU", [state], x, "102", **options)

    def update(part, states, pre):
        (h,), graph = states, part.graph
        gates, candidate = graph.split(pre, (2 * width, width))
        gates, n = (_after if reset_after else _before)(part, h, gates, candidate)
        _, z = gates
        n = graph.op("Tanh", n)
        return [graph.op("Add", n, graph.op("Mul", z, graph.op("Sub", h, n)))]

    (state,), y = _loop(part, update, [state], x)
    return state, y


@onnx_form(LSTM)
def lstm(part: Part, carry: LSTMCarry, x: str) -> tuple[LSTMCarry, str]:
    """LSTM, whose states are c and h."""
    width = part.module.features
    if not _needs_loop(part):
        (h, c), y = _native(part, "LSTM", [carry.h, carry.c], x, "0312")
        return LSTMCarry(c, h), y

    def update(part, states, pre):
        (c, h), graph = states, part.graph
        total = graph.op("Add", graph.dense(h, part.parameter("recurrent_kernel")), pre)
        gates, g, o = graph.split(total, (2 * width, width, width))
        i, f = graph.split(graph.op("Sigmoid", gates), (width, width))
        kept, new = graph.op("Mul", f, c), graph.op("Mul", i, graph.op("Tanh", g))
        c = graph.op("Add", kept, new)
        return [c, graph.op("Mul", graph.op("Sigmoid", o), graph.op("Tanh", c))]

    states, y = _loop(part, update, list(carry), x)
    return LSTMCarry(*states), y


def _after(part: Part, h: str, gates: str, candidate: str) -> tuple[tuple[str, ...], str]:
    """Returns r and z, and the candidate's pre-activation with r after the matmul."""
    graph, width = part.graph, part.module.features
    bias = graph.pad(part.parameter("candidate_bias"), (2 * width,), (0,))
    recurrent = graph.dense(h, part.parameter("recurrent_kernel"), bias)
    recurrent, n = graph.split(recurrent, (2 * width, width))
    r, z = graph.split(graph.op("Sigmoid", graph.op("Add", gates, recurrent)), (width, width))
    return (r, z), graph.op("Add", candidate, graph.op("Mul", r, n))


def _before(part: Part, h: str, gates: str, candidate: str) -> tuple[tuple[str, ...], str]:
    """Returns r and z, and the candidate's pre-activation with r before the matmul."""
    graph, width = part.graph, part.module.features
    kernels = graph.split(part.parameter("recurrent_kernel"), (2 * width, width))
    recurrent = graph.dense(h, kernels[0])
    r, z = graph.split(graph.op("Sigmoid", graph.op("Add", gates, recurrent)), (width, width))
    bias = part.parameter("candidate_bias")
    n = graph.dense(graph.op("Mul", r, h), kernels[1], bias)
    return (r, z), graph.op("Add", candidate, n)


def _loop(part: Part, update: Any, states: list[str], x: str) -> tuple[list[str], str]:
    """Adds a classic cell of primitive operators: reset, decay, update, then keep where masked."""
    graph = part.graph
    pre = graph.dense(x, part.parameter("kernel"), part.parameter("bias"))
    inputs = [pre] if part.call.gaps is None else [pre, _gap_decay(part)]

    def body(part, states, inputs):
        graph, call = part.graph, part.call
        pre, *decay = inputs
        states = [graph.where(call.reset, graph.constant(0.0), s) for s in states]
        decayed = [graph.op("Mul", *decay, s) for s in states] if decay else states
        new = update(part, decayed, pre)
        if call.mask is not None:
            pairs = zip(new, states, strict=True)
            new = [graph.op("Where", call.mask, after, before) for after, before in pairs]
        return new, new[-1:]

    states, (y,) = over_time(part, body, states, inputs)
    return states, y


def _needs_loop(part: Part) -> bool:
    """Returns whether a classic cell cannot be one operator of ONNX."""
    call = part.call
    return call.form == "step" or call.has_flags or call.gaps is not None


def _native(
    part: Part, kind: str, states: Sequence[str], x: str, order: str, **attributes: Any
) -> tuple[Any, str]:
    """Adds a recurrent operator of ONNX.

    Args:
      part: the cell.
      kind: name of the operator.
      states: the states before the first time step, in the operator's order.
      x: inputs (time, batch, in_features).
      order: the positions of the operator's gates in ours.
      attributes: of the operator, except the width.

    Returns:
      The last states, one or a list, and the outputs (time, batch, features).
    """
    graph, width = part.graph, part.module.features
    gates = [int(k) for k in order]

    def in_order(array: np.ndarray) -> np.ndarray:
        """Returns an array (..., gates * width) with its gates in the operator's order."""
        by_gate = array.reshape(*array.shape[:-1], len(gates), width)
        return by_gate[..., gates, :].reshape(array.shape)

    def weights(name: str) -> str:
        name = part.parameter_name(name)
        # The operator reads (directions, gates * width, inputs).
        return graph.derived(f"{name}.onnx_{kind.lower()}", in_order(graph.array(name)).T[None])

    bias = in_order(graph.array(part.parameter_name("bias")))
    second = np.zeros_like(bias)
    if kind == "GRU":  # whose candidate has a second bias
        second[2 * width :] = graph.array(part.parameter_name("candidate_bias"))
    bias_name = f"{part.parameter_name('bias')}.onnx_{kind.lower()}"
    biases = graph.derived(bias_name, np.concatenate([bias, second])[None])
    kernels = weights("kernel"), weights("recurrent_kernel")
    before = [graph.unsqueeze(state, 0) for state in states]
    ys, *after = graph.ops(
        *(kind, x, *kernels, biases, "", *before),
        outputs=1 + len(states),
        hidden_size=width,
        **attributes,
    )
    after = [graph.squeeze(state, 0) for state in after]
    return after if len(after) > 1 else after[0], graph.squeeze(ys, 1)


def _dense(part: Part, x: str, name: str) -> str:
    """Returns the pre-activation of a projection of a minimal cell."""
    return part.graph.dense(x, part.parameter(f"{name}_kernel"), part.parameter(f"{name}_bias"))


def _candidate(part: Part, x: str) -> str:
    """Returns the candidate of a minimal cell from its pre-activation."""
    return CANDIDATES[part.module.candidate](part.graph, x)


def _positive(graph: Graph, x: str) -> str:
    """The paper's g as `max(x, 0) + min(sigmoid(x), 1/2)`."""
    small = graph.op("Min", graph.op("Sigmoid", x), graph.constant(0.5))
    return graph.op("Add", graph.op("Relu", x), small)


CANDIDATES = {
    "positive": _positive,
    "identity": lambda graph, x: x,
    "tanh": lambda graph, x: graph.op("Tanh", x),
}
"""Operators of the candidate activations, by the value of the option `candidate`."""


def _silu(graph: Graph, x: str) -> str:
    return graph.op("Mul", x, graph.op("Sigmoid", x))


def initial_state(part: Part) -> str:
    """Returns the state that a reset restores, without the batch axis."""
    learned = part.module.learn_initial_state
    return part.parameter("carry") if learned else part.graph.constant(0.0)


def _gap_decay(part: Part) -> str:
    """Returns `exp(-softplus(rate) gap)` for all units."""
    graph = part.graph
    rate = graph.op("Neg", graph.op("Softplus", part.parameter("gap_rate")))
    return graph.op("Exp", graph.op("Mul", part.call.gaps, rate))
