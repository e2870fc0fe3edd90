"""The optimizer that a training configuration describes, built from Optax transformations."""

from typing import Any

import jax
import optax
from flax import nnx
from jax import Array

from rnnlab.parallel.rules import names_of
from rnnlab.train.config import TrainConfig


def optimizer(config: TrainConfig) -> optax.GradientTransformation:
    """Returns gradient clipping, the optimizer with decoupled weight decay, then the schedule.

    Weight decay applies to matrices only: not to norms, biases and initial states, and not to the
    decay rates and the skip weights of Mamba.
    """
    rate = schedule(config)
    decays_gates = config.weight_decay_gates
    decay = optax.add_decayed_weights(
        config.weight_decay, mask=lambda params: weight_decay_mask(params, decays_gates)
    )
    transforms = {
        "adam": [optax.scale_by_adam(config.beta1, config.beta2)],
        "adamw": [optax.scale_by_adam(config.beta1, config.beta2), decay],
        "rmsprop": [optax.scale_by_rms(config.beta2)],
    }
    max_norm = config.grad_clip_norm
    clip = [] if max_norm is None else [optax.clip_by_global_norm(max_norm)]
    return optax.chain(*clip, *transforms[config.optimizer], optax.scale_by_learning_rate(rate))


def schedule(config: TrainConfig) -> optax.Schedule:
    """Returns the learning rate per update: linear warm-up, then constant or a cosine.

    >>> rate = schedule(TrainConfig(steps=10, learning_rate=1.0, warmup_steps=2, schedule="cosine"))
    >>> [round(float(rate(k)), 3) for k in (0, 1, 2, 6, 10)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    peak, warmup = config.learning_rate, config.warmup_steps
    if config.schedule == "cosine":
        after = optax.cosine_decay_schedule(
            peak, max(config.steps - warmup, 1), config.end_lr_fraction
        )
    else:
        after = optax.constant_schedule(peak)
    if not warmup:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def weight_decay_mask(params: Any, gates: bool) -> Any:
    """Returns a tree of booleans: which parameters weight decay applies to.

    It applies to matrices, except to parameters with the metadata `weight_decay=False` of
    `nnx.Param`, and to those with `weight_decay="gates"` only if `gates` is set.
    """

    def one(p: Any) -> Any:
        if not isinstance(p, nnx.Variable):
            return p.ndim >= 2
        rule = p.get_metadata().get("weight_decay", True)
        return p.replace(p.ndim >= 2 and (gates if rule == "gates" else rule))

    return jax.tree.map(one, params, is_leaf=lambda p: isinstance(p, nnx.Variable))


def recurrent_regularizer(params: Any, l1: float, l2: float) -> Array:
    """Returns `l1 sum |w| + l2 sum w^2` over the recurrent kernels.

    Raises:
      ValueError: the model has none: the gates of minimal cells do not read the state.
    """
    weights = [p for path, p in named_parameters(params) if path[-1] == "recurrent_kernel"]
    if not weights:
        raise ValueError(
            f"recurrent_l1 and recurrent_l2 must be 0 in a model without recurrent kernels, got "
            f"{l1} and {l2}; set both to 0"
        )
    return sum(l1 * abs(w).sum() + l2 * (w * w).sum() for w in weights)


def named_parameters(params: Any) -> list[tuple[tuple[str, ...], Array]]:
    """Returns the parameters with their paths as tuples of names."""
    return [(names_of(path), p) for path, p in jax.tree_util.tree_leaves_with_path(params)]
