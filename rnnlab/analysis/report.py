"""The analyses of one model and one sequence: a table and figures."""

from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array
from matplotlib.figure import Figure

from rnnlab.analysis import plots
from rnnlab.analysis.attention import attention_weights
from rnnlab.analysis.attribution import integrated_gradients
from rnnlab.analysis.gates import gate_statistics
from rnnlab.analysis.gradients import gradient_flow
from rnnlab.analysis.jacobian import lyapunov_exponents
from rnnlab.analysis.layers import CellInputs, cell_inputs
from rnnlab.analysis.memory_horizon import input_sensitivity, memory_horizon
from rnnlab.analysis.states import participation_ratio, principal_components
from rnnlab.layers import Attention
from rnnlab.layers.tcn import TemporalBlock
from rnnlab.models import SequenceModel
from rnnlab.tables import Table


def figures(
    model: SequenceModel, xs: Array, labels: Sequence[str] | None = None
) -> Iterator[tuple[str, Figure]]:
    """Yields figures by name.

    Args:
      model: a model with `step`.
      xs: one sequence, without batch axes.
      labels: the symbols of its time steps; None numbers them.

    Raises:
      ValueError: the model has no step, or labels and time steps differ in number.

    >>> from rnnlab.models.config import ModelConfig
    >>> model = ModelConfig("gru", width=8, depth=1).build(5, vocab_size=5, rngs=nnx.Rngs(0))
    >>> [name for name, _ in figures(model, jnp.array([1, 4, 0, 2]))]
    ['gradient_flow', 'memory', 'gates_layer_1', 'trajectory']
    """
    if labels is not None and len(labels) != len(xs):
        raise ValueError(f"labels must have one entry per time step ({len(xs)}), got {len(labels)}")
    carry = model.initial_carry(())
    read = cell_inputs(model, carry, xs)
    flow = gradient_flow(model, carry, xs, _max_final_output)
    yield (
        "gradient_flow",
        plots.gradient_flow_figure(
            flow,
            title="Gradient flow from the largest prediction of the last time step",
            ylabel="norm of the gradient with respect to the state",
        ),
    )
    yield (
        "memory",
        plots.horizon_figure(
            {r.name: input_sensitivity(r.cell, r.carry, r.xs) for r in read},
            title="Memory horizon of each layer",
        ),
    )
    for name, cell, state, inputs in read:
        gates = cell.gate_values(state, inputs) if hasattr(cell, "gate_values") else {}
        if gates:
            title = f"Gates of {name}, {type(cell).__name__}"
            yield f"gates_{_file_name(name)}", plots.gate_figure(gates, labels, title=title)
    last = read[-1]
    h = last.cell(last.carry, last.xs)[1]
    if min(h.shape) > 1:
        found = principal_components(h)
        title = f"Trajectory of the state of {last.name}"
        ratio = found.explained_variance_ratio
        yield (
            "trajectory",
            plots.trajectory_figure(
                found.projected, labels, explained_variance_ratio=ratio, title=title
            ),
        )
    if labels is not None:
        embedded = model.embed(xs)
        baseline = jnp.broadcast_to(embedded.mean(0, keepdims=True), embedded.shape)
        parts = integrated_gradients(_MaxPrediction(model, xs), embedded, baseline)
        yield (
            "attribution",
            plots.text_figure(
                labels,
                parts,
                title="Attribution of the last prediction",
                colorbar_label="contribution",
            ),
        )
    for name, weights in attention_weights(model, carry, xs).items():
        title = f"Attention of {name}"
        yield f"attention_{_file_name(name)}", plots.attention_figure(weights, labels, title=title)


def _max_final_output(ys: Array) -> Array:
    return ys[..., -1, :].max(-1).sum()


class _MaxPrediction:
    """The largest logit or value of the last time step, as a function of the embedded inputs."""

    def __init__(self, model: SequenceModel, xs: Array):
        self.model, self.carry = model, model.initial_carry(())
        self.index = jnp.argmax(model(self.carry, xs)[1][-1])

    def __call__(self, embedded: Array) -> Array:
        return self.model.predict(self.carry, embedded)[1][-1, self.index]


def table(model: SequenceModel, xs: Array) -> Table:
    """One table row per layer: its decay, memory horizon, effective dimension and gates.

    Args:
      model: a model with `step`.
      xs: one sequence, without batch axes.

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
    lines = [_line(read) for read in cell_inputs(model, model.initial_carry(()), xs)]
    return Table(f"Over {len(xs)} time steps", headings, lines)


def _line(read: CellInputs) -> tuple[str, ...]:
    name, cell, carry, xs = read
    exponent = ""
    if not isinstance(cell, Attention | TemporalBlock):  # their states are windows
        exponent = f"{lyapunov_exponents(cell, carry, xs)[0]:.3f}"
    horizon = float(np.median(memory_horizon(input_sensitivity(cell, carry, xs))))
    beyond = "at least " if horizon > len(xs) - 1 else ""
    h = cell(carry, xs)[1]
    return (
        name,
        type(cell).__name__,
        exponent,
        f"{beyond}{horizon:.0f}",
        f"{participation_ratio(h):.1f} of {h.shape[-1]}",
        _saturation(cell, carry, xs),
    )


def _saturation(cell: nnx.Module, carry: object, xs: Array) -> str:
    if not hasattr(cell, "gate_values"):
        return ""
    found = gate_statistics(cell, carry, xs)
    return "; ".join(
        f"{name} {gate.saturated_low.mean():.0%}, {gate.saturated_high.mean():.0%}"
        for name, gate in found.items()
    )


def _file_name(name: str) -> str:
    return name.replace(" ", "_")
