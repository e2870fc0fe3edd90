"""Bodies of requests, and answers and errors as JSON."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from rnnlab.optional import require_module
from rnnlab.serve.fields import parse_object
from rnnlab.serve.jobs import RequestError
from rnnlab.serve.limits import Limits

Result = TypeVar("Result")


def json_response(value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Any:
    """Returns a response with JSON.

    >>> json_response({"live": True}).body
    b'{"live":true}'
    """
    responses = require_module("starlette.responses", "serve")
    content = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return responses.Response(content, status, headers=headers, media_type="application/json")


def error_response(error: RequestError) -> Any:
    """Returns the response of an error.

    >>> error_response(RequestError(422, "seed must be >= 0", field="seed")).body
    b'{"error":"seed must be >= 0","reason":"invalid","field":"seed"}'
    """
    body = {"error": error.message, "reason": error.reason}
    if error.field is not None:
        body["field"] = error.field
    headers = {}
    if error.retry_after is not None:
        headers["retry-after"] = str(error.retry_after)
    if error.status in (408, 413):
        headers["connection"] = "close"  # the rest of the body is not read
    return json_response(body, error.status, headers)


async def read_object(request: Any, limits: Limits) -> dict[str, Any]:
    """Returns the JSON object that is the body of a request.

    Raises:
      RequestError: the body is too large, too slow, or not JSON.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise RequestError(
            415,
            f"Content-Type must be application/json, got {kind[:60]!r}; set the header",
            field="Content-Type",
        )
    too_large = RequestError(
        413, f"the body must have at most {limits.max_body} bytes; send less", reason="too_large"
    )
    announced = request.headers.get("content-length", "")
    if announced.isdigit() and int(announced) > limits.max_body:
        raise too_large
    parts, size = [], 0
    try:
        async with asyncio.timeout(limits.body_timeout):
            async for part in request.stream():
                size += len(part)
                if size > limits.max_body:
                    raise too_large
                parts.append(part)
    except TimeoutError:
        raise RequestError(
            408,
            f"the body must arrive within {limits.body_timeout:g} s; send it faster",
            reason="slow",
        ) from None
    return parse_object(b"".join(parts))


async def unless_disconnected(
    request: Any, work: Awaitable[Result], on_disconnect: Callable[[], None] = lambda: None
) -> Result:
    """Returns the result of `work`, which is cancelled if the client disconnects.

    Raises:
      RequestError: the client has disconnected; nobody reads the answer.
    """
    task = asyncio.ensure_future(work)
    watcher = asyncio.ensure_future(_disconnected(request))
    try:
        await asyncio.wait((task, watcher), return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            return task.result()
        raise RequestError(499, "the client disconnected", reason="cancelled")
    finally:
        watcher.cancel()
        if not task.done():
            task.cancel()
            on_disconnect()


async def _disconnected(request: Any) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
