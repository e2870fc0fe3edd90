"""Streams, which hold a slot of state, and jobs, which are requests on streams."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

EndReason = Literal["length", "stop", "end"]
"""Why a job ended as it should: all tokens, a stop symbol, or all inputs read."""


class RequestError(Exception):
    """A request that cannot be served.

    Attributes:
      status: of HTTP.
      message: what must hold, what was found, and what to do.
      field: the name of the argument; None if the error is about no single one.
      reason: one word for metrics.
      retry_after: seconds after which a retry may succeed; None if it cannot.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        field: str | None = None,
        reason: str = "invalid",
        retry_after: int | None = None,
    ):
        super().__init__(message)
        self.status, self.message, self.field = status, message, field
        self.reason, self.retry_after = reason, retry_after


@dataclass(eq=False)
class Stream:
    """The state of one client in one version of a model.

    Attributes:
      version: whose weights made the state; a stream keeps it until it ends.
      row: its slot; None before it got one and after it ended.
      steps: time steps that it has read.
      busy: whether a job works on it.
      idle_since: when its last job ended, in seconds of the monotonic clock.
      closed: why it ended; None while it lives.
    """

    version: Any
    row: int | None = None
    steps: int = 0
    busy: bool = False
    idle_since: float = 0.0
    closed: str | None = None


@dataclass(frozen=True)
class Event:
    """Part of the answer to a job, in the order of the stream.

    Attributes:
      tokens: generated since the event before.
      outputs: (time, out_features), predictions for the inputs; None if they are not asked for.
      inputs: (time,) or (time, in_features), the inputs that were read; None if none were.
      surprise: (time,), negative log likelihoods of these inputs.
      first_step: time steps that the stream had read before them.
      end: why the job ended; None if more events follow.
      error: ends the job as well.
    """

    tokens: tuple[int, ...] = ()
    outputs: np.ndarray | None = None
    inputs: np.ndarray | None = None
    surprise: np.ndarray | None = None
    first_step: int = 0
    end: EndReason | None = None
    error: RequestError | None = None

    @property
    def is_last(self) -> bool:
        """Whether the job ended."""
        return self.end is not None or self.error is not None


@dataclass(eq=False)
class Job:
    """A request: reads inputs, then generates tokens.

    Attributes:
      stream: on whose state it works.
      inputs: token ids (time,) or values (time, in_features), at least one.
      receive: gets every event, in the event loop's thread.
      gaps: (time,), time since the input before; None if the model does not use it.
      settings: of `rnnlab.serve.sampling`.
      max_tokens: tokens to generate; 0 only reads.
      stop: tokens that end the job; they are not part of the answer.
      wants_outputs: whether events carry the predictions for the inputs.
      keeps_stream: whether the stream keeps its slot afterwards.
      deadline: when the job ends with an error, in seconds of the monotonic clock.
    """

    stream: Stream
    inputs: np.ndarray
    receive: Callable[[Event], None]
    gaps: np.ndarray | None = None
    settings: np.ndarray | None = None
    max_tokens: int = 0
    stop: frozenset[int] = frozenset()
    wants_outputs: bool = False
    keeps_stream: bool = False
    deadline: float = float("inf")
    # Of the scheduler:
    num_read: int = field(default=0, init=False)
    num_generated: int = field(default=0, init=False)
    num_emitted: int = field(default=0, init=False)
    cancelled: bool = field(default=False, init=False)
    has_ended: bool = field(default=False, init=False)
    submitted: float = field(default=0.0, init=False)
    # Of the receiver. Each thread changes only its own count, so that no change is lost.
    num_consumed: int = field(default=0, init=False)

    @property
    def undelivered(self) -> int:
        """Events that the receiver has not consumed."""
        return self.num_emitted - self.num_consumed

    def cancel(self) -> None:
        """Asks the scheduler to end the job without an answer. Any thread may call it."""
        self.cancelled = True
