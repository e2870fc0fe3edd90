"""Runs the application with uvicorn: signals, draining, and a server in a thread for tests."""

import contextlib
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from rnnlab.errors import InsufficientResourcesError
from rnnlab.optional import require_module
from rnnlab.serve.service import Service

SIGNALS = (signal.SIGINT, signal.SIGTERM)
LOOPBACK = ("127.0.0.1", "localhost", "[::1]", "::1")
"""Names of this machine, as host to listen on and in the header Host."""


def listen(host: str, port: int) -> socket.socket:
    """Returns a socket that is bound to an address.

    Raises:
      ValueError: the host is unknown, or the port is not one.
      InsufficientResourcesError: the port is taken or not allowed.
    """
    if not 0 <= port < 65536:
        raise ValueError(f"port must be in 0 to 65535, got {port}; change --port")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (socket.gaierror, UnicodeError) as error:
        raise ValueError(
            f"host must be an address of this machine, got {host!r} ({error}); change --host"
        ) from None
    bound = socket.socket(family, kind, protocol)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError as error:
        bound.close()
        raise InsufficientResourcesError(
            f"{host}:{port} must be free to listen on, got {error.strerror}; choose another --port"
        ) from None
    return bound


def make_server(
    app: Any,
    service: Service,
    *,
    max_connections: int | None = None,
    on_start: Callable[[], None] = lambda: None,
) -> Any:
    """Returns a uvicorn server that drains its streams before it stops.

    The first SIGINT or SIGTERM refuses new requests and lets running streams finish for
    `limits.drain` seconds; a second one ends them immediately.

    Args:
      app: of `rnnlab.serve.app.make_app`.
      service: of the application.
      max_connections: more are answered with status 503; None: four for each stream that can run
        or wait.
      on_start: is called when the server listens and handles signals.
    """
    uvicorn = require_module("uvicorn", "serve")
    limits = service.limits

    class Server(uvicorn.Server):
        """A server that drains."""

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            if threading.current_thread() is not threading.main_thread():
                yield
                return
            previous = {number: signal.signal(number, self.handle_exit) for number in SIGNALS}
            try:
                yield
            finally:
                for number, handler in previous.items():
                    signal.signal(number, handler)

        async def startup(self, sockets: Any = None) -> None:
            """Starts to listen."""
            await super().startup(sockets)
            if self.started:
                on_start()

        def handle_exit(self, sig: int, frame: Any) -> None:
            """Starts to drain; a second signal ends what still runs."""
            # In a thread: the signal may have interrupted code that holds the scheduler's lock.
            seconds = 0.0 if self.should_exit else limits.drain
            if service.scheduler is not None:
                drain = threading.Thread(target=service.scheduler.drain, args=(seconds,))
                drain.start()
            self.should_exit = True

        def stop(self) -> None:
            """Does what a signal does."""
            self.handle_exit(signal.SIGTERM, None)

    config = uvicorn.Config(
        app,
        http="httptools",
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_level="warning",
        access_log=False,
        server_header=False,
        limit_concurrency=max_connections or 4 * (limits.slots + limits.queue),
        timeout_keep_alive=15,
        timeout_graceful_shutdown=int(limits.drain) + 5,
        backlog=2048,
    )
    return Server(config)


@contextlib.contextmanager
def running_in_thread(app: Any, service: Service, seconds: float = 30.0) -> Iterator[int]:
    """Serves on a free port in a thread of this process while the context lasts. Yields the port.

    Raises:
      RuntimeError: it did not start within `seconds`.
    """
    server, bound = make_server(app, service), listen(LOOPBACK[0], 0)
    thread = threading.Thread(target=server.run, args=([bound],), name="server", daemon=True)
    thread.start()
    end = time.monotonic() + seconds
    while not server.started:
        if time.monotonic() > end or not thread.is_alive():
            raise RuntimeError(f"the server must start within {seconds:g} s; see its log")
        time.sleep(0.01)
    try:
        yield bound.getsockname()[1]
    finally:
        server.stop()
        thread.join()
