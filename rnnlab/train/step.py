"""The training step: one pure function of the state and the batches of one update."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jax import Array, lax
from optax.contrib import reduce_on_plateau

from rnnlab.models import SequenceModel
from rnnlab.tasks.batch import Batch
from rnnlab.train.config import TrainConfig
from rnnlab.train.losses import loss_function
from rnnlab.train.optimizer import leaves_by_name, optimizer, recurrent_penalty

USUAL, ENOUGH = 128, 16
"""Updates by which a spike is judged, and how many of them are needed."""

SMALL = 1e-3
"""The least that a loss or a norm is taken to be usually: what is small is no spike."""


class TrainState(NamedTuple):
    """All that decides what a run does next, beside its settings and data.

    Attributes:
      params: the model's parameters.
      optimizer: optax's state.
      plateau: optax's state of reduction on plateau, whose `scale` multiplies every update.
      step: number of updates so far, int32; the next batches' numbers follow from it.
      key: source of the dropout keys, of which each update folds in its number.
      carry: the model's state after the last window, where the data is stateful; else ().
      usual: losses and gradient norms of the last updates, where spikes are skipped; else ().
    """

    params: Any
    optimizer: Any
    plateau: Any
    step: Array
    key: Array
    carry: Any
    usual: Any


def initial_state(model: SequenceModel, settings: TrainConfig, carry: Any = ()) -> TrainState:
    """The state before the first update. `carry` is the streams' initial one, if they are kept."""
    # Copies: the step takes its state's buffers, and the model keeps its own.
    params = jax.tree.map(jnp.copy, nnx.state(model, nnx.Param))
    return TrainState(
        params,
        optimizer(settings).init(params),
        _plateau(settings).init(params),
        jnp.zeros((), jnp.int32),
        jax.random.key(settings.seed),
        jax.tree.map(jnp.copy, carry),
        () if settings.skip_spikes is None else jnp.full((USUAL, 2), jnp.nan),
    )


def make_train_step(
    graphdef: Any, loss: str, settings: TrainConfig
) -> Callable[[TrainState, Batch], tuple[TrainState, dict[str, Array]]]:
    """The jitted `train_step(state, batches) -> (state, metrics)`; the state given is donated.

    `batches` is a `Batch` whose leading axis counts the batches of one update. The metrics are
    scalars: the loss, the gradient's norm before clipping and, by layer, the norm of its gradient
    and the norm of its update over that of its weights; and `taken`.

    An update is taken where its loss, its gradient, the change that it makes and the state that it
    carries on are finite and, with `skip_spikes`, neither loss nor gradient is a spike. Else it
    leaves all but the number of updates as it was.
    """
    loss_of, rule = loss_function(loss), optimizer(settings)

    def batch_loss(params, carry, batch, key):
        model = nnx.merge(graphdef, params, copy=True)
        # A kept state is cut off the gradient; a fresh one may be learned.
        fresh = carry == ()
        carry = model.initial_carry(batch.inputs.shape[:1]) if fresh else lax.stop_gradient(carry)
        flags = {"reset": batch.reset, "mask": batch.mask}
        carry, outputs = model(carry, batch.inputs, key=key, **flags)
        value = loss_of(outputs, batch.targets, batch.mask)
        penalty = 0.0
        if settings.l1 or settings.l2:
            penalty = recurrent_penalty(params, settings.l1, settings.l2)
        return value + penalty, (value, lax.stop_gradient(carry))

    def train_step(state: TrainState, batches: Batch) -> tuple[TrainState, dict[str, Array]]:
        key = jax.random.fold_in(state.key, state.step)
        gradient_of = jax.grad(batch_loss, has_aux=True)
        count = batches.inputs.shape[0]

        def one(carry, row):
            number, batch = row
            carry, gradient, value = carry
            more, (loss, after) = gradient_of(
                state.params, carry, batch, jax.random.fold_in(key, number)
            )
            gradient = jax.tree.map(lambda g, m: g + m / count, gradient, more)
            # A carry that is not kept stays ().
            return (() if carry == () else after, gradient, value + loss / count), None

        zeros = jax.tree.map(jnp.zeros_like, state.params)
        start = state.carry, zeros, jnp.zeros(())
        if count == 1:
            row = jax.tree.map(lambda x: x[0], batches)
            (carry, gradient, value), _ = one(start, (0, row))
        else:
            numbers = jnp.arange(count)
            (carry, gradient, value), _ = lax.scan(one, start, (numbers, batches))
        updates, rule_state = rule.update(gradient, state.optimizer, state.params)
        updates = jax.tree.map(lambda u: state.plateau.scale * u, updates)
        norms, change = _norms(state.params, gradient, updates)
        metrics = {"loss": value, **norms}
        now = jnp.stack([value, metrics["gradient_norm"]])
        taken = jnp.isfinite(jnp.append(now, change)).all()
        for x in jax.tree.leaves(carry):
            taken &= jnp.isfinite(x).all()
        usual = state.usual
        if settings.skip_spikes is not None:
            taken &= ~_is_spike(now, usual, settings.skip_spikes)
            usual = jnp.concatenate([usual[1:], now[None]])
        moved = optax.apply_updates(state.params, updates), rule_state, carry, usual
        stayed = state.params, state.optimizer, state.carry, state.usual
        # Chosen, not multiplied by 0: 0 times what is no number is none either.
        chosen = jax.tree.map(lambda new, old: jnp.where(taken, new, old), moved, stayed)
        params, rule_state, carry, usual = chosen
        after = TrainState(
            params, rule_state, state.plateau, state.step + 1, state.key, carry, usual
        )
        return after, {**metrics, "taken": taken}

    return jax.jit(train_step, donate_argnums=0)


def observe(settings: TrainConfig, state: TrainState, value: float) -> TrainState:
    """The state after an evaluation: with the rate reduced, where its schedule says so.

    `value` is better when it is lower.
    """
    if settings.schedule != "plateau":
        return state
    _, plateau = _plateau(settings).update((), state.plateau, value=jnp.float32(value))
    return state._replace(plateau=plateau)


def _is_spike(now: Array, usual: Array, factor: float) -> Array:
    """Whether a loss or a norm is `factor` times the median of those before it.

    A median below `SMALL`, of a task that is solved, counts as that.
    """
    middle = jnp.maximum(jnp.nanmedian(usual, axis=0), SMALL)
    return (jnp.sum(jnp.isfinite(usual[:, 0])) >= ENOUGH) & (now > factor * middle).any()


def layer_of(path: tuple[str, ...]) -> str:
    """The layer that a parameter belongs to: `layers.k` of a stack, else its first name.

    >>> layer_of(("body", "layers", "0", "cell", "update_kernel")), layer_of(("head_kernel",))
    ('layer 0', 'head')
    """
    if path[:2] == ("body", "layers"):
        return f"layer {path[2]}"
    return path[0].removesuffix("_kernel").removesuffix("_bias")


def _plateau(settings: TrainConfig) -> optax.GradientTransformationExtraArgs:
    # By differences alone: as shares of the best value, metrics below 0 would be turned round.
    return reduce_on_plateau(0.5, settings.plateau_patience, rtol=0.0, atol=1e-6)


def _norms(params: Any, gradient: Any, updates: Any) -> tuple[dict[str, Array], Array]:
    """The gradient's norm, whole and by layer, and by layer the update's over the weights'.

    Besides them the square of the whole update's norm.
    """

    def squares(tree):
        sums: dict[str, Array] = {}
        for path, x in leaves_by_name(tree):
            sums[layer_of(path)] = sums.get(layer_of(path), 0.0) + jnp.sum(jnp.square(x))
        return sums

    weights, slopes, moves = squares(params), squares(gradient), squares(updates)
    metrics = {"gradient_norm": jnp.sqrt(sum(slopes.values()))}
    for layer in weights:
        metrics[f"gradient_norm/{layer}"] = jnp.sqrt(slopes[layer])
        metrics[f"update_ratio/{layer}"] = jnp.sqrt(moves[layer] / (weights[layer] + 1e-12))
    return metrics, sum(moves.values())
