"""Forecasters of many series, one per series, which are trained in parallel on their probations.

Imported by `nab.py`, next to this file.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnnlab import ModelConfig, TrainConfig
from rnnlab.heads import StudentT
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.readers.nab import LabelledSeries
from rnnlab.tasks.reference.anomaly_detectors import smallest_scale
from rnnlab.tasks.reference.nab_scores import probation_length
from rnnlab.train.step import initial_state, make_train_step

FITTED = 0.75
"""Share of the probation that is fitted; the rest chooses the update."""
EVAL_EVERY = 10
HEAD = StudentT(1)
SECONDS_PER_DAY = 86400


class ForecastErrors(NamedTuple):
    """The absolute errors of a forecaster per series, (time + 1,) each, 0 at the first time step.

    Attributes:
      scaled: relative to the scale that was forecast for the time step.
      unscaled: in mean changes of the probation.
      parameters: number of parameters of one forecaster.
    """

    scaled: list[np.ndarray]
    unscaled: list[np.ndarray]
    parameters: int


class Series(NamedTuple):
    """The inputs and targets of the forecaster of a series.

    Attributes:
      inputs: (time, 4) of float32, of the time steps but the last.
      targets: (time, 1) of float32: the change to the next value, in mean changes of the probation.
      fitted: number of targets that are fitted.
      known: number of targets in the probation.
    """

    inputs: np.ndarray
    targets: np.ndarray
    fitted: int
    known: int


def prepared(series: LabelledSeries) -> Series:
    """Returns a series as inputs and targets, scaled by its probation."""
    values, probation = series.values, probation_length(len(series.values))
    seen, smallest = values[:probation], smallest_scale(series)
    changes = np.diff(values)
    size = max(float(np.abs(changes[: probation - 1]).mean()), smallest)
    level = (values - seen.mean()) / max(float(seen.std()), smallest)
    angle = 2 * np.pi * (series.dates.astype(np.int64) % SECONDS_PER_DAY) / SECONDS_PER_DAY
    last = np.append(0.0, changes) / size
    # The inverse hyperbolic sine makes outliers small, which training has not seen.
    inputs = np.stack([np.arcsinh(level), np.arcsinh(last), np.sin(angle), np.cos(angle)], 1)
    targets = changes[:, None] / size
    known = probation - 1
    return Series(
        inputs[:-1].astype(np.float32), targets.astype(np.float32), int(FITTED * known), known
    )


def batches(corpus: Sequence[Series]) -> tuple[Batch, Batch]:
    """Returns the fitted and the choosing targets of all probations, each (series, 1, 1, time)."""
    longest = max(series.known for series in corpus)
    inputs = np.zeros((len(corpus), 1, 1, longest, corpus[0].inputs.shape[1]), np.float32)
    fitted = np.full((*inputs.shape[:4], 1), np.nan, np.float32)
    choosing, mask = fitted.copy(), np.zeros(inputs.shape[:4], bool)
    for k, series in enumerate(corpus):
        inputs[k, 0, 0, : series.known] = series.inputs[: series.known]
        mask[k, 0, 0, : series.known] = True
        fitted[k, 0, 0, : series.fitted] = series.targets[: series.fitted]
        choosing[k, 0, 0, series.fitted : series.known] = series.targets[
            series.fitted : series.known
        ]
    return Batch(inputs, fitted, mask), Batch(inputs, choosing, mask)


def forecast_errors(
    corpus: Sequence[Series], config: ModelConfig, train: TrainConfig
) -> ForecastErrors:
    """Trains a forecaster per series and returns its errors at all time steps."""
    model = config.build(
        HEAD.out_features, in_features=corpus[0].inputs.shape[1], rngs=nnx.Rngs(train.seed)
    )
    graphdef = nnx.graphdef(model)
    one = initial_state(model, train)
    state = jax.tree.map(lambda x: jnp.stack([x] * len(corpus)), one)
    update = jax.jit(jax.vmap(make_train_step(graphdef, HEAD, train)))

    def outputs(params, inputs, mask=None):
        called = nnx.merge(graphdef, params)
        called.eval()
        return called(None, inputs, mask=mask)[1]

    @jax.jit
    def chosen(params, batch):
        def loss(p, b):
            return HEAD.loss(outputs(p, b.inputs[0], b.mask[0]), b.targets[0], b.mask[0])

        return jax.vmap(loss)(params, batch)

    fitted, choosing = batches(corpus)
    best, lowest = state.params, jnp.full(len(corpus), jnp.inf)
    for step in range(train.steps):
        state, _ = update(state, fitted)
        if (step + 1) % EVAL_EVERY == 0:
            losses = chosen(state.params, choosing)
            better = losses < lowest
            lowest = jnp.where(better, losses, lowest)
            best = jax.tree.map(
                lambda new, old, better=better: jnp.where(
                    better.reshape(-1, *[1] * (new.ndim - 1)), new, old
                ),
                state.params,
                best,
            )
    longest = max(len(series.inputs) for series in corpus)
    padded = np.stack([np.pad(x.inputs, ((0, longest - len(x.inputs)), (0, 0))) for x in corpus])
    found = jax.jit(lambda p, x: jax.lax.map(lambda a: outputs(a[0], a[1][None])[0], (p, x)))
    scaled, unscaled = [], []
    for made, series in zip(np.asarray(found(best, padded)), corpus, strict=True):
        named = HEAD.named(made[: len(series.inputs)])
        error = np.abs(series.targets - named["location"])
        for kept, values in ((unscaled, error), (scaled, error / named["scale"])):
            kept.append(np.append(0.0, np.asarray(values, np.float64)[:, 0]))
    return ForecastErrors(scaled, unscaled, sum(x.size for x in jax.tree.leaves(one.params)))
