"""Answers as server-sent events: one event per device call."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from rnnlab.serve.jobs import Event, Job
from rnnlab.serve.mailbox import Mailbox, consume
from rnnlab.serve.text import TextDecoder

HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
]
Message = dict[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class EventEncoder:
    """Encodes the events of one job as server-sent events.

    Args:
      header: fields of every event, such as the name of the model.
      decoder: of the tokens.
      return_tokens: whether events have token ids.

    >>> encoder = EventEncoder({"model_name": "m"}, TextDecoder(("a", "b")), False)
    >>> encoder.encode([Event(tokens=(0, 1))])
    b'data: {"model_name":"m","text_output":"ab"}\\n\\n'
    """

    def __init__(self, header: dict[str, Any], decoder: TextDecoder, return_tokens: bool):
        # Only the text differs from event to event.
        self._prefix = json.dumps(header, separators=(",", ":"))[:-1] + ","
        self._decoder = decoder
        self._return_tokens = return_tokens
        self.num_tokens = 0

    def encode(self, events: Sequence[Event]) -> bytes:
        """Returns the bytes of events; nothing for those that only read inputs."""
        return b"".join(map(self._encode, events))

    def _encode(self, event: Event) -> bytes:
        if not event.tokens and not event.is_last:
            return b""
        self.num_tokens += len(event.tokens)
        text = self._decoder.feed(event.tokens)
        if event.is_last:
            text += self._decoder.finish()
        body = f'{self._prefix}"text_output":{json.dumps(text)}'
        if self._return_tokens:
            body += f',"tokens":{json.dumps(event.tokens)}'
        if event.end is not None:
            body += f',"finish_reason":"{event.end}","num_tokens":{self.num_tokens}'
        if event.error is not None:
            reason = json.dumps(event.error.reason)
            body += f',"error":{json.dumps(event.error.message)},"finish_reason":{reason}'
        return f"data: {body}}}\n\n".encode()


class EventStream:
    """An ASGI response that sends the events of a job as they come.

    The job is cancelled if the client disconnects, or does not read for `send_timeout` seconds.

    Args:
      job: whose events are sent.
      mailbox: where they arrive.
      first: the events that have arrived already.
      encoder: of events.
      wake: continues a job that was paused.
      max_undelivered: events after which the scheduler pauses the job.
      send_timeout: seconds.
      on_finish: gets all tokens and the last event, None without one.
      collects: whether `on_finish` needs the tokens.
    """

    status_code = 200

    def __init__(
        self,
        job: Job,
        mailbox: Mailbox,
        first: list[Event],
        encoder: EventEncoder,
        *,
        wake: Callable[[], None],
        max_undelivered: int,
        send_timeout: float,
        on_finish: Callable[[list[int], Event | None], None],
        collects: bool,
    ):
        self._job, self._mailbox, self._events, self._encoder = job, mailbox, first, encoder
        self._wake, self._max_undelivered = wake, max_undelivered
        self._send_timeout, self._on_finish, self._collects = send_timeout, on_finish, collects

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Sends all events."""
        watcher = asyncio.create_task(self._watch(receive))
        tokens: list[int] = []
        last: Event | None = None
        try:
            await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
            events = self._events
            while last is None:
                body = self._encoder.encode(events)
                last = events[-1] if events[-1].is_last else None
                if self._collects:
                    tokens.extend(token for event in events for token in event.tokens)
                if body:
                    # Blocks while the client does not read; then events pile up, and the
                    # scheduler pauses the job.
                    async with asyncio.timeout(self._send_timeout):
                        await send(
                            {"type": "http.response.body", "body": body, "more_body": last is None}
                        )
                consume(self._job, len(events), self._max_undelivered, self._wake)
                if last is None:
                    events = await self._mailbox.take()
        except TimeoutError:
            self._job.cancel()
            self._wake()
        finally:
            watcher.cancel()
            if not self._job.has_ended:
                self._job.cancel()
                self._wake()
            self._on_finish(tokens, last)

    async def _watch(self, receive: Receive) -> None:
        """Cancels the job when the client disconnects."""
        while (await receive())["type"] != "http.disconnect":
            pass
        if not self._job.has_ended:
            self._job.cancel()
            self._wake()
