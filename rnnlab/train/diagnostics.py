"""Diagnose a model while it trains: saturated gates, vanishing and exploding gradients."""

from collections import deque
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from rnnlab.call_validation import gap_option
from rnnlab.layers import Block
from rnnlab.models import SequenceModel
from rnnlab.parallel.gradient import sharded_call
from rnnlab.parallel.placement import Placement
from rnnlab.recurrent import SATURATION_MARGIN
from rnnlab.tasks.batch import Batch
from rnnlab.train.shared_programs import share_last

VANISHED = 1e-6
"""Fraction of the largest layer's gradient norm below which a layer's gradient has vanished."""

EXPLODED, NORM_WINDOW, NORM_MIN_HISTORY = 100.0, 100, 10
"""A gradient has exploded above this multiple of the median norm of the window, which must hold the
minimum number of entries."""


@share_last
def make_gate_saturation(
    graphdef: Any, placement: Placement | None = None
) -> Callable[[Any, Batch], dict[str, jax.Array]]:
    """Returns the jitted `gate_saturation(params, batch)`: saturated fractions per layer and gate.

    The keys are `saturated/layer K/GATE`. With a placement each device counts in its part of the
    batch, which is a batch of host arrays.
    """
    axes = () if placement is None else placement.config.manual_axes

    def gate_saturation(params: Any, batch: Batch) -> dict[str, jax.Array]:
        model = nnx.merge(graphdef, params, copy=True)
        model.eval()
        counts = {
            f"saturated/layer {k}/{name}": _saturated_count(values, batch.mask)
            for k, gates in gate_values(model, batch).items()
            for name, values in gates.items()
        }
        if axes and counts:
            counts = jax.lax.psum(counts, axes)
        return {name: ends / jnp.maximum(count, 1) for name, (ends, count) in counts.items()}

    if placement is None:
        return jax.jit(gate_saturation)
    sharded = jax.jit(
        sharded_call(gate_saturation, placement, has_time=False),
        out_shardings=placement.replicated,
    )
    return lambda params, batch: sharded(params, placement.put(batch))


def gate_values(model: SequenceModel, batch: Batch) -> dict[int, dict[str, jax.Array]]:
    """Returns each block's gates by layer and name, scaled to [0, 1].

    Layers without gates and bidirectional layers are omitted, and models of several stacks.
    """
    if not isinstance(model, SequenceModel):
        return {}
    flags = {"reset": batch.reset, "mask": batch.mask}
    x = model.embed(jnp.asarray(batch.inputs))
    found = {}
    for k, layer in enumerate(getattr(model.body, "layers", [model.body])):
        carry = layer.initial_carry(x.shape[:1])
        if isinstance(layer, Block) and hasattr(layer.cell, "gate_values"):
            inputs = layer.cell_inputs(carry, x, **flags)
            options = gap_option(layer.cell, batch.gaps)
            found[k] = layer.cell.gate_values(carry.cell, inputs, **flags, **options)
        x = layer(carry, x, **flags, **gap_option(layer, batch.gaps))[1]
    return found


class GradientMonitor:
    """Warns once per layer when its gradient vanishes or explodes.

    Vanished: a layer's gradient norm is below 1e-6 times the largest layer's. Exploded: the global
    norm is NaN or Inf, or above 100 times the median of the last 100 logged norms.

    >>> monitor = GradientMonitor()
    >>> norms = {"gradient_norm": 1.0, "gradient_norm/layer 0": 1e-9, "gradient_norm/head": 1.0}
    >>> for line in monitor(7, norms):
    ...     print(line)
    step 7: the gradient of layer 0 has vanished: norm 1e-09, and 1 in head
    >>> monitor(8, norms)
    []
    """

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=NORM_WINDOW)
        self._reported: set[tuple[str, str]] = set()

    def __call__(self, step: int, metrics: Mapping[str, float]) -> list[str]:
        """Returns the warnings about a step's metrics that were not given before."""
        total = metrics["gradient_norm"]
        layers = {
            name.partition("/")[2]: norm
            for name, norm in metrics.items()
            if name.startswith("gradient_norm/")
        }
        largest = max(layers, key=lambda name: _nan_last(layers[name]))
        lines = []
        if not jnp.isfinite(total):
            lines.append(("exploded", largest, f"NaN or Inf, first in {largest}"))
        elif len(self._recent) >= NORM_MIN_HISTORY and total > EXPLODED * median(self._recent):
            text = f"norm {total:.3g}, and {median(self._recent):.3g} in the median"
            lines.append(("exploded", largest, text))
        else:
            self._recent.append(total)
            for name, norm in layers.items():
                if norm < VANISHED * layers[largest]:
                    text = f"norm {norm:.3g}, and {layers[largest]:.3g} in {largest}"
                    lines.append(("vanished", name, text))
        new = [line for line in lines if line[:2] not in self._reported]
        self._reported.update(line[:2] for line in new)
        return [f"step {step}: the gradient of {name} has {what}: {t}" for what, name, t in new]


def _nan_last(norm: float) -> float:
    return norm if norm == norm else float("inf")


def _saturated_count(values: jax.Array, mask: Any) -> tuple[jax.Array, jax.Array]:
    """Returns how many values that are not masked are near 0 or 1, and how many there are."""
    ends = ((values < SATURATION_MARGIN) | (values > 1 - SATURATION_MARGIN)).astype(jnp.float32)
    if mask is None:
        return jnp.sum(ends), jnp.sum(jnp.ones_like(ends))
    weight = jnp.broadcast_to(jnp.expand_dims(mask, -1), ends.shape).astype(jnp.float32)
    return jnp.sum(ends * weight), jnp.sum(weight)
