"""The optimiser that a run's settings describe, made of optax's parts."""

from typing import Any

import jax
import optax
from jax import Array

from rnnlab.train.config import TrainConfig

NOT_DECAYED = ("log_rate", "skip")
CELL_KERNELS = ("update_kernel", "candidate_kernel", "forget_kernel", "input_kernel")


def optimizer(settings: TrainConfig) -> optax.GradientTransformation:
    """Clipping, then the rule with its schedule and decoupled weight decay.

    Weight decay reaches matrices alone: no norm, bias or initial state, and neither the decays nor
    the skips of Mamba's states.
    """
    rate = schedule(settings)
    decay = optax.add_decayed_weights(
        settings.weight_decay, mask=lambda params: decayed(params, settings.decay_gates)
    )
    rules = {
        "adam": [optax.scale_by_adam(settings.beta1, settings.beta2)],
        "adamw": [optax.scale_by_adam(settings.beta1, settings.beta2), decay],
        "rmsprop": [optax.scale_by_rms(settings.beta2)],
    }
    clip = [] if settings.clip_norm is None else [optax.clip_by_global_norm(settings.clip_norm)]
    return optax.chain(*clip, *rules[settings.optimizer], optax.scale_by_learning_rate(rate))


def schedule(settings: TrainConfig) -> optax.Schedule:
    """Learning rate against the number of updates: linear warm-up, then constant or a cosine.

    >>> rate = schedule(TrainConfig(steps=10, learning_rate=1.0, warmup_steps=2, schedule="cosine"))
    >>> [round(float(rate(k)), 3) for k in (0, 1, 2, 6, 10)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    peak, warmup = settings.learning_rate, settings.warmup_steps
    if settings.schedule == "cosine":
        after = optax.cosine_decay_schedule(
            peak, max(settings.steps - warmup, 1), settings.final_rate
        )
    else:
        after = optax.constant_schedule(peak)
    if not warmup:
        return after
    return optax.join_schedules([optax.linear_schedule(0.0, peak, warmup), after], [warmup])


def decayed(params: Any, gates: bool) -> Any:
    """Which parameters weight decay reaches, as a tree of booleans."""

    def one(path: tuple[Any, ...], p: Array) -> bool:
        name = _names(path)[-1]
        return p.ndim >= 2 and name not in NOT_DECAYED and (gates or name not in CELL_KERNELS)

    return jax.tree_util.tree_map_with_path(one, params)


def recurrent_penalty(params: Any, l1: float, l2: float) -> Array:
    """`l1 sum |w| + l2 sum w^2` over the recurrent kernels.

    Raises:
      ValueError: there is none, as in minimal cells, whose gates do not read the state.
    """
    weights = [p for path, p in leaves_by_name(params) if path[-1] == "recurrent_kernel"]
    if not weights:
        raise ValueError(
            f"l1 is {l1} and l2 is {l2}, which weigh recurrent kernels, and this model has none; "
            "set both to 0"
        )
    return sum(l1 * abs(w).sum() + l2 * (w * w).sum() for w in weights)


def leaves_by_name(params: Any) -> list[tuple[tuple[str, ...], Array]]:
    """The parameters with their paths as names."""
    return [(_names(path), p) for path, p in jax.tree_util.tree_leaves_with_path(params)]


def _names(path: tuple[Any, ...]) -> tuple[str, ...]:
    keys = (getattr(k, "key", getattr(k, "name", getattr(k, "idx", None))) for k in path)
    return tuple(str(k) for k in keys if k not in (None, "value"))
