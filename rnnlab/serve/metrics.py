"""Prometheus metrics of a server, in a registry of their own."""

from collections.abc import Callable

from rnnlab.optional import require_module
from rnnlab.serve.delivery import Observer
from rnnlab.serve.jobs import Job

SECONDS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
"""Bounds of the histograms of requests."""
CALL_SECONDS = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 0.1, 0.3, 1)
"""Bounds of the histogram of device calls."""


class Metrics(Observer):
    """Counts and times of a server. Observes its scheduler.

    >>> metrics = Metrics()
    >>> metrics.on_request("generate", 200, 0.5)
    >>> b'rnnlab_requests_total{route="generate",status="200"} 1.0' in metrics.text()
    True
    """

    def __init__(self) -> None:
        client = require_module("prometheus_client", "serve")
        self._client = client
        self.registry = client.CollectorRegistry()

        def counter(name: str, doc: str, *labels: str):
            return client.Counter(f"rnnlab_{name}", doc, labels, registry=self.registry)

        def histogram(name: str, doc: str, bounds: tuple[float, ...], *labels: str):
            name = f"rnnlab_{name}"
            return client.Histogram(name, doc, labels, registry=self.registry, buckets=bounds)

        self._requests = counter("requests", "Requests by route and status.", "route", "status")
        self._request_seconds = histogram(
            "request_seconds", "Time of a request until its answer starts.", SECONDS, "route"
        )
        self._first = histogram(
            "first_token_seconds", "Time from a request to its first token.", SECONDS
        )
        self._wait = histogram("queue_seconds", "Time that a request waits for a slot.", SECONDS)
        self._tokens = counter("tokens", "Generated tokens.", "version")
        self._ends = counter("requests_ended", "Jobs by the reason of their end.", "reason")
        self._calls = histogram(
            "device_call_seconds", "Time of a device call.", CALL_SECONDS, "kind"
        )
        self._rows = counter("device_call_rows", "Rows of device calls.", "kind")
        self._labelled: dict[tuple[object, str], object] = {}

    def gauge(self, name: str, doc: str, value: Callable[[], float]) -> None:
        """Adds a gauge that is computed when it is read."""
        gauge = self._client.Gauge(f"rnnlab_{name}", doc, registry=self.registry)
        gauge.set_function(value)

    def labelled_gauge(self, name: str, doc: str, *labels: str):
        """Adds and returns a gauge with labels."""
        return self._client.Gauge(f"rnnlab_{name}", doc, labels, registry=self.registry)

    def on_request(self, route: str, status: int, seconds: float) -> None:
        """A request was answered."""
        self._child(self._requests, route, str(status)).inc()
        self._child(self._request_seconds, route).observe(seconds)

    def on_first_token(self, seconds: float) -> None:
        """The first token of a request was handed over `seconds` after it arrived."""
        self._first.observe(seconds)

    def on_admission(self, job: Job, waited: float) -> None:
        """See `Observer.on_admission`."""
        self._wait.observe(waited)

    def on_call(self, kind: str, rows: int, seconds: float) -> None:
        """See `Observer.on_call`."""
        self._child(self._calls, kind).observe(seconds)
        self._child(self._rows, kind).inc(rows)

    def on_tokens(self, version: object, count: int) -> None:
        """See `Observer.on_tokens`."""
        self._child(self._tokens, version.number).inc(count)

    def on_end(self, job: Job, reason: str) -> None:
        """See `Observer.on_end`."""
        self._child(self._ends, reason).inc()

    def text(self) -> bytes:
        """Returns all metrics in Prometheus's text format."""
        return self._client.generate_latest(self.registry)

    def _child(self, metric, *labels: str):
        """Returns the metric of some labels. Looking it up in the client takes a lock."""
        key = (metric, labels)
        child = self._labelled.get(key)
        if child is None:
            child = self._labelled[key] = metric.labels(*labels)
        return child
