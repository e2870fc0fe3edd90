"""Hands events from the scheduler's thread to coroutines of the event loop."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

from rnnlab.serve.delivery import Delivery
from rnnlab.serve.jobs import Event, Job


class Mailbox:
    """The events of one job, for one coroutine. Everything runs in the event loop's thread."""

    def __init__(self) -> None:
        self._events: list[Event] = []
        self._waiter: asyncio.Future[None] | None = None

    def put(self, event: Event) -> None:
        """Adds an event and wakes the coroutine that waits."""
        self._events.append(event)
        waiter = self._waiter
        if waiter is not None and not waiter.done():
            waiter.set_result(None)

    async def take(self) -> list[Event]:
        """Returns all events that have arrived, at least one."""
        if not self._events:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        events, self._events = self._events, []
        return events


def consume(job: Job, count: int, max_undelivered: int, wake: Callable[[], None]) -> None:
    """Counts events as consumed, and wakes the scheduler if the job was paused for them."""
    was_paused = job.undelivered >= max_undelivered
    job.num_consumed += count
    if was_paused:
        wake()


def deliver_to(loop: asyncio.AbstractEventLoop) -> Callable[[Sequence[Delivery]], None]:
    """Returns a function that hands events over to receivers in the thread of `loop`."""

    def hand_over(deliveries: Sequence[Delivery]) -> None:
        for job, event in deliveries:
            job.receive(event)

    def deliver(deliveries: Sequence[Delivery]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody listens any more
            loop.call_soon_threadsafe(hand_over, deliveries)

    return deliver
