"""The analyses of one model and one sequence: a table and figures."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jax import Array
from matplotlib.figure import Figure

from rnnlab.analysis import plots
from rnnlab.analysis.attention import attention_weights
from rnnlab.analysis.attribution import integrated_gradients
from rnnlab.analysis.gates import gate_meaning, gate_range, gate_statistics
from rnnlab.analysis.gradients import gradient_flow
from rnnlab.analysis.jacobian import lyapunov_exponents
from rnnlab.analysis.layers import CellInputs, cell_inputs, layers, reads_backward
from rnnlab.analysis.memory_horizon import input_sensitivity, memory_horizon
from rnnlab.analysis.states import participation_ratio, principal_components
from rnnlab.cells.linear import LinearCell
from rnnlab.layers import Attention
from rnnlab.layers.tcn import TemporalBlock
from rnnlab.models import SequenceModel
from rnnlab.plotting import add_caption
from rnnlab.tables import Table


class Prediction(NamedTuple):
    """The prediction of a sequence that figures explain.

    Attributes:
      step: index of its time step in the sequence that is passed with it.
      output: index of the output that is explained.
      text: what is predicted and what is true, as in "predicted 'e', target 'a'".
      unit: what the output is, as in "logit of 'e'".
    """

    step: int
    output: int
    text: str
    unit: str = "output"

    def __call__(self, ys: Array) -> Array:
        """Returns the explained output of a model's outputs (time, out_features)."""
        return ys[self.step, self.output]


def figures(
    model: SequenceModel,
    xs: Array,
    labels: Sequence[str] | None = None,
    *,
    prediction: Prediction | None = None,
    carry: Any = None,
    gaps: Array | None = None,
    first_step: int = 0,
    source: str = "",
) -> Iterator[tuple[str, Figure]]:
    """Yields figures by name, each with a caption that names what it is of.

    Args:
      model: a model, also a bidirectional one.
      xs: one sequence, without batch axes. Steps behind the prediction are omitted unless the
        model is bidirectional.
      labels: the symbols of its time steps; None numbers them.
      prediction: the prediction that is explained; None is the largest output of the last step.
      carry: the model's carry before the sequence; None is `initial_carry`.
      gaps: (time,), for a model that uses them.
      first_step: number of the first time step, if the sequence is the end of a longer one.
      source: where the sequence is from, for the captions.

    Raises:
      ValueError: labels and time steps differ in number.

    >>> from flax import nnx
    >>> from rnnlab.models.config import ModelConfig
    >>> model = ModelConfig("gru", width=8, depth=1).build(5, vocab_size=5, rngs=nnx.Rngs(0))
    >>> [name for name, _ in figures(model, jnp.array([1, 4, 0, 2]))]
    ['gradient_flow', 'memory', 'gates_layer_1', 'trajectory', 'attribution']
    """
    if labels is not None and len(labels) != len(xs):
        raise ValueError(f"labels must have one entry per time step ({len(xs)}), got {len(labels)}")
    carry = model.initial_carry(()) if carry is None else carry
    if prediction is None:
        output = int(jnp.argmax(model(carry, xs, gaps=gaps)[1][-1]))
        prediction = Prediction(len(xs) - 1, output, f"output {output}, the largest")
    loss_step = prediction.step
    if not is_bidirectional(model):
        xs, loss_step = xs[: prediction.step + 1], None
        labels = None if labels is None else labels[: prediction.step + 1]
        gaps = None if gaps is None else gaps[: prediction.step + 1]
    read = cell_inputs(model, carry, xs, gaps=gaps)
    when = f"at time step {first_step + prediction.step}"
    explained = f"Prediction {when}: {prediction.text}"
    flow = gradient_flow(model, carry, xs, prediction, gaps=gaps)
    drawn = plots.gradient_flow_figure(
        flow,
        title="Gradient flow from one prediction",
        ylabel=f"norm of the gradient of the {prediction.unit}\nwith respect to the state",
        loss_step=loss_step,
    )
    yield "gradient_flow", _captioned(drawn, explained, source)
    sensitivity = {r.name: input_sensitivity(r.cell, r.carry, r.xs, gaps=r.gaps) for r in read}
    drawn = plots.horizon_figure(sensitivity, title="Memory horizon of each layer")
    yield "memory", _captioned(drawn, *map(_order, read[:2]), source)
    for each in read:
        if (drawn := _gate_figure(each, labels, first_step)) is not None:
            captions = _order(each), _gap_factor(each), source
            yield f"gates_{_file_name(each.name)}", _captioned(drawn, *captions)
    last = read[-2:] if is_bidirectional(model) else read[-1:]
    for each in last:
        if (drawn := _trajectory_figure(each, labels, first_step)) is not None:
            suffix = "" if len(last) == 1 else f"_{_file_name(each.name)}"
            yield f"trajectory{suffix}", _captioned(drawn, _order(each), source)
    drawn = _attribution_figure(model, carry, xs, gaps, labels, prediction, first_step)
    yield "attribution", _captioned(drawn, explained, source)
    for name, weights in attention_weights(model, carry, xs, gaps=gaps).items():
        drawn = plots.attention_figure(weights, labels, title=f"Attention of {name}")
        yield f"attention_{_file_name(name)}", _captioned(drawn, source)


def is_bidirectional(model: SequenceModel) -> bool:
    """Returns whether a cell of the model reads sequences from their end."""
    return any(reads_backward(layer.name) for layer in layers(model, model.initial_carry(())))


def _gate_figure(read: CellInputs, labels: Sequence[str] | None, first_step: int) -> Figure | None:
    """The gates of a cell by time step, in the range that they have; None if it has none."""
    cell = read.cell
    has_gates = hasattr(cell, "gate_values")
    gates = cell.gate_values(read.carry, read.xs, **read.options) if has_gates else {}
    if not gates:
        return None
    low, high = limits = gate_range(cell)
    gates = {gate: low + (high - low) * _by_time(read, values) for gate, values in gates.items()}
    meanings = {gate: gate_meaning(cell, gate) for gate in gates}
    title = f"Gates of {_title(read)}"
    scale = {"meanings": meanings, "limits": limits}
    return plots.gate_figure(gates, labels, title=title, first_step=first_step, **scale)


def _trajectory_figure(
    read: CellInputs, labels: Sequence[str] | None, first_step: int
) -> Figure | None:
    """The states of a cell in two dimensions; None if they have fewer."""
    h = _by_time(read, read.cell(read.carry, read.xs, **read.options)[1])
    if min(h.shape) < 2:
        return None
    found = principal_components(h)
    options = {"explained_variance_ratio": found.explained_variance_ratio, "first_step": first_step}
    title = f"Trajectory of the state of {_title(read)}"
    return plots.trajectory_figure(found.projected, labels, title=title, **options)


def _attribution_figure(
    model: SequenceModel,
    carry: Any,
    xs: Array,
    gaps: Array | None,
    labels: Sequence[str] | None,
    prediction: Prediction,
    first_step: int,
) -> Figure:
    """The contribution of each time step to the prediction, compared with the mean input."""
    embedded = model.embed(xs)

    def output(embedded: Array) -> Array:
        return prediction(model.predict(carry, embedded, gaps=gaps)[1])

    baseline = jnp.broadcast_to(embedded.mean(0, keepdims=True), embedded.shape)
    parts = integrated_gradients(output, embedded, baseline)
    title = f"Attribution of the prediction at time step {first_step + prediction.step}"
    label = f"contribution to the {prediction.unit}"
    if labels is None:
        return plots.attribution_figure(parts, title=title, ylabel=label, first_step=first_step)
    label = f"contribution to the\n{prediction.unit}"
    title += ": red raises it, blue lowers it"
    return plots.text_figure(labels, parts, title=title, colorbar_label=label)


def _by_time(read: CellInputs, values: Array) -> Array:
    """Values (time, ...) in the reading order of a cell, by time step."""
    return jnp.flip(values, 0) if read.reads_backward else values


def _title(read: CellInputs) -> str:
    return f"{read.name}, {type(read.cell).__name__}"


def _order(read: CellInputs) -> str:
    """A sentence on the order in which a cell reads, where it is not that of time."""
    if not read.reads_backward:
        return ""
    return "Backward cells read from the last time step, and their lags count from the first."


def _gap_factor(read: CellInputs) -> str:
    """A sentence on the decay with the time between inputs, where the cell has one."""
    if read.gaps is None:
        return ""
    if isinstance(read.cell, LinearCell):
        return "The decay includes that with the time since the previous input."
    return "The state also decays with the time since the previous input, which is not drawn."


def _captioned(figure: Figure, *lines: str) -> Figure:
    if any(lines):
        add_caption(figure, "\n".join(filter(None, lines)))
    return figure


def table(model: SequenceModel, xs: Array, carry: Any = None, gaps: Array | None = None) -> Table:
    """One table row per layer: its decay, memory horizon, effective dimension and gates.

    Args:
      model: a model, also a bidirectional one: its cells have a row per direction.
      xs: one sequence, without batch axes.
      carry: the model's carry before the sequence; None is `initial_carry`.
      gaps: (time,), for a model that uses them.

    >>> from flax import nnx
    >>> from rnnlab.models.config import ModelConfig
    >>> model = ModelConfig("gru", width=8, depth=1).build(5, vocab_size=5, rngs=nnx.Rngs(0))
    >>> [line[:2] for line in table(model, jnp.array([1, 4, 0, 2])).lines]
    [('layer 1', 'GRU')]
    """
    headings = (
        "layer",
        "cell",
        "Lyapunov exponent",
        "memory horizon, steps (median unit)",
        "effective dimension",
        "gates: fraction saturated low, high",
    )
    carry = model.initial_carry(()) if carry is None else carry
    lines = [_line(read) for read in cell_inputs(model, carry, xs, gaps=gaps)]
    return Table(f"Over {len(xs)} time steps", headings, lines)


def _line(read: CellInputs) -> tuple[str, ...]:
    name, cell, carry, xs, gaps = read
    exponent = ""
    if not isinstance(cell, Attention | TemporalBlock):  # their states are windows
        exponent = f"{lyapunov_exponents(cell, carry, xs, gaps=gaps)[0]:.3f}"
    horizon = float(np.median(memory_horizon(input_sensitivity(cell, carry, xs, gaps=gaps))))
    beyond = "at least " if horizon > len(xs) - 1 else ""
    h = cell(carry, xs, **read.options)[1]
    return (
        name,
        type(cell).__name__,
        exponent,
        f"{beyond}{horizon:.0f}",
        f"{participation_ratio(h):.1f} of {h.shape[-1]}",
        _saturation(read),
    )


def _saturation(read: CellInputs) -> str:
    if not hasattr(read.cell, "gate_values"):
        return ""
    found = gate_statistics(read.cell, read.carry, read.xs, gaps=read.gaps)
    return "; ".join(
        f"{name} {gate.saturated_low.mean():.0%}, {gate.saturated_high.mean():.0%}"
        for name, gate in found.items()
    )


def _file_name(name: str) -> str:
    return name.replace(" ", "_")
