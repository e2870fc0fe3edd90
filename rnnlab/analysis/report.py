"""All that the analyses say of one model and one sequence: a table and pictures."""

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
from rnnlab.analysis.memory_horizon import influence, memory_horizon
from rnnlab.analysis.states import participation_ratio, principal_components
from rnnlab.layers import Attention
from rnnlab.layers.tcn import TemporalBlock
from rnnlab.models import SequenceModel
from rnnlab.tables import Table


def figures(
    model: SequenceModel, xs: Array, labels: Sequence[str] | None = None
) -> Iterator[tuple[str, Figure]]:
    """Pictures by name, each drawn when it is asked for.

    Args:
      model: can `step`.
      xs: one sequence, without batch axes.
      labels: what its steps are called; None numbers them.

    Raises:
      ValueError: the model cannot step, or there are not as many labels as steps.

    >>> from rnnlab.models.config import ModelConfig
    >>> model = ModelConfig("gru", width=8, depth=1).build(5, vocab_size=5, rngs=nnx.Rngs(0))
    >>> [name for name, _ in figures(model, jnp.array([1, 4, 0, 2]))]
    ['gradient_flow', 'memory', 'gates_layer_1', 'trajectory']
    """
    if labels is not None and len(labels) != len(xs):
        raise ValueError(f"labels has {len(labels)} entries; {len(xs)} are needed, one a step")
    carry = model.initial_carry(())
    read = cell_inputs(model, carry, xs)
    flow = gradient_flow(model, carry, xs, _largest_last)
    yield (
        "gradient_flow",
        plots.gradient_flow_figure(
            flow,
            title="From the last step's largest prediction back",
            ylabel="norm of its gradient",
        ),
    )
    yield (
        "memory",
        plots.horizon_figure(
            {r.name: influence(r.cell, r.carry, r.xs) for r in read},
            title="How long each layer remembers what it reads",
        ),
    )
    for name, cell, state, inputs in read:
        gates = cell.gate_values(state, inputs) if hasattr(cell, "gate_values") else {}
        if gates:
            title = f"Gates of {name}, {type(cell).__name__}"
            yield f"gates_{_file(name)}", plots.gate_figure(gates, labels, title=title)
    last = read[-1]
    h = last.cell(last.carry, last.xs)[1]
    if min(h.shape) > 1:
        found = principal_components(h)
        title = f"Path of the state of {last.name}"
        figure = plots.trajectory_figure(found.projected, labels, share=found.share, title=title)
        yield "trajectory", figure
    if labels is not None:
        embedded = model.embed(xs)
        baseline = jnp.broadcast_to(embedded.mean(0, keepdims=True), embedded.shape)
        parts = integrated_gradients(_Largest(model, xs), embedded, baseline)
        yield (
            "attribution",
            plots.text_figure(
                labels, parts, title="What the last prediction rests on", unit="integrated gradient"
            ),
        )
    for name, weights in attention_weights(model, carry, xs).items():
        title = f"Attention of {name}"
        yield f"attention_{_file(name)}", plots.attention_figure(weights, labels, title=title)


def _largest_last(ys: Array) -> Array:
    return ys[..., -1, :].max(-1).sum()


class _Largest:
    """The logit, or value, of the last step's largest prediction, as a function of what is read."""

    def __init__(self, model: SequenceModel, xs: Array):
        self.model, self.carry = model, model.initial_carry(())
        self.place = jnp.argmax(model(self.carry, xs)[1][-1])

    def __call__(self, embedded: Array) -> Array:
        return self.model.predict(self.carry, embedded)[1][-1, self.place]


def table(model: SequenceModel, xs: Array) -> Table:
    """A line a layer: how it forgets, how long it remembers, the room it uses, its gates.

    Args:
      model: can `step`.
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
        "memory, steps (median unit)",
        "effective dimension",
        "gates: share closed, open",
    )
    lines = [_line(read) for read in cell_inputs(model, model.initial_carry(()), xs)]
    return Table(f"At the {len(xs)} steps that were read", headings, lines, frozenset())


def _line(read: CellInputs) -> tuple[str, ...]:
    name, cell, carry, xs = read
    exponent = ""
    if not isinstance(cell, Attention | TemporalBlock):  # their states are windows
        exponent = f"{lyapunov_exponents(cell, carry, xs)[0]:.3f}"
    horizon = float(np.median(memory_horizon(influence(cell, carry, xs))))
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
        f"{name} {gate.closed.mean():.0%}, {gate.opened.mean():.0%}" for name, gate in found.items()
    )


def _file(name: str) -> str:
    return name.replace(" ", "_")
