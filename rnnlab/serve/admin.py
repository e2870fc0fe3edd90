"""Administration: load a version, share sessions out, roll back. Requests have a secret token."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from typing import Any

from rnnlab.optional import require_module
from rnnlab.serve.fields import Fields, invalid
from rnnlab.serve.http import json_response, read_object
from rnnlab.serve.jobs import RequestError
from rnnlab.serve.service import Service
from rnnlab.serve.versions import Version, Versions

MAX_PATH = 4096
MIN_TOKEN = 16
"""Characters of a token that nobody guesses."""


def admin_routes(
    versions: Versions, load: Callable[[str], Version], token: str
) -> Callable[[Service], Sequence[Any]]:
    """Returns a function that makes the routes of the administration for `make_app`.

    Args:
      versions: of the model.
      load: loads the bundle at a path as a new version, in a thread; it may take seconds.
      token: what the header `Authorization: Bearer TOKEN` must have.

    Raises:
      ValueError: the token is too short.
    """
    if len(token) < MIN_TOKEN:
        raise ValueError(
            f"the admin token must have at least {MIN_TOKEN} characters, got {len(token)}; make "
            "one with `python -c 'import secrets; print(secrets.token_urlsafe())'`"
        )
    routing = require_module("starlette.routing", "serve")
    loading = asyncio.Lock()

    def routes(service: Service) -> Sequence[Any]:

        async def fields(request: Any, *names: str) -> Fields:
            found = Fields(await read_object(request, service.limits))
            found.require_known(names)
            return found

        def table() -> Any:
            shares = versions.shares
            return json_response(
                {
                    "versions": [
                        {
                            "version": version.number,
                            "digest": version.digest,
                            "share": shares.get(version.number, 0),
                            "streams": version.num_rows,
                            "failures": version.failures,
                            "drift": _drift(version),
                        }
                        for version in versions.loaded
                    ],
                    "audit_head": None if service.audit is None else service.audit.head,
                }
            )

        async def show(request: Any) -> Any:
            return table()

        async def load_version(request: Any) -> Any:
            path = (await fields(request, "bundle")).text("bundle", MAX_PATH)
            if path is None:
                raise invalid("bundle", "be the path of a bundle on the server", None, "add it")
            async with loading:
                try:
                    version = await asyncio.to_thread(load, path)
                except (ValueError, OSError) as error:
                    raise RequestError(422, f"bundle: {error}", field="bundle") from None
            service.record(
                {"event": "load", "version": version.number, "bundle_sha256": version.digest}
            )
            return table()

        async def share(request: Any) -> Any:
            shares = (await fields(request, "shares"))["shares"]
            is_shares = isinstance(shares, dict) and all(
                isinstance(x, int | float) and not isinstance(x, bool) for x in shares.values()
            )
            if not is_shares or not shares:
                raise invalid("shares", "have a number for each version", shares, "change it")
            return change(lambda: versions.set_shares(shares))

        async def roll_back(request: Any) -> Any:
            await fields(request)
            return change(versions.roll_back)

        def change(act: Callable[[], Any]) -> Any:
            try:
                act()
            except ValueError as error:
                raise RequestError(422, str(error), field="shares") from None
            service.record({"event": "shares", "shares": versions.shares})
            return table()

        def guarded(endpoint: Callable[..., Any]) -> Callable[..., Any]:
            async def checked(request: Any) -> Any:
                given = request.headers.get("authorization", "")
                if not secrets.compare_digest(given.encode(), f"Bearer {token}".encode()):
                    raise RequestError(
                        401,
                        "Authorization must be Bearer with the admin token; set the header",
                        field="Authorization",
                        reason="unauthorized",
                    )
                return await endpoint(request)

            return checked

        return [
            routing.Route("/admin/versions", guarded(show), methods=["GET"]),
            routing.Route("/admin/versions", guarded(load_version), methods=["POST"]),
            routing.Route("/admin/shares", guarded(share), methods=["POST"]),
            routing.Route("/admin/rollback", guarded(roll_back), methods=["POST"]),
        ]

    return routes


def _drift(version: Version) -> dict[str, Any] | None:
    """Returns the statistics of a version's drift monitor."""
    monitor = version.monitor
    if monitor is None:
        return None
    return {
        "alarms": monitor.alarms,
        "out_of_range": monitor.out_of_range,
        "statistics": {
            name: {
                "windows": one.windows,
                "latest": one.latest if one.windows else None,
                "low": one.low,
                "high": one.high,
            }
            for name, one in monitor.statistics.items()
        },
    }
