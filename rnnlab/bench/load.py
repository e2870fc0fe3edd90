"""A bounded load of concurrent streams on a server of this machine, by sockets and asyncio."""

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

LOOPBACK = ("127.0.0.1", "::1", "localhost")
MAX_STREAMS = 4096
MAX_SECONDS = 3600.0


@dataclass(frozen=True)
class Load:
    """Streams that request one continuation after another until the time is over.

    Attributes:
      port: of the server on this machine.
      model: its name in addresses.
      streams: concurrent connections.
      seconds: measured time, after `warm_up`.
      warm_up: seconds before.
      prompt: text to continue.
      max_tokens: per continuation; a multiple of the tokens of an event.
      host: an address of this machine.

    Raises:
      ValueError: the host is another machine, or a number is out of range.
    """

    port: int
    model: str
    streams: int
    seconds: float
    warm_up: float = 1.0
    prompt: str = "a"
    max_tokens: int = 512
    host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        if self.host not in LOOPBACK:
            raise ValueError(
                f"host must be one of {', '.join(LOOPBACK)}, got {self.host!r}: the load is for a "
                "server on the same machine"
            )
        if not 1 <= self.streams <= MAX_STREAMS:
            raise ValueError(f"streams must be in 1 to {MAX_STREAMS}, got {self.streams}")
        if not 0 < self.seconds <= MAX_SECONDS:
            raise ValueError(f"seconds must be in (0, {MAX_SECONDS:g}], got {self.seconds}")


@dataclass(frozen=True)
class LoadResult:
    """The events that the clients of a load received in the measured time.

    Attributes:
      events: number of events.
      seconds: measured time.
      gaps: seconds between two events of a stream, as they arrived.
      first: seconds from a request to its first event.
      finished: continuations that ended.
      refused: requests with status 429 or 503.
      failed: requests with another status, or an error in the stream.
    """

    events: int
    seconds: float
    gaps: np.ndarray
    first: np.ndarray
    finished: int
    refused: int
    failed: int


def run_load(load: Load) -> LoadResult:
    """Runs a load in this process. The server should be another one."""
    try:
        import uvloop

        factory: Callable[[], asyncio.AbstractEventLoop] | None = uvloop.new_event_loop
    except ModuleNotFoundError:
        factory = None
    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(_run(load))


async def _run(load: Load) -> LoadResult:
    loop = asyncio.get_running_loop()
    start = time.perf_counter() + load.warm_up
    clients = [_Client(load, start, seed) for seed in range(load.streams)]
    for client in clients:
        await loop.create_connection(lambda client=client: client, load.host, load.port)
    await asyncio.sleep(load.warm_up + load.seconds)
    end = time.perf_counter()
    for client in clients:
        client.close()
    await asyncio.sleep(0.05)
    return LoadResult(
        events=sum(client.events for client in clients),
        seconds=end - start,
        gaps=np.concatenate([np.asarray(client.gaps) for client in clients]),
        first=np.concatenate([np.asarray(client.first) for client in clients]),
        finished=sum(client.finished for client in clients),
        refused=sum(client.refused for client in clients),
        failed=sum(client.failed for client in clients),
    )


class _Client(asyncio.Protocol):
    """One connection, which requests one continuation after another."""

    def __init__(self, load: Load, start: float, seed: int):
        self._load, self._start, self._seed = load, start, seed
        self._transport: asyncio.Transport | None = None
        self._closed = False
        self.events = self.finished = self.refused = self.failed = 0
        self.gaps: list[float] = []
        self.first: list[float] = []

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Sends the first request."""
        self._transport = transport
        self._request()

    def close(self) -> None:
        """Ends the connection."""
        self._closed = True
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, error: Exception | None) -> None:
        """Counts a connection that the server closed."""
        self.failed += not self._closed

    def _request(self) -> None:
        load = self._load
        parameters = {"max_tokens": load.max_tokens, "seed": self._seed}
        body = json.dumps({"text_input": load.prompt, "parameters": parameters}).encode()
        self._seed += load.streams
        self._sent, self._latest, self._tail = time.perf_counter(), 0.0, b""
        self._status: int | None = None
        self._transport.write(
            f"POST /v2/models/{load.model}/generate_stream HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )

    def data_received(self, data: bytes) -> None:
        """Counts events, and requests again after the last one."""
        now = time.perf_counter()
        if self._status is None:
            self._status = int(data[9:12])
            if self._status != 200:
                self._refused()
                return
        events = data.count(b"data: ")
        if events and now >= self._start:
            self.events += events
            if self._latest > self._start:
                self.gaps.append(now - self._latest)
            elif not self._latest and self._sent > self._start:
                self.first.append(now - self._sent)
        if events:
            self._latest = now
        self._tail = (self._tail + data)[-256:]
        if self._tail.endswith(b"0\r\n\r\n"):
            is_error = b'"error":' in self._tail
            self.failed += is_error
            self.finished += not is_error
            if not self._closed:
                self._request()

    def _refused(self) -> None:
        """Retries a little later."""
        is_overload = self._status in (429, 503)
        self.refused += is_overload
        self.failed += not is_overload
        if not self._closed:
            asyncio.get_running_loop().call_later(0.05, self._retry)

    def _retry(self) -> None:
        if not self._closed and not self._transport.is_closing():
            self._request()
