"""The scorer of the Numenta benchmark: by hand, against a loop, and against published scores."""

import math

import numpy as np
import pytest
from small_data_set import is_here

from rnnlab.datasets import dataset_files
from rnnlab.tasks.readers.nab import LabelledSeries, read_nab
from rnnlab.tasks.reference.anomaly_detectors import windowed_gaussian
from rnnlab.tasks.reference.nab_scores import PROFILES, Profile, nab_score, probation_length

PUBLISHED = {"standard": 39.6, "reward_low_fp": 20.9, "reward_low_fn": 47.4}
"""Scores of the windowed Gaussian in the table of github.com/numenta/NAB."""


def labelled(length, *windows):
    """A series with windows between pairs of time steps, both included."""
    dates = np.datetime64("2026-01-01", "s") + 300 * np.arange(length)
    at = np.array(windows, int).reshape(-1, 2)
    return LabelledSeries("a.csv", dates, np.zeros(length), dates[at])


def detected(length, *steps):
    return np.isin(np.arange(length), steps).astype(float)


def sigmoid(x):
    return 2 / (1 + math.exp(5 * x)) - 1


def loop_score(corpus, scores, profile):
    """The best total over thresholds, each computed from its detections alone."""
    count = sum(len(series.windows) for series in corpus)
    null = -count * profile.false_negative
    totals = [null]
    for threshold in np.unique(np.concatenate(scores)):
        total = 0.0
        for series, score in zip(corpus, scores, strict=True):
            start = min(math.floor(0.15 * len(score)), 750)
            found = [t for t in range(start, len(score)) if score[t] >= threshold]
            spans = [np.searchsorted(series.dates, window) for window in series.windows]
            for left, right in spans:
                inside = [t for t in found if left <= t <= right]
                width = right - left + 1
                credits = [sigmoid(-(right - t + 1) / width) / sigmoid(-1) for t in inside]
                total += max(credits, default=-profile.false_negative)
            for t in found:
                if any(left <= t <= right for left, right in spans):
                    continue
                before = [(left, right) for left, right in spans if right < t]
                value = -1.0
                if before:
                    left, right = before[-1]
                    past = (t - right) / (right - left)
                    value = -1.0 if past > 3 else sigmoid(past)
                total += profile.false_positive * value
        totals.append(total)
    return 100 * (max(totals) - null) / (count - null)


@pytest.mark.parametrize("profile", PROFILES.values(), ids=PROFILES)
def test_score_of_detectors_in_random_corpora_equals_a_loop_over_thresholds(profile):
    rng = np.random.default_rng(0)
    for _ in range(5):
        corpus = [labelled(60, (15, 20), (30, 44)), labelled(80), labelled(40, (12, 18))]
        # Few levels, so that equal scores occur, and higher ones in windows.
        scores = [
            rng.integers(0, 6, len(x.values)) + 4 * (rng.random(len(x.values)) < 0.05)
            for x in corpus
        ]
        scores = [
            x + 3 * (series.is_anomalous() & (rng.random(len(x)) < 0.2))
            for x, series in zip(scores, corpus, strict=True)
        ]
        found = nab_score(corpus, scores, profile)
        assert found.score == pytest.approx(loop_score(corpus, scores, profile), abs=1e-9)


@pytest.mark.parametrize(
    ("steps", "profile", "total"),
    [
        ((40,), Profile(0.11, 1.0), 1.0 - 1.0),  # the first time step of one window of two
        ((45,), Profile(0.11, 1.0), sigmoid(-0.5) / sigmoid(-1) - 1.0),  # 5 of 10 steps late
        ((45, 40), Profile(0.11, 1.0), 1.0 - 1.0),  # only the earliest detection counts
        ((40, 80), Profile(0.11, 1.0), 2.0),
        ((40, 30), Profile(0.11, 1.0), 1.0 - 1.0 - 0.11),  # before all windows
        ((40, 30), Profile(0.22, 2.0), 1.0 - 2.0 - 0.22),
        ((40, 52), Profile(0.11, 1.0), 1.0 - 1.0 + 0.11 * sigmoid(3 / 9)),  # soon after a window
        ((40, 14), Profile(0.11, 1.0), 1.0 - 1.0),  # in the probation
    ],
)
def test_score_of_single_detections_is_as_computed_by_hand(steps, profile, total):
    series = labelled(100, (40, 49), (80, 89))
    null = -2 * profile.false_negative
    found = nab_score([series], [detected(100, *steps)], profile)
    assert found.score == pytest.approx(100 * (total - null) / (2 - null), abs=1e-9)


def test_null_and_perfect_detectors_have_0_and_100():
    corpus = [labelled(100, (40, 49), (80, 89)), labelled(50), labelled(200, (100, 119))]
    null = [np.zeros(len(series.values)) for series in corpus]
    perfect = [detected(100, 40, 80), null[1], detected(200, 100)]
    for profile in PROFILES.values():
        assert nab_score(corpus, null, profile).score == 0
        found = nab_score(corpus, perfect, profile)
        assert (found.score, found.found, found.false_positives) == (pytest.approx(100), 3, 0)


def test_probation_is_15_percent_of_at_most_5000_time_steps():
    assert [probation_length(n) for n in (10, 1127, 4032, 22695)] == [1, 169, 604, 750]


def test_scores_of_a_wrong_shape_or_not_finite_are_refused():
    series = labelled(20, (10, 12))
    with pytest.raises(ValueError, match=r"scores of a.csv must be 20 finite values, got shape"):
        nab_score([series], [np.zeros(19)], PROFILES["standard"])
    with pytest.raises(ValueError, match=r"20 finite values, got values that are not finite"):
        nab_score([series], [np.full(20, np.nan)], PROFILES["standard"])
    with pytest.raises(ValueError, match=r"a corpus must have windows, got none in 1 series"):
        nab_score([labelled(20)], [np.zeros(20)], PROFILES["standard"])


@pytest.mark.skipif(not is_here("nab"), reason="nab is not here")
def test_windowed_gaussian_on_the_real_corpus_has_the_published_scores():
    corpus = read_nab(dataset_files("nab")["nab"])
    scores = [windowed_gaussian(series.values) for series in corpus]
    found = {name: nab_score(corpus, scores, profile).score for name, profile in PROFILES.items()}
    assert found == pytest.approx(PUBLISHED, abs=0.05)
