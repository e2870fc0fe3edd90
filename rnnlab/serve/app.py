"""The ASGI application: addresses, accepted hosts, and answers to errors."""

import logging
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from rnnlab.optional import require_module
from rnnlab.serve.endpoints import Endpoints
from rnnlab.serve.http import error_response
from rnnlab.serve.jobs import RequestError
from rnnlab.serve.service import Service

LOG = logging.getLogger("rnnlab.serve")
MODEL = "/v2/models/{model}"
VERSION = f"{MODEL}/versions/{{version}}"


def make_app(
    service: Service,
    *,
    admin: Callable[[Service], Sequence[Any]] | None = None,
    allowed_hosts: tuple[str, ...] | None = None,
) -> Any:
    """Returns the ASGI application of a service.

    Args:
      service: is started and closed with the application.
      admin: makes the routes of the administration, see `rnnlab.serve.admin.admin_routes`; None
        has none.
      allowed_hosts: accepted values of the header Host; None accepts all.
    """
    applications = require_module("starlette.applications", "serve")
    routing = require_module("starlette.routing", "serve")
    exceptions = require_module("starlette.exceptions", "serve")
    endpoints = Endpoints(service)

    def get(path: str, endpoint: Callable[..., Any]) -> Any:
        return routing.Route(path, endpoint, methods=["GET"])

    def post(path: str, endpoint: Callable[..., Any]) -> Any:
        return routing.Route(path, endpoint, methods=["POST"])

    routes = [
        get("/", endpoints.page),
        get("/metrics", endpoints.metrics),
        get("/v2", endpoints.server),
        get("/v2/health/live", endpoints.live),
        get("/v2/health/ready", endpoints.ready),
    ]
    for prefix in (MODEL, VERSION):
        routes += [
            get(prefix, endpoints.model),
            get(f"{prefix}/ready", endpoints.model_ready),
            post(f"{prefix}/infer", endpoints.infer),
            post(f"{prefix}/generate", endpoints.generate),
            post(f"{prefix}/generate_stream", endpoints.generate_stream),
        ]

    async def on_http_error(request: Any, error: Any) -> Any:
        message = (
            f"{request.url.path} must be an address of the API with its method, got "
            f"{request.method}: {error.detail}; see /v2"
        )
        return error_response(RequestError(error.status_code, message, reason="address"))

    async def on_request_error(request: Any, error: RequestError) -> Any:
        return error_response(error)

    async def on_failure(request: Any, error: Exception) -> Any:
        message = "the server failed; see its log"
        return error_response(RequestError(500, message, reason="internal"))

    @asynccontextmanager
    async def lifespan(app: Any):
        async with service.running():
            yield

    app = applications.Starlette(
        routes=[*routes, *(() if admin is None else admin(service))],
        lifespan=lifespan,
        exception_handlers={
            exceptions.HTTPException: on_http_error,
            RequestError: on_request_error,
            Exception: on_failure,
        },
    )
    return app if allowed_hosts is None else _HostCheck(app, allowed_hosts)


class _HostCheck:
    """Rejects other values of the header Host.

    A page of another site can give its own name the address of this machine; then the browser lets
    it read the answers of a server here, but sends the name.
    """

    def __init__(self, app: Any, hosts: tuple[str, ...]):
        self._app, self._hosts = app, frozenset(hosts)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            if host_name(given) not in self._hosts:
                error = RequestError(
                    421,
                    f"Host must be one of {', '.join(sorted(self._hosts))}, got {given[:60]!r}; "
                    "start the server with --allow-host",
                    field="Host",
                    reason="host",
                )
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def host_name(host: str) -> str:
    """Returns the name in a header Host, without the port.

    >>> host_name("Localhost:8000"), host_name("[::1]:8000"), host_name("[::1]")
    ('localhost', '[::1]', '[::1]')
    """
    name, separator, port = host.rpartition(":")
    return (name if separator and port.isdigit() else host).lower()
