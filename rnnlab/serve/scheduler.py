"""The scheduler: one thread that owns the device and advances all streams.

A round admits waiting jobs to free slots, reads one chunk of inputs of some rows, generates tokens
for all rows whose inputs are read, and hands the events over. Reading and generating take turns, so
that long prompts do not stop the streams that run.
"""

import dataclasses
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from rnnlab.serve.jobs import Event, Job, RequestError, Stream
from rnnlab.serve.limits import Limits
from rnnlab.serve.sampling import NOT_FINITE, POSITION
from rnnlab.serve.slots import chunk_length

POLL_SECONDS = 0.05
"""How often deadlines and idle streams are checked while no job runs."""

Delivery = tuple[Job, Event]
Deliver = Callable[[Sequence[Delivery]], None]
"""Hands events over to the thread of their receivers; it must not block."""


def deliver_here(deliveries: Sequence[Delivery]) -> None:
    """Hands events to their receivers in the scheduler's thread."""
    for job, event in deliveries:
        job.num_consumed += 1
        job.receive(event)


class Observer:
    """Receives counts and times from the thread of the scheduler; this one ignores them."""

    def on_admission(self, job: Job, waited: float) -> None:
        """A job got a slot after `waited` seconds."""

    def on_call(self, kind: str, rows: int, seconds: float) -> None:
        """A device call that reads or generates took `seconds` for `rows` rows."""

    def on_tokens(self, version: object, count: int) -> None:
        """A device call generated `count` tokens that are part of answers."""

    def on_end(self, job: Job, reason: str) -> None:
        """A job ended."""


class Scheduler:
    """Advances streams in one thread, from `start` to `close`.

    Args:
      limits: of slots, the queue and times.
      deliver: hands events over.
      observer: gets counts and times.
      clock: monotonic seconds.
    """

    def __init__(
        self,
        limits: Limits,
        deliver: Deliver = deliver_here,
        observer: Observer | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._limits = limits
        self._deliver = deliver
        self._observer = observer or Observer()
        self._clock = clock
        self._condition = threading.Condition()
        self._inbox: deque[Job] = deque()
        self._released: deque[Stream] = deque()
        self._waiting: deque[Job] = deque()
        self._reading: list[Job] = []
        self._running: list[Job] = []
        self._idle: set[Stream] = set()
        self._free = list(range(limits.slots))[::-1]
        self._queued = 0  # jobs of streams without a slot, guarded by the condition
        self._rate = 0.0  # jobs that got a slot per second, smoothed
        self._last_admission = clock()
        self._draining_until = math.inf
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="scheduler", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    @property
    def is_alive(self) -> bool:
        """Whether the thread runs."""
        return self._thread.is_alive()

    @property
    def num_active(self) -> int:
        """Slots that have a stream."""
        return self._limits.slots - len(self._free)

    @property
    def num_queued(self) -> int:
        """Jobs that wait for a slot."""
        return self._queued

    @property
    def is_draining(self) -> bool:
        """Whether the server shuts down and accepts no new jobs."""
        return self._draining_until < math.inf

    def submit(self, job: Job) -> None:
        """Takes a job. Any thread may call it.

        Raises:
          RequestError: the queue is full, the server shuts down, or the stream has ended or works
            on another job.
        """
        with self._condition:
            if self.is_draining or self._stopping:
                raise RequestError(
                    503,
                    "the server must accept requests, but it shuts down; use another one",
                    reason="shutdown",
                    retry_after=1,
                )
            stream = job.stream
            if stream.closed is not None:
                raise RequestError(
                    404,
                    "sequence_id must name a sequence that is alive, but it ended: "
                    f"{stream.closed}; start it again with sequence_start",
                    field="sequence_id",
                    reason="sequence",
                )
            if stream.busy:
                raise RequestError(
                    409,
                    "a sequence must have one request at a time, got a second one; wait for the "
                    "answer to the first",
                    field="sequence_id",
                    reason="sequence",
                )
            if stream.row is None:
                if self._queued >= self._limits.queue + len(self._free):
                    raise RequestError(
                        429,
                        f"at most {self._limits.queue} requests may wait for a slot, and as many "
                        "do; retry later",
                        reason="overload",
                        retry_after=self._seconds_to_slot(),
                    )
                self._queued += 1
            stream.busy = True
            job.submitted = self._clock()
            self._inbox.append(job)
            self._condition.notify()

    def release(self, stream: Stream) -> None:
        """Frees the slot of an idle stream. Any thread may call it."""
        with self._condition:
            self._released.append(stream)
            self._condition.notify()

    def wake(self) -> None:
        """Continues streams whose client has read its events. Any thread may call it."""
        with self._condition:
            self._condition.notify()

    def drain(self, seconds: float) -> None:
        """Refuses new jobs; those that still run after `seconds` end with an error."""
        with self._condition:
            self._draining_until = self._clock() + seconds
            self._condition.notify()

    def is_empty(self) -> bool:
        """Whether no job waits or runs."""
        with self._condition:
            return not (self._inbox or self._waiting or self._reading or self._running)

    def close(self) -> None:
        """Ends all jobs with an error, and the thread."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        if self._thread.ident is not None:
            self._thread.join()

    def run_round(self) -> None:
        """Advances all jobs once, in the calling thread. The thread of `start` does it, too."""
        with self._condition:
            arrived, self._inbox = self._inbox, deque()
            released, self._released = self._released, deque()
        self._round(arrived, released)

    def _run(self) -> None:
        try:
            while True:
                with self._condition:
                    if not self._can_work():
                        self._condition.wait(POLL_SECONDS if self._has_clocks() else None)
                    if self._stopping:
                        break
                self.run_round()
        finally:
            with self._condition:
                self._stopping = True
                self._waiting.extend(self._inbox)
                self._inbox.clear()
            self._fail_all(_shutting_down())

    def _can_work(self) -> bool:
        """Returns whether a round would advance a job."""
        return bool(
            self._stopping
            or self._inbox
            or self._released
            or self._reading
            or (self._waiting and self._free)
            or any(not self._is_paused(job) for job in self._running)
        )

    def _has_clocks(self) -> bool:
        """Returns whether something ends with time."""
        return bool(self._waiting or self._running or self._idle or self.is_draining)

    def _is_paused(self, job: Job) -> bool:
        return job.undelivered >= self._limits.max_undelivered and not job.cancelled

    def _round(self, arrived: Iterable[Job], released: Iterable[Stream]) -> None:
        now = self._clock()
        events: list[Delivery] = []
        for job in arrived:
            (self._waiting if job.stream.row is None else self._reading).append(job)
            self._idle.discard(job.stream)
        for stream in released:
            if stream in self._idle:
                self._close_stream(stream, "released")
        self._end_overdue(now, events)
        self._admit(now)
        self._read_chunk(events)
        self._generate(events)
        if events:
            self._deliver(events)

    def _end_overdue(self, now: float, events: list[Delivery]) -> None:
        """Ends cancelled jobs, those past their deadline, and idle streams."""
        drained = now >= self._draining_until
        for jobs in (self._waiting, self._reading, self._running):
            for job in [j for j in jobs if drained or j.cancelled or now >= j.deadline]:
                if job.cancelled:
                    error = RequestError(499, "the client disconnected", reason="cancelled")
                elif drained:
                    error = _shutting_down()
                else:
                    error = RequestError(
                        504,
                        "the request must end before its timeout, but it did not after "
                        f"{now - job.submitted:.1f} s; raise timeout or ask for fewer tokens",
                        field="timeout",
                        reason="deadline",
                    )
                self._end(job, events, error=error)
        for stream in [s for s in self._idle if now - s.idle_since >= self._limits.idle]:
            self._close_stream(stream, f"no request for {self._limits.idle:g} s")

    def _admit(self, now: float) -> None:
        """Gives free slots to waiting jobs, first come, first served."""
        while self._waiting and self._free:
            job = self._waiting.popleft()
            job.stream.row = self._free.pop()
            job.stream.version.num_rows += 1
            with self._condition:
                self._queued -= 1
            self._rate += 0.1 * (1 / max(now - self._last_admission, 1e-3) - self._rate)
            self._last_admission = now
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
                self._end(job, events, error=_not_finite(where))
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
            error = _not_finite(f"token {job.num_generated + len(new)}")
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
            with self._condition:
                self._queued -= 1
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
        message = f"the device call failed: {error}; see the log of the server"
        for job in [*self._reading, *self._running]:
            if job.stream.version is version:
                self._end(job, events, error=RequestError(500, message, reason="device"))
        for stream in [s for s in self._idle if s.version is version]:
            self._close_stream(stream, "a device call failed")
        version.recover(error)

    def _fail_all(self, error: RequestError) -> None:
        events: list[Delivery] = []
        for job in [*self._waiting, *self._reading, *self._running]:
            self._end(job, events, error=error)
        self._deliver(events)

    def _seconds_to_slot(self) -> int:
        """Returns an estimate of the seconds until the queue has moved on, 1 to 60."""
        if self._rate <= 0:
            return 1
        return min(60, max(1, math.ceil(self._queued / self._rate)))


def _next_chunk(job: Job) -> int:
    return chunk_length(len(job.inputs) - job.num_read)


def _not_finite(where: str) -> RequestError:
    return RequestError(
        500,
        f"the predictions must be finite, but they are NaN or infinite at {where}; the other "
        "streams are not affected; restart this one with other inputs",
        reason="not_finite",
    )


def _shutting_down() -> RequestError:
    return RequestError(
        503,
        "the server shuts down and ended the request; use another server",
        reason="shutdown",
        retry_after=1,
    )
