"""Rounds of the scheduler: all jobs and streams, and how a round advances them.

A round admits waiting jobs to free slots, reads one chunk of inputs of some rows, generates tokens
for all rows whose inputs are read, and hands the events over. Reading and generating take turns, so
that long prompts do not stop the streams that run.
"""

import dataclasses
from collections import deque
from collections.abc import Callable, Iterable

import numpy as np

from rnnlab.serve import refusals
from rnnlab.serve.admission import Admission
from rnnlab.serve.delivery import Deliver, Delivery, Observer
from rnnlab.serve.jobs import Event, Job, RequestError, Stream
from rnnlab.serve.limits import Limits
from rnnlab.serve.sampling import NOT_FINITE, POSITION
from rnnlab.serve.slots import chunk_length


class Rounds:
    """The jobs of a server and the streams they work on. One thread at a time may change them.

    Args:
      limits: of slots and times.
      admission: counts the jobs that wait for a slot.
      deliver: hands events over.
      observer: gets counts and times.
      clock: monotonic seconds.
    """

    def __init__(
        self,
        limits: Limits,
        admission: Admission,
        deliver: Deliver,
        observer: Observer,
        clock: Callable[[], float],
    ):
        self._limits = limits
        self._admission = admission
        self._deliver = deliver
        self._observer = observer
        self._clock = clock
        self._waiting: deque[Job] = deque()
        self._reading: list[Job] = []
        self._running: list[Job] = []
        self._idle: set[Stream] = set()
        self._free = list(range(limits.slots))[::-1]

    @property
    def num_free(self) -> int:
        """Slots without a stream."""
        return len(self._free)

    @property
    def can_work(self) -> bool:
        """Whether a round would advance a job."""
        return bool(
            self._reading
            or (self._waiting and self._free)
            or any(not self._is_paused(job) for job in self._running)
        )

    @property
    def has_clocks(self) -> bool:
        """Whether something ends with time."""
        return bool(self._waiting or self._running or self._idle)

    def advance(
        self, arrived: Iterable[Job], released: Iterable[Stream], *, drained: bool = False
    ) -> None:
        """Advances all jobs once.

        Args:
          arrived: jobs that are new.
          released: streams whose slot is free once they are idle.
          drained: whether all jobs end with an error, since the server shuts down.
        """
        now = self._clock()
        events: list[Delivery] = []
        for job in arrived:
            (self._waiting if job.stream.row is None else self._reading).append(job)
            self._idle.discard(job.stream)
        for stream in released:
            if stream in self._idle:
                self._close_stream(stream, "released")
        self._end_overdue(now, drained, events)
        self._admit(now)
        self._read_chunk(events)
        self._generate(events)
        if events:
            self._deliver(events)

    def fail_all(self, arrived: Iterable[Job], error: RequestError) -> None:
        """Ends all jobs, also those that are new, with an error."""
        events: list[Delivery] = []
        for job in [*self._waiting, *arrived, *self._reading, *self._running]:
            self._end(job, events, error=error)
        self._deliver(events)

    def _is_paused(self, job: Job) -> bool:
        return job.undelivered >= self._limits.max_undelivered and not job.cancelled

    def _end_overdue(self, now: float, drained: bool, events: list[Delivery]) -> None:
        """Ends cancelled jobs, those past their deadline, and idle streams."""
        for jobs in (self._waiting, self._reading, self._running):
            for job in [j for j in jobs if drained or j.cancelled or now >= j.deadline]:
                if job.cancelled:
                    error = refusals.cancelled()
                elif drained:
                    error = refusals.shutting_down()
                else:
                    error = refusals.overdue(now - job.submitted)
                self._end(job, events, error=error)
        for stream in [s for s in self._idle if now - s.idle_since >= self._limits.idle]:
            self._close_stream(stream, f"no request for {self._limits.idle:g} s")

    def _admit(self, now: float) -> None:
        """Gives free slots to waiting jobs, first come, first served."""
        while self._waiting and self._free:
            job = self._waiting.popleft()
            job.stream.row = self._free.pop()
            job.stream.version.num_rows += 1
            self._admission.admit(now)
            self._reading.append(job)
            self._observer.on_admission(job, now - job.submitted)

    def _read_chunk(self, events: list[Delivery]) -> None:
        """Reads one chunk of the inputs of rows whose chunks have the same length."""
        if not self._reading:
            return
        first = self._reading[0]
        version, length = first.stream.version, _next_chunk(first)
        jobs = [
            job
            for job in self._reading
            if job.stream.version is version and _next_chunk(job) == length
        ][: version.slots.max_read_rows]
        spans = [(job, slice(job.num_read, job.num_read + length)) for job in jobs]
        gaps = None if first.gaps is None else [job.gaps[span] for job, span in spans]
        wants_outputs = any(job.wants_outputs for job in jobs)
        started = self._clock()
        try:
            read = version.slots.read(
                [job.stream.row for job in jobs],
                [job.inputs[span] for job, span in spans],
                [job.stream.steps == 0 for job in jobs],
                gaps,
                wants_outputs=wants_outputs,
            )
        except Exception as error:
            self._fail_version(version, error, events)
            return
        self._observer.on_call("read", len(jobs), self._clock() - started)
        for k, job in enumerate(jobs):
            num_steps = min(length, len(job.inputs) - job.num_read)
            if read.not_finite[k] >= 0:
                where = f"time step {job.stream.steps + int(read.not_finite[k])} of its inputs"
                self._end(job, events, error=refusals.not_finite(where))
                continue
            job.num_read += num_steps
            job.stream.steps += num_steps
            event = Event(
                outputs=read.outputs[k, :num_steps] if job.wants_outputs else None,
                inputs=job.inputs[job.num_read - num_steps : job.num_read],
                surprise=read.surprise[k, :num_steps],
                first_step=job.stream.steps - num_steps,
            )
            self._after_read(job, event, events)

    def _after_read(self, job: Job, event: Event, events: list[Delivery]) -> None:
        """Moves a job on after a chunk of its inputs."""
        is_done = job.num_read == len(job.inputs)
        if is_done and not job.max_tokens:
            self._end(job, events, dataclasses.replace(event, end="end"))
            return
        self._emit(job, events, event)
        if is_done:
            self._reading.remove(job)
            self._running.append(job)

    def _generate(self, events: list[Delivery]) -> None:
        """Generates tokens for all rows whose inputs are read, version by version."""
        by_version: dict[object, list[Job]] = {}
        for job in self._running:
            if not self._is_paused(job):
                by_version.setdefault(job.stream.version, []).append(job)
        for version, jobs in by_version.items():
            settings = np.stack([job.settings for job in jobs])
            settings[:, POSITION] += [job.num_generated for job in jobs]
            started = self._clock()
            try:
                tokens = version.slots.advance([job.stream.row for job in jobs], settings)
            except Exception as error:
                self._fail_version(version, error, events)
                continue
            self._observer.on_call("generate", len(jobs), self._clock() - started)
            before = sum(job.num_generated for job in jobs)
            for job, row in zip(jobs, tokens.tolist(), strict=True):
                self._after_tokens(job, row, events)
            count = sum(job.num_generated for job in jobs) - before
            self._observer.on_tokens(version, count)

    def _after_tokens(self, job: Job, row: list[int], events: list[Delivery]) -> None:
        """Moves a job on after a call that generated the tokens `row`."""
        new = row[: job.max_tokens - job.num_generated]
        end = "length" if job.num_generated + len(new) == job.max_tokens else None
        error = None
        if job.stop:
            found = next((k for k, token in enumerate(new) if token in job.stop), None)
            if found is not None:
                new, end = new[:found], "stop"
        if NOT_FINITE in new:
            new, end = new[: new.index(NOT_FINITE)], None
            error = refusals.not_finite(f"token {job.num_generated + len(new)}")
        job.num_generated += len(new)
        if end is None and error is None:
            self._emit(job, events, Event(tokens=tuple(new)))
        else:
            self._end(job, events, Event(tokens=tuple(new), end=end, error=error))

    def _emit(self, job: Job, events: list[Delivery], event: Event) -> None:
        job.num_emitted += 1
        events.append((job, event))

    def _end(
        self,
        job: Job,
        events: list[Delivery],
        event: Event | None = None,
        *,
        error: RequestError | None = None,
    ) -> None:
        """Ends a job: its last event, its slot, its place in the lists."""
        event = event or Event(error=error)
        stream, job.has_ended = job.stream, True
        for jobs in (self._waiting, self._reading, self._running):
            if job in jobs:
                jobs.remove(job)
        reason = event.end or event.error.reason
        if stream.row is None:
            self._admission.leave()
            stream.closed = reason
        elif job.keeps_stream and event.error is None:
            stream.idle_since = self._clock()
            self._idle.add(stream)
        else:
            self._close_stream(stream, reason)
        stream.busy = False
        self._emit(job, events, event)
        self._observer.on_end(job, reason)

    def _close_stream(self, stream: Stream, reason: str) -> None:
        self._idle.discard(stream)
        stream.closed = reason
        stream.version.num_rows -= 1
        self._free.append(stream.row)
        stream.row = None

    def _fail_version(self, version: object, error: Exception, events: list[Delivery]) -> None:
        """Ends all streams of a version whose device call failed: their states are gone."""
        for job in [*self._reading, *self._running]:
            if job.stream.version is version:
                self._end(job, events, error=refusals.device_failed(error))
        for stream in [s for s in self._idle if s.version is version]:
            self._close_stream(stream, "a device call failed")
        version.recover(error)


def _next_chunk(job: Job) -> int:
    return chunk_length(len(job.inputs) - job.num_read)
