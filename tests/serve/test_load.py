"""The load generator: counts of events, and only servers of this machine."""

import pytest
from serve.models import make_service, needs_server

from rnnlab.bench.load import Load, run_load
from rnnlab.serve.app import make_app
from rnnlab.serve.server import running_in_thread


@needs_server
def test_load_counts_events_gaps_and_ends():
    service = make_service(slots=1, max_tokens=30)
    with running_in_thread(make_app(service), service) as port:
        load = Load(port, "m", 4, 0.5, warm_up=0.3, max_tokens=30)
        for _ in range(60):  # the first requests wait for the compiler
            if run_load(load).finished > 20:
                break
        found = run_load(load)
    assert found.failed == found.refused == 0
    assert found.finished > 4
    assert found.events >= len(found.gaps) > found.finished
    assert found.first.min() > 0
    assert found.seconds == pytest.approx(0.5, abs=0.4)


@needs_server
def test_load_counts_refused_requests_as_such():
    service = make_service(slots=1, queue=1, max_tokens=10**6)
    with running_in_thread(make_app(service), service) as port:
        found = run_load(Load(port, "m", 6, 0.5, warm_up=0.0, max_tokens=10**6))
    assert found.refused >= 4
    assert found.failed == 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"host": "example.org"}, "host must be one of 127.0.0.1"),
        ({"streams": 5000}, "streams must be in 1 to 4096"),
        ({"seconds": 1e6}, "seconds must be in"),
    ],
)
def test_load_is_bounded_and_local(changes, message):
    with pytest.raises(ValueError, match=message):
        Load(**{"port": 1, "model": "m", "streams": 1, "seconds": 1.0, **changes})
