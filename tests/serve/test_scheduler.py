"""The scheduler: every stream under churn equals the same stream without others."""

import threading
import time

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from serve.models import add_version, text_model, tokens_alone, value_model

from rnnlab.serve.jobs import Job, RequestError, Stream
from rnnlab.serve.limits import Limits
from rnnlab.serve.sampling import settings_row
from rnnlab.serve.scheduler import Scheduler
from rnnlab.serve.versions import Versions

LIMITS = Limits(slots=4, queue=3, per_event=3, max_undelivered=2, idle=5.0)
LONGEST = 12


class Clock:
    """Seconds that pass when a test sets them."""

    seconds = 0.0

    def __call__(self):
        return self.seconds


def make_version(model, number="1"):
    return add_version(Versions("m"), model, LIMITS)


class Client:
    """Submits a job and collects its events."""

    def __init__(self, scheduler, version, prompt, count, seed=0, stream=None, **options):
        self.events = []
        self.job = Job(
            stream or Stream(version),
            np.asarray(prompt),
            self.events.append,
            settings=settings_row(seed, 0.8, None),
            max_tokens=count,
            **options,
        )
        scheduler.submit(self.job)

    @property
    def tokens(self):
        return [token for event in self.events for token in event.tokens]

    @property
    def last(self):
        return self.events[-1] if self.events and self.events[-1].is_last else None


def run_to_end(scheduler, clients, rounds=400):
    for _ in range(rounds):
        if all(client.last for client in clients):
            return
        scheduler.run_round()
    raise AssertionError("a job did not end")


@pytest.fixture(scope="module")
def version():
    return make_version(text_model())


@pytest.fixture(scope="module")
def alone():
    """The tokens of each prompt and seed without slots."""
    known = {}

    def tokens(length, seed):
        if (length, seed) not in known:
            prompt = np.arange(length) % 11
            known[length, seed] = tokens_alone(text_model(), prompt, LONGEST, seed=seed)
        return known[length, seed]

    return tokens


ACTIONS = st.lists(
    st.one_of(
        st.tuples(st.just("submit"), st.sampled_from([1, 5, 17]), st.integers(0, 3)),
        st.tuples(st.just("cancel"), st.integers(0, 9), st.just(0)),
        st.tuples(st.just("wait"), st.sampled_from([1, 4]), st.just(0)),
        st.tuples(st.just("round"), st.integers(1, 3), st.just(0)),
    ),
    max_size=25,
)


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(actions=ACTIONS, counts=st.lists(st.integers(1, LONGEST), min_size=1, max_size=5))
def test_stream_under_churn_has_the_tokens_of_the_stream_alone(version, alone, actions, counts):
    clock = Clock()
    scheduler = Scheduler(LIMITS, clock=clock)
    clients = []
    for kind, a, b in actions:
        if kind == "submit":
            count, prompt = counts[len(clients) % len(counts)], np.arange(a) % 11
            deadline = clock() + (3 if b == 3 else 1000)
            if scheduler.num_queued == LIMITS.queue + LIMITS.slots - scheduler.num_active:
                with pytest.raises(RequestError, match="may wait for a slot"):
                    Client(scheduler, version, prompt, count)
                continue
            client = Client(scheduler, version, prompt, count, seed=b, deadline=deadline)
            client.expected, client.count = alone(a, b), count
            clients.append(client)
        elif kind == "cancel" and clients:
            clients[a % len(clients)].job.cancel()
        elif kind == "wait":
            clock.seconds += a
        else:
            for _ in range(a):
                scheduler.run_round()
    run_to_end(scheduler, clients)
    for client in clients:
        assert client.tokens == client.expected[: len(client.tokens)]
        if client.last.error is None:
            assert len(client.tokens) == client.count
        else:
            assert client.last.error.reason in ("cancelled", "deadline")
    assert scheduler.num_active == scheduler.num_queued == version.num_rows == 0


def test_stream_whose_state_is_not_finite_ends_alone():
    version = make_version(value_model())
    scheduler = Scheduler(LIMITS)
    bad, good = np.ones((3, 2), np.float32), np.ones((3, 2), np.float32)
    bad[1] = np.nan
    clients = [Client(scheduler, version, xs, 0, wants_outputs=True) for xs in (good, bad, good)]
    run_to_end(scheduler, clients)
    assert "NaN or infinite at time step 1" in clients[1].last.error.message
    _, expected = value_model()(jnp.asarray(good))
    for client in (clients[0], clients[2]):
        np.testing.assert_allclose(client.last.outputs, expected, atol=1e-6)


def test_tokens_that_are_not_finite_end_one_stream(version, monkeypatch):
    scheduler = Scheduler(LIMITS)
    clients = [Client(scheduler, version, [seed], 6, seed) for seed in range(3)]
    advance = version.slots.advance

    def failing(rows, settings):
        tokens = advance(rows, settings).copy()
        if len(rows) == 3:
            tokens[1, 2] = -1
        return tokens

    monkeypatch.setattr(version.slots, "advance", failing)
    run_to_end(scheduler, clients)
    assert [client.last.end for client in clients] == ["length", None, "length"]
    assert len(clients[1].tokens) == 2
    assert "at token 2; the other streams are not affected" in clients[1].last.error.message


def test_job_after_its_deadline_ends_while_it_waits_or_runs(version):
    clock = Clock()
    scheduler = Scheduler(LIMITS, clock=clock)
    clients = [Client(scheduler, version, [1], 12, deadline=2.0) for _ in range(7)]
    scheduler.run_round()
    clock.seconds = 2.5
    scheduler.run_round()
    assert {client.last.error.status for client in clients} == {504}
    assert scheduler.num_active == scheduler.num_queued == 0


def test_full_queue_refuses_with_the_seconds_to_wait(version):
    scheduler = Scheduler(LIMITS)
    clients = [Client(scheduler, version, [1], 3) for _ in range(4 + 3)]
    with pytest.raises(RequestError, match="at most 3 requests may wait") as refused:
        Client(scheduler, version, [1], 3)
    assert refused.value.status == 429
    assert 1 <= refused.value.retry_after <= 60
    run_to_end(scheduler, clients)


def test_stop_token_ends_the_answer_before_it(version, alone):
    scheduler, expected = Scheduler(LIMITS), alone(5, 1)
    stop = expected[4]
    client = Client(scheduler, version, np.arange(5), 12, 1, stop=frozenset([stop]))
    run_to_end(scheduler, [client])
    assert client.tokens == expected[: expected.index(stop)]
    assert client.last.end == "stop"


def test_client_that_does_not_read_pauses_only_its_own_stream(version, alone):
    scheduler = Scheduler(LIMITS, deliver=lambda deliveries: None)
    slow, other = (Client(scheduler, version, [0], 12, seed) for seed in range(2))
    for _ in range(20):
        other.job.num_consumed = other.job.num_emitted
        scheduler.run_round()
    assert other.job.has_ended
    assert slow.job.undelivered == LIMITS.max_undelivered
    assert slow.job.num_generated < 12
    for _ in range(10):
        slow.job.num_consumed = slow.job.num_emitted
        scheduler.run_round()
    assert slow.job.num_generated == 12


def test_sequence_keeps_its_state_between_requests_until_it_is_idle():
    version, clock = make_version(value_model()), Clock()
    scheduler, stream = Scheduler(LIMITS, clock=clock), Stream(version)
    xs = np.random.default_rng(0).normal(size=(7, 2)).astype(np.float32)
    options = {"stream": stream, "wants_outputs": True, "keeps_stream": True}
    found = []
    for part in (xs[:3], xs[3:4], xs[4:]):
        client = Client(scheduler, version, part, 0, **options)
        with pytest.raises(RequestError, match="one request at a time"):
            Client(scheduler, version, part, 0, **options)
        run_to_end(scheduler, [client])
        found.append(client.last.outputs)
    _, expected = value_model()(jnp.asarray(xs))
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-6)
    clock.seconds = 6.0
    scheduler.run_round()
    assert scheduler.num_active == 0
    with pytest.raises(RequestError, match="no request for 5 s; start it again"):
        Client(scheduler, version, xs, 0, **options)


def test_failed_device_call_ends_the_streams_of_its_version(version, monkeypatch, caplog):
    scheduler, other = Scheduler(LIMITS), make_version(text_model(1))
    failing = Client(scheduler, version, [1, 2], 12)
    running = Client(scheduler, other, [1, 2], 12)
    scheduler.run_round()

    def fail(*args):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(version.slots, "advance", fail)
    run_to_end(scheduler, [failing, running])
    assert failing.last.error.status == 500
    assert "out of memory" in failing.last.error.message
    assert running.last.end == "length"
    monkeypatch.undo()
    again = Client(scheduler, version, [1, 2], 12)
    run_to_end(scheduler, [again])
    assert again.tokens == tokens_alone(text_model(), [1, 2], 12)
    assert version.num_rows == 0


def test_drain_refuses_new_jobs_and_lets_running_ones_end(version):
    clock = Clock()
    scheduler = Scheduler(LIMITS, clock=clock)
    short, long = Client(scheduler, version, [1], 3), Client(scheduler, version, [1], 3000)
    scheduler.drain(10.0)
    with pytest.raises(RequestError, match="shuts down"):
        Client(scheduler, version, [1], 3)
    run_to_end(scheduler, [short])
    clock.seconds = 11.0
    run_to_end(scheduler, [long])
    assert (short.last.end, long.last.error.status) == ("length", 503)


def test_thread_serves_many_submitters_and_ends_all_jobs_when_closed(version, alone):
    scheduler = Scheduler(Limits(slots=4, queue=100, per_event=3))
    scheduler.start()
    clients = []

    def submit(seed):
        clients.extend(Client(scheduler, version, np.arange(5), 12, seed) for _ in range(5))

    threads = [threading.Thread(target=submit, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    end = time.monotonic() + 60
    while not all(client.last for client in clients) and time.monotonic() < end:
        time.sleep(0.01)
    assert {tuple(client.tokens) for client in clients} == {tuple(alone(5, s)) for s in range(4)}
    endless = Client(scheduler, version, [1], 10**6)
    scheduler.close()
    assert endless.last.error.reason == "shutdown"
    with pytest.raises(RequestError, match="shuts down"):
        Client(scheduler, version, [1], 3)
