"""The limits of a server: how many streams, how long, how large."""

import dataclasses
from dataclasses import dataclass

from rnnlab.argument_errors import explain_constructor
from rnnlab.validation import require_positive_int


@explain_constructor
@dataclass(frozen=True)
class Limits:
    """The limits of a server. A request beyond one gets an error that names it.

    Attributes:
      slots: streams that have a state at the same time.
      queue: requests that wait for a slot; one more gets status 429.
      per_event: tokens that one device call computes for a stream and one event carries.
      max_tokens: tokens that one stream may generate.
      max_inputs: time steps of one request's inputs; for text, its symbols.
      max_steps: time steps that one sequence may read in all of its requests.
      max_body: bytes of a request.
      max_undelivered: events that a client may leave unread before its stream pauses.
      timeout: seconds after which a request ends, its waiting time included; a request may set a
        smaller one.
      idle: seconds after which a sequence without a request loses its slot.
      send_timeout: seconds that a client may block an event before its stream ends.
      body_timeout: seconds in which a request must have arrived.
      drain: seconds that running streams get to finish when the server shuts down.

    Raises:
      ValueError: a limit is not positive.

    >>> Limits(slots=4).queue
    512
    """

    slots: int = 256
    queue: int = 512
    per_event: int = 8
    max_tokens: int = 4096
    max_inputs: int = 16384
    max_steps: int = 1 << 24
    max_body: int = 1 << 20
    max_undelivered: int = 32
    timeout: float = 120.0
    idle: float = 60.0
    send_timeout: float = 20.0
    body_timeout: float = 10.0
    drain: float = 20.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type is int or field.type == "int":
                require_positive_int(**{field.name: value})
            elif not 0 < value < float("inf"):
                raise ValueError(f"{field.name} must be > 0 seconds and finite, got {value}")
