"""The scheduler: one thread that owns the device, and what other threads may ask of it."""

import math
import threading
import time
from collections import deque
from collections.abc import Callable

from rnnlab.serve import refusals
from rnnlab.serve.admission import Admission
from rnnlab.serve.delivery import Deliver, Observer, deliver_here
from rnnlab.serve.jobs import Job, Stream
from rnnlab.serve.limits import Limits
from rnnlab.serve.rounds import Rounds

POLL_SECONDS = 0.05
"""How often deadlines and idle streams are checked while no job runs."""


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
        self._clock = clock
        self._admission = Admission(limits.queue, clock)
        self._rounds = Rounds(limits, self._admission, deliver, observer or Observer(), clock)
        self._condition = threading.Condition()
        self._inbox: deque[Job] = deque()
        self._released: deque[Stream] = deque()
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
        return self._limits.slots - self._rounds.num_free

    @property
    def num_queued(self) -> int:
        """Jobs that wait for a slot."""
        return self._admission.num_waiting

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
                raise refusals.closed()
            stream = job.stream
            if stream.closed is not None:
                raise refusals.ended(stream.closed)
            if stream.busy:
                raise refusals.busy()
            if stream.row is None:
                self._admission.enter(self._rounds.num_free)
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
        drained = self._clock() >= self._draining_until
        self._rounds.advance(arrived, released, drained=drained)

    def _run(self) -> None:
        try:
            while True:
                with self._condition:
                    if not self._can_work():
                        has_clocks = self._rounds.has_clocks or self.is_draining
                        self._condition.wait(POLL_SECONDS if has_clocks else None)
                    if self._stopping:
                        break
                self.run_round()
        finally:
            with self._condition:
                self._stopping = True
                arrived, self._inbox = self._inbox, deque()
            self._rounds.fail_all(arrived, refusals.shutting_down())

    def _can_work(self) -> bool:
        return bool(self._stopping or self._inbox or self._released or self._rounds.can_work)
