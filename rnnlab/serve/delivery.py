"""Receivers of what the scheduler produces: events of jobs, and counts and times."""

from collections.abc import Callable, Sequence

from rnnlab.serve.jobs import Event, Job

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
