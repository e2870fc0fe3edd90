"""The study of the Numenta benchmark: nothing after the probation is trained on."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rnnlab.load_module import load
from rnnlab.tasks.readers.nab import LabelledSeries

STUDIES = Path(__file__).parents[2] / "experiments" / "studies"
nab = load(STUDIES / "nab.py", "a study")
forecasters = load(STUDIES / "nab_forecasters.py", "a study")


def series(length, seed):
    dates = np.datetime64("2026-01-01", "s") + 300 * np.arange(length)
    values = np.sin(np.arange(length) / 5) + 0.1 * np.random.default_rng(seed).normal(size=length)
    at = int(0.6 * length)
    return LabelledSeries(f"{seed}.csv", dates, values, dates[[[at, at + 9]]])


def test_values_after_the_probation_change_no_training_number():
    corpus = [series(200, 0), series(320, 1)]
    planted = [x._replace(values=x.values.copy()) for x in corpus]
    for x in planted:
        x.values[int(0.15 * len(x.values)) :] = 99
    prepared = ([forecasters.prepared(x) for x in part] for part in (corpus, planted))
    for one, other in zip(*map(forecasters.batches, prepared), strict=True):
        for name in ("inputs", "targets", "mask"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_fitted_and_choosing_targets_are_apart_and_are_the_next_changes():
    fitted, choosing = forecasters.batches([forecasters.prepared(series(400, 0))])
    known = [np.flatnonzero(~np.isnan(x.targets.ravel())) for x in (fitted, choosing)]
    assert (known[0].tolist(), known[1].tolist()) == (list(range(44)), list(range(44, 59)))
    values = series(400, 0).values
    size = np.abs(np.diff(values[:60])).mean()
    assert fitted.targets[0, 0, 0, 7, 0] == pytest.approx((values[8] - values[7]) / size, rel=1e-5)


@pytest.mark.slow
@pytest.mark.usefixtures("implicit_promotion", "quick_compile")
def test_forecast_errors_are_largest_at_a_planted_shift():
    corpus = [series(400, seed) for seed in range(2)]
    for x in corpus:
        x.values[250:] += 30
    prepared = [forecasters.prepared(x) for x in corpus]
    errors = forecasters.forecast_errors(prepared, nab.MODEL, replace(nab.TRAIN, steps=20))
    for found in (errors.scaled, errors.unscaled):
        assert [int(x.argmax()) for x in found] == [250, 250]
    first = [x.fitted + 1 for x in prepared]
    record = nab.measured_scores(corpus, nab.likelihoods(errors.scaled, first))
    assert set(record["scores"]) == {"standard", "reward_low_fp", "reward_low_fn"}
    assert record["scores"]["standard"] >= 0
