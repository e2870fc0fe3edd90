"""Structured pruning: remove units of minimal cells, and fit what reads the others again."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax import Array

from rnnlab.call_validation import gap_option, require_one_sequence
from rnnlab.compress.elimination import Moments, backward_elimination, refit
from rnnlab.compress.units import copy_of, keep_units_of_block, prunable_cells
from rnnlab.layers import Block
from rnnlab.models import ModelConfig, SequenceModel
from rnnlab.tasks.batch import Batch
from rnnlab.validation import require_one_of

CRITERIA = ("refit", "magnitude", "random")


def prune(
    model: SequenceModel,
    batches: Iterable[Batch],
    share: float,
    *,
    repair: bool = True,
    criterion: Literal["refit", "magnitude", "random"] = "refit",
    seed: int = 0,
    stateful: bool = False,
) -> SequenceModel:
    """Returns a model with a share of the units of its minimal cells removed.

    The recurrence of a minimal cell is diagonal: without unit j every other unit has the same
    trajectory as before. What a removal changes is the sum that the block's projection makes of
    the states. `criterion="refit"` keeps the units whose states predict that sum best, in the least
    squares over the time steps of `batches`, and `repair` replaces the rows and the bias of the
    projection by those of the regression. Both are in closed form. Blocks are pruned from the first
    to the last, each for the states that the pruned ones below it lead to.

    Args:
      model: is not changed. Its blocks with other cells stay as they are.
      batches: examples, such as training batches.
      share: fraction of the units of each minimal cell to remove, rounded to a number of units.
      repair: whether the projection is fitted again. Without it the rows of removed units go.
      criterion: which units are removed: by backward elimination in that regression, those whose
        rows of the projection have the smallest norm, or random ones.
      seed: of random units.
      stateful: whether each example continues the one of the batch before, as in `TaskData`: it is
        read from the state after that one. Otherwise it is read from the initial state.

    Raises:
      ValueError: share is not in [0, 1), a cell would keep no unit, the model has no block with a
        minimal cell, or the batches have no time step.

    >>> from rnnlab import ModelConfig
    >>> config = ModelConfig("mingru", width=4, depth=1, conv_kernel_size=None)
    >>> model = config.build(3, vocab_size=3, rngs=nnx.Rngs(0))
    >>> small = prune(model, [Batch(np.arange(20).reshape(2, 10) % 3, None)], 0.25)
    >>> small.body.layers[0].cell.features
    6
    """
    require_one_of("criterion", criterion, CRITERIA)
    require_one_sequence(model, "be pruned")
    if not 0 <= share < 1:
        raise ValueError(f"share must be in [0, 1), got {share}; choose one such as 0.25")
    pruned = copy_of(model)
    pruned.eval()
    original, batches = copy_of(pruned), list(batches)
    places = [k for k, layer in enumerate(layers_of(pruned)) if prunable_cells(layer)]
    if not places:
        raise ValueError(
            "the model must have a block with a minimal cell (mingru, minlstm), whose units do not "
            "read each other, got none; train one with --model.cell mingru"
        )
    rng = np.random.default_rng(seed)
    for k in places:
        block = layers_of(pruned)[k]
        groups = _groups(block)
        count = round(share * len(groups[0]))
        if count == len(groups[0]):
            raise ValueError(f"share must leave one of {count} units, got {share}; lower it")
        rows = np.asarray(block.project.kernel[...], np.float64)
        reads_states = repair or criterion == "refit"
        moments = None
        if reads_states:
            moments = Moments.of(_samples(original, pruned, k, batches, stateful))
        if criterion == "refit":
            removed = backward_elimination(moments, groups, count)[0]
        elif criterion == "magnitude":
            norms = np.linalg.norm(rows, axis=-1)
            removed = [i for g in groups for i in g[np.argsort(norms[g], kind="stable")[:count]]]
        else:
            removed = [i for g in groups for i in rng.choice(g, count, replace=False)]
        kept = [np.setdiff1d(group, removed) for group in groups]
        units = np.concatenate(kept)
        weights, bias = rows[units], np.asarray(block.project.bias[...])
        if repair:
            weights, bias = refit(moments, units)
        starts = [group[0] for group in groups]
        keep_units_of_block(
            block, [k - start for k, start in zip(kept, starts, strict=True)], weights, bias
        )
    return pruned


def pruned_config(config: ModelConfig, model: SequenceModel) -> ModelConfig:
    """Returns the settings of a pruned model: those of the original with the cells' widths.

    >>> config = ModelConfig("mingru", width=4, depth=2)
    >>> pruned_config(config, config.build(3, vocab_size=3, rngs=nnx.Rngs(0))).cell_features
    (8, 8)
    """
    widths = []
    for layer in layers_of(model):
        cells = prunable_cells(layer)
        cell = cells[0] if cells else getattr(layer, "cell", layer)
        widths.append(cell.features)
    return config.override({"cell_features": tuple(widths)})


def layers_of(model: SequenceModel) -> Sequence[nnx.Module]:
    """Returns the layers of a model's body."""
    return getattr(model.body, "layers", [model.body])


def _groups(block: Block) -> list[np.ndarray]:
    """Returns the rows of the projection that read each cell of a block."""
    sizes = [cell.features for cell in prunable_cells(block)]
    return np.split(np.arange(sum(sizes)), np.cumsum(sizes)[:-1])


def _samples(
    original: SequenceModel,
    pruned: SequenceModel,
    k: int,
    batches: Sequence[Batch],
    stateful: bool,
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yields the states of the k-th block of the pruned model, and what they should sum to.

    That is the stream of the original model after its k-th cell, minus that of the pruned model
    before it: the regression also corrects what the blocks below have changed.
    """
    models = (original, pruned)
    graphdefs, params = zip(*(nnx.split(m) for m in models), strict=True)

    @jax.jit
    def read(params: Any, carries: Any, batch: Batch) -> tuple[Array, Array, Any]:
        models = [nnx.merge(g, p, copy=True) for g, p in zip(graphdefs, params, strict=True)]
        found = [_block_states(m, c, batch) for m, c in zip(models, carries, strict=True)]
        (x, states, after), (x_pruned, states_pruned, after_pruned) = found
        x = x + layers_of(models[0])[k].project(states)
        return states_pruned, x - x_pruned, (after, after_pruned)

    carries = None
    for batch in batches:
        if carries is None or not stateful:
            carries = tuple(_initial_carries(m, k, len(batch.inputs)) for m in models)
        states, target, carries = read(params, carries, batch)
        states, target = (np.asarray(x, np.float64) for x in (states, target))
        keep = np.ones(states.shape[:2], bool) if batch.mask is None else batch.mask
        yield states[keep], target[keep]


def _initial_carries(model: SequenceModel, k: int, batch_size: int) -> tuple[Any, ...]:
    """Returns the initial carries of the layers up to the k-th."""
    return tuple(layer.initial_carry((batch_size,)) for layer in layers_of(model)[: k + 1])


def _block_states(
    model: SequenceModel, carries: Sequence[Any], batch: Batch
) -> tuple[Array, Array, tuple[Any, ...]]:
    """Returns the stream before the last block with a carry, the states of its cells, and carries.

    The carries are those of all layers up to that block, after the batch.
    """
    flags = {"reset": batch.reset, "mask": batch.mask}
    x, after = model.embed(jnp.asarray(batch.inputs)), []
    for layer, carry in zip(layers_of(model), carries, strict=False):
        before = x
        carry, x = layer(carry, x, **flags, **gap_option(layer, batch.gaps))
        after.append(carry)
    inputs = layer.cell_inputs(carries[-1], before, **flags)
    options = gap_option(layer.cell, batch.gaps)
    return before, layer.cell(carries[-1].cell, inputs, **flags, **options)[1], tuple(after)
