"""What goes wrong inside a model: saturated gates, gradients that vanish or explode."""

from collections import deque
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from rnnlab.layers import Block
from rnnlab.models import SequenceModel
from rnnlab.tasks.batch import Batch

SATURATED = 0.01
VANISHED = 1e-6
EXPLODED = 100.0
WINDOW = 100


def make_saturation(graphdef: Any) -> Callable[[Any, Batch], dict[str, jax.Array]]:
    """The jitted `saturation(params, batch)`: by layer and gate, the share of values near an end.

    A gate is saturated where it is within 0.01 of either end of its range: its gradient is then at
    most a twenty-fifth of its largest.
    """

    @jax.jit
    def saturation(params: Any, batch: Batch) -> dict[str, jax.Array]:
        model = nnx.merge(graphdef, params, copy=True)
        return {
            f"saturated/layer {k}/{name}": _share(values, batch.mask)
            for k, gates in gate_values(model, batch).items()
            for name, values in gates.items()
        }

    return saturation


def gate_values(model: SequenceModel, batch: Batch) -> dict[int, dict[str, jax.Array]]:
    """The gates of each block of a model's stack, by name, on a scale from 0 to 1.

    Layers without gates, and those that read both ways, are left out.
    """
    flags = {"reset": batch.reset, "mask": batch.mask}
    x = model.embed(jnp.asarray(batch.inputs))
    found = {}
    for k, layer in enumerate(getattr(model.body, "layers", [model.body])):
        carry = layer.initial_carry(x.shape[:1])
        if isinstance(layer, Block) and hasattr(layer.cell, "gate_values"):
            inputs = layer.cell_inputs(carry, x, **flags)
            found[k] = layer.cell.gate_values(carry.cell, inputs, **flags)
        x = layer(carry, x, **flags)[1]
    return found


class GradientMonitor:
    """Says in plain words, once a layer, when gradients vanish or explode.

    Vanished: a layer's gradient is a millionth of the largest layer's. Exploded: the global norm
    is not finite, or a hundred times the median of the last hundred that it was given.

    >>> watch = GradientMonitor()
    >>> norms = {"gradient_norm": 1.0, "gradient_norm/layer 0": 1e-9, "gradient_norm/head": 1.0}
    >>> for line in watch(7, norms):
    ...     print(line)
    step 7: gradients of layer 0 have vanished: norm 1e-09, against 1 of head
    >>> watch(8, norms)
    []
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=WINDOW)
        self._said: set[tuple[str, str]] = set()

    def __call__(self, step: int, metrics: Mapping[str, float]) -> list[str]:
        """The warnings of a step's metrics that have not been given yet."""
        total = metrics["gradient_norm"]
        layers = {
            name.partition("/")[2]: norm
            for name, norm in metrics.items()
            if name.startswith("gradient_norm/")
        }
        worst = max(layers, key=lambda name: _order(layers[name]))
        lines = []
        if not jnp.isfinite(total):
            lines.append(("exploded", worst, f"not finite, first in {worst}"))
        elif len(self._recent) >= 10 and total > EXPLODED * median(self._recent):
            usual = median(self._recent)
            lines.append(("exploded", worst, f"norm {total:.3g}, usually {usual:.3g}"))
        else:
            self._recent.append(total)
            for name, norm in layers.items():
                if norm < VANISHED * layers[worst]:
                    text = f"norm {norm:.3g}, against {layers[worst]:.3g} of {worst}"
                    lines.append(("vanished", name, text))
        fresh = [line for line in lines if line[:2] not in self._said]
        self._said.update(line[:2] for line in fresh)
        return [f"step {step}: gradients of {name} have {what}: {t}" for what, name, t in fresh]


def _order(norm: float) -> float:
    return norm if norm == norm else float("inf")


def _share(values: jax.Array, mask: Any) -> jax.Array:
    ends = ((values < SATURATED) | (values > 1 - SATURATED)).astype(jnp.float32)
    if mask is None:
        return jnp.mean(ends)
    weight = jnp.broadcast_to(jnp.expand_dims(mask, -1), ends.shape).astype(jnp.float32)
    return jnp.sum(ends * weight) / jnp.maximum(jnp.sum(weight), 1)
