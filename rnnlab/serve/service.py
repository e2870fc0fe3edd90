"""A server of one model: versions, scheduler, sequences, metrics and audit log, without HTTP."""

import asyncio
import secrets
import time
from collections.abc import Mapping
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from rnnlab.serve.audit import AuditLog
from rnnlab.serve.jobs import Event, Job, RequestError, Stream
from rnnlab.serve.limits import Limits
from rnnlab.serve.mailbox import Mailbox, consume, deliver_to
from rnnlab.serve.metrics import Metrics
from rnnlab.serve.protocol import GenerateRequest, InferRequest
from rnnlab.serve.sampling import settings_row
from rnnlab.serve.scheduler import Scheduler
from rnnlab.serve.versions import Version, Versions


class Service:
    """A server of one model: its versions, scheduler, sequences, metrics and audit log.

    Args:
      versions: loaded versions, with their shares.
      limits: of requests.
      audit: where requests are recorded; None records nothing.
      audit_text: whether the audit log has prompts and answers, not only their digests.
    """

    def __init__(
        self,
        versions: Versions,
        limits: Limits,
        *,
        audit: AuditLog | None = None,
        audit_text: bool = False,
    ):
        self.versions, self.limits = versions, limits
        self.audit, self.audit_text = audit, audit_text
        self.metrics = Metrics()
        self.scheduler: Scheduler | None = None
        self._sequences: dict[str, Stream] = {}
        gauge = self.metrics.gauge
        gauge("slots", "Slots of state.", lambda: limits.slots)
        gauge("streams", "Streams that have a slot.", lambda: self._state("num_active"))
        gauge("queue_length", "Requests that wait for a slot.", lambda: self._state("num_queued"))

        gauge = self.metrics.labelled_gauge
        self._streams = gauge("version_streams", "Streams of each version.", "version")
        self._drift = gauge(
            "drift_alarm",
            "Whether inputs of a version differ from the held-out data: 1 or 0.",
            *("version", "statistic"),
        )
        self._out_of_range = gauge(
            "inputs_out_of_range",
            "Time steps whose inputs are outside of the range of the held-out data.",
            "version",
        )

    def metrics_text(self) -> bytes:
        """Returns all metrics in Prometheus's text format."""
        for gauge in (self._streams, self._drift, self._out_of_range):
            gauge.clear()  # versions that are unloaded
        for version in self.versions.loaded:
            self._streams.labels(version.number).set(version.num_rows)
            if version.monitor is not None:
                for name, statistic in version.monitor.statistics.items():
                    self._drift.labels(version.number, name).set(statistic.is_alarm)
                self._out_of_range.labels(version.number).set(version.monitor.out_of_range)
        return self.metrics.text()

    def _state(self, name: str) -> float:
        return 0 if self.scheduler is None else getattr(self.scheduler, name)

    @property
    def is_live(self) -> bool:
        """Whether the process works; if not, it must be restarted."""
        return self.scheduler is not None and self.scheduler.is_alive

    @property
    def is_ready(self) -> bool:
        """Whether requests are accepted."""
        return (
            self.is_live
            and not self.scheduler.is_draining
            and bool(self.versions.shares)
            and (self.audit is None or self.audit.failure is None)
        )

    @asynccontextmanager
    async def running(self):
        """Runs the scheduler while the event loop serves requests."""
        self.scheduler = Scheduler(
            self.limits, deliver_to(asyncio.get_running_loop()), self.metrics
        )
        self.scheduler.start()
        self.record({"event": "start", "versions": self._digests()})
        try:
            yield self
        finally:
            await asyncio.to_thread(self.scheduler.close)
            self.record({"event": "stop"})
            if self.audit is not None:
                await asyncio.to_thread(self.audit.close)

    def _digests(self) -> dict[str, str]:
        return {version.number: version.digest for version in self.versions.loaded}

    def record(self, record: Mapping[str, Any]) -> None:
        """Appends a record to the audit log.

        Raises:
          RequestError: the log cannot be written, so that nothing may be served.
        """
        if self.audit is None:
            return
        try:
            self.audit.append({"time": _now(), **record})
        except OSError as error:
            raise RequestError(
                503,
                f"the audit log must be writable to serve, but it is not: {error}",
                reason="audit",
            ) from None

    def require_audit(self) -> None:
        """Raises if requests must be recorded and cannot be.

        Raises:
          RequestError: an earlier record could not be written.
        """
        if self.audit is not None and self.audit.failure is not None:
            raise RequestError(
                503,
                f"the audit log must be writable to serve, but it is not: {self.audit.failure}",
                reason="audit",
            )

    def choose(self, number: str | None, session: str | None) -> Version:
        """Returns the version of a request."""
        if number is not None:
            return self.versions.get(number)
        return self.versions.choose(session or secrets.token_hex(8))

    def start_job(self, stream: Stream, inputs: np.ndarray, timeout: float, **options: Any):
        """Submits a job. Returns it and the mailbox of its events."""
        self.require_audit()
        mailbox = Mailbox()
        deadline = time.monotonic() + timeout
        job = Job(stream, inputs, mailbox.put, deadline=deadline, **options)
        self.scheduler.submit(job)
        return job, mailbox

    def start_generate(self, request: GenerateRequest, version: Version):
        """Submits the job of a request for a continuation."""
        return self.start_job(
            Stream(version),
            request.prompt,
            request.timeout,
            settings=settings_row(request.seed, request.temperature, request.top_k, request.top_p),
            max_tokens=request.max_tokens,
            stop=request.stop,
        )

    async def take(self, job: Job, mailbox: Mailbox) -> list[Event]:
        """Returns the events of a job that have arrived, and counts them as consumed."""
        events = await mailbox.take()
        self.observe(job.stream.version, events)
        consume(job, len(events), self.limits.max_undelivered, self.scheduler.wake)
        return events

    def cancel(self, job: Job) -> None:
        """Ends a job whose answer nobody reads."""
        if not job.has_ended:
            job.cancel()
            self.scheduler.wake()

    def observe(self, version: Version, events: list[Event]) -> None:
        """Passes what was read to the drift monitor of a version."""
        if version.monitor is not None:
            for event in events:
                if event.inputs is not None:
                    version.monitor.observe(event.inputs, event.surprise, event.first_step)

    async def infer(self, request: InferRequest, version: Version) -> np.ndarray:
        """Returns the predictions for all time steps, (batch, time, out_features).

        Raises:
          RequestError: a sequence is unknown or has ended, or a limit is reached.
        """
        streams = [self._stream(request, version) for _ in request.inputs]
        if request.sequence_id is not None:
            steps = streams[0].steps + request.inputs.shape[1]
            if steps > self.limits.max_steps:
                raise RequestError(
                    422,
                    f"a sequence must have at most {self.limits.max_steps} time steps, got "
                    f"{steps}; start it again",
                    field="sequence_id",
                )
        jobs = []
        try:
            for k, stream in enumerate(streams):
                gaps = None if request.gaps is None else request.gaps[k]
                keeps = request.sequence_id is not None and not request.end
                options = {"gaps": gaps, "wants_outputs": True, "keeps_stream": keeps}
                jobs.append(self.start_job(stream, request.inputs[k], request.timeout, **options))
            return np.stack([await self._outputs(*job) for job in jobs])
        finally:
            for job, _ in jobs:
                self.cancel(job)
            stream = streams[0]
            never_began = stream.row is None and not stream.busy
            if request.sequence_id is not None and (stream.closed is not None or never_began):
                self._sequences.pop(request.sequence_id, None)

    async def _outputs(self, job: Job, mailbox: Mailbox) -> np.ndarray:
        """Returns the predictions of one job."""
        parts = []
        while True:
            events = await self.take(job, mailbox)
            for event in events:
                if event.error is not None:
                    raise event.error
                parts.append(event.outputs)
            if events[-1].is_last:
                return np.concatenate(parts)

    def _stream(self, request: InferRequest, version: Version) -> Stream:
        """Returns the stream of a request: a new one, or that of its sequence."""
        name = request.sequence_id
        if name is None:
            return Stream(version)
        stream = self._sequences.get(name)
        if request.start:
            if stream is not None and stream.busy:
                raise RequestError(
                    409,
                    "sequence_id must be new to start, but a request for it runs; wait for it",
                    field="sequence_id",
                    reason="sequence",
                )
            if stream is not None:
                self.scheduler.release(stream)
            self._forget_closed()
            stream = self._sequences[name] = Stream(version)
        elif stream is None or stream.closed is not None:
            self._sequences.pop(name, None)
            ended = "" if stream is None else f": {stream.closed}"
            raise RequestError(
                404,
                f"sequence_id must name a sequence that is alive, got {name[:40]!r}, which "
                f"{'never started' if stream is None else 'ended'}{ended}; set sequence_start",
                field="sequence_id",
                reason="sequence",
            )
        return stream

    def version_of_sequence(self, sequence_id: str | None) -> Version | None:
        """Returns the version that a sequence began with; None if it is not alive."""
        stream = self._sequences.get(sequence_id or "")
        return None if stream is None or stream.closed is not None else stream.version

    def _forget_closed(self) -> None:
        """Keeps the table of sequences as small as the slots."""
        if len(self._sequences) > 2 * (self.limits.slots + self.limits.queue):
            self._sequences = {
                name: stream for name, stream in self._sequences.items() if stream.closed is None
            }


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
