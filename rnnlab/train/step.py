"""The training step: one pure function of the state and the batches of one update."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array, lax
from optax.contrib import reduce_on_plateau

from rnnlab.heads import Head, SequenceHead
from rnnlab.models import SequenceModel
from rnnlab.parallel.gradient import mean_share, sharded_gradients
from rnnlab.parallel.placement import Placement
from rnnlab.scan.varying import match_varying
from rnnlab.tasks.batch import Batch
from rnnlab.train.config import TrainConfig
from rnnlab.train.losses import loss_function, loss_weight
from rnnlab.train.model_call import call_model
from rnnlab.train.optimizer import named_parameters, optimizer, recurrent_regularizer
from rnnlab.train.shared_programs import share_last

SPIKE_WINDOW, SPIKE_MIN_HISTORY = 128, 16
"""History length for spike detection, and the minimum number of entries."""

SPIKE_MIN_SCALE = 1e-3
"""Lower bound on the median in spike detection, so that near-zero losses are never flagged."""


class TrainState(NamedTuple):
    """All that decides the next update, given the settings and the data.

    Attributes:
      params: the model's parameters.
      optimizer: Optax's optimizer state.
      plateau: Optax's state of `reduce_on_plateau`; its `scale` multiplies every update.
      step: number of updates so far, int32; it gives the indices of the next batches.
      key: random key of dropout; each update folds in its number.
      carry: the model's carry after the last window, where the data is stateful; else ().
      recent_stats: losses and gradient norms of the last updates, (SPIKE_WINDOW, 2), where spikes
        are skipped; else ().
    """

    params: Any
    optimizer: Any
    plateau: Any
    step: Array
    key: Array
    carry: Any
    recent_stats: Any


def initial_state(
    model: SequenceModel,
    config: TrainConfig,
    carry: Any = (),
    placement: Placement | None = None,
) -> TrainState:
    """Returns the state before the first update.

    Args:
      model: the model with its initial parameters.
      config: how it is trained.
      carry: the initial carry of stateful data; else ().
      placement: the mesh, over which the state is divided; None: the default device.
    """

    def state(params: Any, carry: Any) -> TrainState:
        # Copies: the update donates the buffers of its state, and the model keeps its own.
        params, carry = jax.tree.map(jnp.copy, (params, carry))
        return TrainState(
            params,
            optimizer(config).init(params),
            _plateau(config).init(params),
            jnp.zeros((), jnp.int32),
            jax.random.key(config.seed),
            carry,
            () if config.spike_factor is None else jnp.full((SPIKE_WINDOW, 2), jnp.nan),
        )

    params = nnx.state(model, nnx.Param)
    if placement is None:
        return state(params, carry)
    return jax.jit(state, out_shardings=state_shardings(config, placement))(params, carry)


def state_shardings(config: TrainConfig, placement: Placement) -> TrainState:
    """Returns the sharding of each array of a state, and one of all carries."""
    shapes = placement.parameter_shapes
    return TrainState(
        params=placement.parameters(shapes),
        optimizer=placement.parameters(jax.eval_shape(optimizer(config).init, shapes)),
        plateau=placement.replicated,
        step=placement.replicated,
        key=placement.replicated,
        carry=placement.examples,
        recent_stats=placement.replicated,
    )


def make_train_step(
    graphdef: Any,
    loss: str | Head | SequenceHead,
    config: TrainConfig,
    loss_options: Mapping[str, Any] | None = None,
    placement: Placement | None = None,
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]:
    """Returns the jitted `train_step(state, batches) -> (state, metrics)`, which donates its state.

    `loss` and `loss_options` are those of the task's data. `batches` is a `Batch` with a leading
    axis over the batches of one update. The metrics are scalars: `loss`, `gradient_norm` before
    clipping, `gradient_norm/LAYER`, `update_ratio/LAYER` (the norm of a layer's update over the
    norm of its weights) and `update_applied`.

    An update is applied where its loss, gradient, change of the parameters and new carry are finite
    and, with `spike_factor`, neither loss nor gradient norm is a spike. Otherwise the new state
    differs from the old one in the number of updates only.

    With a placement the gradient is that of the mean over all devices, which each computes for its
    part of the batch; norms, optimizer and guards see whole arrays.

    Equal arguments, whatever the seed, have one compiled program; see `share_last`.
    """
    # The seed is in the state; nothing here reads it.
    options = tuple((loss_options or {}).items())
    return _train_step(graphdef, loss, replace(config, seed=0), options, placement)


@share_last
def _train_step(graphdef, loss, config, loss_options, placement):
    loss_options = dict(loss_options)
    loss_of, transform = loss_function(loss, loss_options), optimizer(config)
    weight_of, axes = loss_weight(loss, loss_options), ()
    if placement is not None:
        axes = placement.config.manual_axes

    def batch_loss(params, carry, batch, key):
        model = nnx.merge(graphdef, params, copy=True)
        model.train()
        # No gradient flows into a carry of the window before; the initial one may be learned.
        carry, outputs = call_model(model, lax.stop_gradient(carry), batch, key)
        value = loss_of(outputs, batch)
        penalty = 0.0
        if config.recurrent_l1 or config.recurrent_l2:
            penalty = recurrent_regularizer(params, config.recurrent_l1, config.recurrent_l2)
        if axes:
            # This device's share, so that the sum over the devices is the mean over the batch.
            value = value * mean_share(weight_of(batch), axes)
            penalty = penalty / lax.axis_size(axes)
        return value + penalty, (value, lax.stop_gradient(carry))

    def gradients(params: Any, carry: Any, batches: Batch, key: Array) -> tuple[Any, Any, Array]:
        """Returns the carry after the batches, and the means of their gradients and losses."""
        gradient_of = jax.grad(batch_loss, has_aux=True)
        count = batches.inputs.shape[0]

        def accumulate(sums, indexed_batch):
            index, batch = indexed_batch
            carry, gradient, value = sums
            more, (loss, after) = gradient_of(params, carry, batch, jax.random.fold_in(key, index))
            gradient = jax.tree.map(lambda g, m: g + m / count, gradient, more)
            # Without stateful data the carry stays ().
            return (() if carry == () else after, gradient, value + loss / count), None

        start = (carry, *match_varying((jax.tree.map(jnp.zeros_like, params), jnp.zeros(()))))
        if count == 1:
            batch = jax.tree.map(lambda x: x[0], batches)
            sums, _ = accumulate(start, (0, batch))
        else:
            sums, _ = lax.scan(accumulate, start, (jnp.arange(count), batches))
        return sums

    if placement is not None:
        gradients = sharded_gradients(gradients, placement)

    def train_step(state: TrainState, batches: Batch) -> tuple[TrainState, dict[str, Array]]:
        key = jax.random.fold_in(state.key, state.step)
        carry, gradient, value = gradients(state.params, state.carry, batches, key)
        updates, opt_state = transform.update(gradient, state.optimizer, state.params)
        updates = jax.tree.map(lambda u: state.plateau.scale * u, updates)
        norms, change = _norms(state.params, gradient, updates)
        metrics = {"loss": value, **norms}
        stats = jnp.stack([value, metrics["gradient_norm"]])
        applied = jnp.isfinite(jnp.append(stats, change)).all()
        for x in jax.tree.leaves(carry):
            applied &= jnp.isfinite(x).all()
        recent = state.recent_stats
        if config.spike_factor is not None:
            applied &= ~_is_spike(stats, recent, config.spike_factor)
            recent = jnp.concatenate([recent[1:], stats[None]])
        updated = optax.apply_updates(state.params, updates), opt_state, carry, recent
        unchanged = state.params, state.optimizer, state.carry, state.recent_stats
        # Select with `where`; multiplying by 0 would keep NaN.
        selected = jax.tree.map(lambda new, old: jnp.where(applied, new, old), updated, unchanged)
        params, opt_state, carry, recent = selected
        after = TrainState(
            params, opt_state, state.plateau, state.step + 1, state.key, carry, recent
        )
        return after, {**metrics, "update_applied": applied}

    if placement is None:
        return jax.jit(train_step, donate_argnums=0)
    # Pinned: XLA might choose others, and the next call would compile again and donate nothing.
    shardings = state_shardings(config, placement), placement.replicated
    return jax.jit(train_step, donate_argnums=0, out_shardings=shardings)


def update_memory(
    train_step: Callable,
    state: TrainState,
    batch: Batch,
    grad_accum_steps: int,
    placement: Placement | None = None,
) -> int | None:
    """Returns the bytes that an update takes, by its compiled program; None where it is unknown.

    With a placement it is what each of its devices takes. The update is compiled once: the first
    call of `train_step` finds it.
    """

    def stacked(x: np.ndarray) -> jax.ShapeDtypeStruct:
        shape = (grad_accum_steps, *x.shape)
        return jax.ShapeDtypeStruct(shape, jax.dtypes.canonicalize_dtype(x.dtype))

    batches = jax.tree.map(stacked, batch)
    if placement is not None:
        batches = placement.with_shardings(batches)
    sizes = train_step.lower(state, batches).compile().memory_analysis()
    if sizes is None:  # some platforms do not report it
        return None
    return sizes.temp_size_in_bytes + sizes.argument_size_in_bytes


def reduce_lr_on_plateau(config: TrainConfig, state: TrainState, value: float) -> TrainState:
    """Returns the state after an evaluation, with a lower rate where the schedule asks for it.

    `value` is the evaluation's selecting metric, negated where higher is better.
    """
    if config.schedule != "plateau":
        return state
    _, plateau = _plateau(config).update((), state.plateau, value=jnp.float32(value))
    return state._replace(plateau=plateau)


def _is_spike(stats: Array, recent: Array, factor: float) -> Array:
    """Returns whether a loss or a gradient norm exceeds `factor` times its recent median."""
    scale = jnp.maximum(jnp.nanmedian(recent, axis=0), SPIKE_MIN_SCALE)
    enough = jnp.sum(jnp.isfinite(recent[:, 0])) >= SPIKE_MIN_HISTORY
    return enough & (stats > factor * scale).any()


def layer_of(path: tuple[str, ...]) -> str:
    """Returns the layer of a parameter: `layer k` of a stack, else the path's first name.

    >>> layer_of(("body", "layers", "0", "cell", "update_kernel")), layer_of(("head_kernel",))
    ('layer 0', 'head')
    >>> layer_of(("decoder", "attention", "1", "norm", "scale"))
    'decoder attention 1'
    """
    if path[:2] == ("body", "layers"):
        return f"layer {path[2]}"
    if path[0] in ("encoder", "decoder", "predictor"):
        for kind, k in itertools.pairwise(path[1:]):
            if kind in ("layers", "attention") and k.isdigit():
                return f"{path[0]} {kind.removesuffix('s')} {k}"
    return path[0].removesuffix("_kernel").removesuffix("_bias")


def _plateau(config: TrainConfig) -> optax.GradientTransformationExtraArgs:
    # Absolute differences only: relative ones change their sign for metrics below 0.
    return reduce_on_plateau(0.5, config.plateau_patience, rtol=0.0, atol=1e-6)


def _norms(params: Any, gradient: Any, updates: Any) -> tuple[dict[str, Array], Array]:
    """Returns the metrics that are norms, and the squared norm of the whole update.

    The metrics are the gradient's norm, in total and per layer, and per layer the ratio of the
    update's norm to the weights' norm.
    """

    def squares(tree):
        sums: dict[str, Array] = {}
        for path, x in named_parameters(tree):
            sums[layer_of(path)] = sums.get(layer_of(path), 0.0) + jnp.sum(jnp.square(x))
        return sums

    weights, slopes, moves = squares(params), squares(gradient), squares(updates)
    metrics = {"gradient_norm": jnp.sqrt(sum(slopes.values()))}
    for layer in weights:
        metrics[f"gradient_norm/{layer}"] = jnp.sqrt(slopes[layer])
        metrics[f"update_ratio/{layer}"] = jnp.sqrt(moves[layer] / (weights[layer] + 1e-12))
    return metrics, sum(moves.values())
