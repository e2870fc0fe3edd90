"""Drift: thresholds of the bundle's own windows, and alarms only from runs of unusual windows."""

import numpy as np
import pytest
from serve.models import make_service

from rnnlab.bundle.reference import make_reference
from rnnlab.serve import drift
from rnnlab.serve.drift import ALARM, CumulativeSum, DriftMonitor
from rnnlab.tasks.batch import Batch


def chain(rng, length, stay=0.9):
    """Tokens of a Markov chain that often repeat, so that neighbors are not independent."""
    moves = rng.random(length) > stay
    return np.cumsum(moves * rng.integers(1, 5, length)) % 5


def surprise_of(tokens, stay=0.9):
    """Negative log likelihoods under the chain."""
    repeats = np.concatenate([[False], tokens[1:] == tokens[:-1]])
    return -np.log(np.where(repeats, stay, (1 - stay) / 4))


class Logits:
    """A model that knows the chain."""

    def __call__(self, batch):
        scores = np.full((*batch.inputs.shape, 5), np.log(0.025))
        np.put_along_axis(scores, batch.inputs[..., None], np.log(0.9), axis=-1)
        return scores


@pytest.fixture(scope="module")
def reference():
    tokens = chain(np.random.default_rng(0), 20_001)
    batch = Batch(tokens[None, :-1], tokens[None, 1:], np.ones((1, 20_000), bool))
    return make_reference("test", [batch], Logits(), 5)


def read(monitor, tokens, part=37):
    """Passes tokens on in parts, as a stream of requests."""
    surprise = surprise_of(tokens)
    for start in range(0, len(tokens), part):
        span = slice(start, start + part)
        monitor.observe(tokens[span], surprise[span], 1000)


def test_inputs_like_the_held_out_data_raise_no_alarm(reference):
    alarms = 0
    for seed in range(1, 6):
        monitor = DriftMonitor(reference)
        read(monitor, chain(np.random.default_rng(seed), 20_000))
        assert monitor.statistics["surprise"].windows == 200
        alarms += bool(monitor.alarms)
    assert alarms == 0


def test_inputs_that_surprise_the_model_raise_an_alarm_until_they_end(reference, caplog):
    monitor = DriftMonitor(reference, "2")
    rng = np.random.default_rng(7)
    read(monitor, chain(rng, 2_000))
    read(monitor, chain(rng, 2_000, stay=0.6))
    assert "surprise" in monitor.alarms
    assert "inputs of version 2 differ from the held-out data: surprise" in caplog.text
    read(monitor, chain(rng, 20_000))
    assert not monitor.alarms


def test_other_shares_of_tokens_raise_an_alarm(reference):
    monitor = DriftMonitor(reference)
    tokens = chain(np.random.default_rng(8), 3_000)
    read(monitor, np.where(tokens > 1, 0, tokens))
    assert "stability" in monitor.alarms


def test_first_time_steps_of_a_stream_do_not_count_as_surprise(reference):
    monitor = DriftMonitor(reference)
    for _ in range(500):
        monitor.observe(np.zeros(10, int), np.full(10, 9.0), 0)
    assert monitor.statistics["surprise"].windows == 0


def test_values_have_means_and_a_range():
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(1, 5_000, 2)).astype(np.float32)
    batch = Batch(xs, np.zeros((1, 5_000, 1), np.float32), np.ones((1, 5_000), bool))
    monitor = DriftMonitor(make_reference("test", [batch], None, None))
    new = rng.normal(size=(3_000, 2)).astype(np.float32)
    monitor.observe(new, None, 0)
    assert not monitor.alarms
    monitor.observe(new + np.array([0, 1], np.float32), None, 0)
    assert monitor.alarms == ["mean_1"]
    before = monitor.out_of_range
    monitor.observe(np.full((3, 2), 50, np.float32), None, 0)
    assert monitor.out_of_range == before + 3


def test_cumulative_sum_needs_several_unusual_windows():
    statistic = CumulativeSum(None, 1.0)
    changes = [statistic.add(2.0) for _ in range(4)]
    assert changes == [False, False, False, True]
    assert statistic.total >= ALARM
    rare = CumulativeSum(None, 1.0)
    for _ in range(100):
        rare.add(2.0)
        for _ in range(49):
            rare.add(0.0)
    assert not rare.is_alarm


def test_alarm_is_rare_where_windows_are_usual():
    rng = np.random.default_rng(0)
    alarms = 0
    for _ in range(50):
        statistic = CumulativeSum(None, 1 - drift.TAIL)
        alarms += sum(statistic.add(x) and statistic.is_alarm for x in rng.random(2_000))
    assert alarms <= 20  # one in 5,000 windows


def test_alarm_is_a_metric_of_its_version(reference):
    service = make_service()
    (version,) = service.versions.loaded
    version.monitor = DriftMonitor(reference, "1")
    read(version.monitor, chain(np.random.default_rng(7), 3_000, stay=0.5))
    values = dict(line.rsplit(" ", 1) for line in service.metrics_text().decode().splitlines())
    assert values['rnnlab_drift_alarm{statistic="surprise",version="1"}'] == "1.0"
    assert values['rnnlab_inputs_out_of_range{version="1"}'] == "0.0"
