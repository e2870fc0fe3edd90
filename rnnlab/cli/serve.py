"""`rnnlab serve`: serve bundles over HTTP."""

import logging
import os
from pathlib import Path

from rnnlab.bundle import open_bundle
from rnnlab.cli.deploy_commands import Serve
from rnnlab.serve.admin import admin_routes
from rnnlab.serve.app import make_app
from rnnlab.serve.audit import AuditLog
from rnnlab.serve.bundles import ENGINES, add_bundle
from rnnlab.serve.limits import Limits
from rnnlab.serve.server import LOOPBACK, listen, make_server
from rnnlab.serve.service import Service
from rnnlab.serve.versions import Versions
from rnnlab.validation import require_one_of


def serve(command: Serve) -> int:
    """Serves until SIGINT or SIGTERM, then lets running streams finish. Returns the exit code.

    Raises:
      BundleError: a bundle is invalid.
      ValueError: an option is out of range, or the bundles do not fit each other.
      OSError: the port is taken, or a file cannot be read or written.
    """
    require_one_of("engine", command.engine, ENGINES)
    limits = Limits(
        slots=command.slots,
        queue=command.queue,
        per_event=command.per_event,
        max_tokens=command.max_tokens,
        timeout=command.timeout,
        idle=command.idle,
        drain=command.drain,
    )
    shares = _shares(command)
    token = None if command.admin_token is None else _read_token(command.admin_token)
    logging.basicConfig(format="rnnlab: %(levelname)s: %(message)s", level=logging.WARNING)
    # Before anything is compiled, so that a taken port or a broken log is reported immediately.
    socket = listen(command.host, command.port)
    try:
        audit = None if command.audit is None else AuditLog(command.audit)
        versions = Versions(command.name or open_bundle(command.bundles[0]).name)
        numbers = []
        for path in command.bundles:
            print(f"loading {path}", flush=True)
            numbers.append(add_bundle(versions, path, limits, command.engine).number)
        versions.set_shares(dict(zip(numbers, shares, strict=True)))
        service = Service(versions, limits, audit=audit, audit_text=command.audit_text)
        admin = None
        if token is not None:
            admin = admin_routes(
                versions, lambda path: add_bundle(versions, path, limits, command.engine), token
            )
        app = make_app(service, admin=admin, allowed_hosts=_allowed_hosts(command))
        host, port = socket.getsockname()[:2]
        address = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        started = f"serving {versions.name} at {address}"
        make_server(app, service, on_start=lambda: print(started, flush=True)).run([socket])
    finally:
        socket.close()
    print("stopped", flush=True)
    return 0


def _shares(command: Serve) -> list[float]:
    """Returns the share of each bundle; default: all sessions to the last one."""
    count = len(command.bundles)
    if not count:
        raise ValueError(
            "at least one bundle must be named, got none; write one with rnnlab bundle"
        )
    if command.split is None:
        if count > 1:
            raise ValueError(
                f"split must be given for {count} bundles, got none; add --split, as in 0.9,0.1"
            )
        return [1.0]
    try:
        shares = [float(part) for part in command.split.split(",")]
    except ValueError:
        raise ValueError(
            f"split must be numbers between commas, got {command.split!r}; write 0.9,0.1"
        ) from None
    if len(shares) != count or abs(sum(shares) - 1) > 1e-6 or min(shares) <= 0:
        raise ValueError(
            f"split must be {count} positive numbers that add up to 1, got {command.split}; "
            "change it"
        )
    return shares


def _read_token(path: Path) -> str:
    """Returns the token of a file that only its owner may read."""
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise ValueError(f"{path} must be readable by its owner only; run chmod 600 {path}")
    return path.read_text(encoding="utf-8").strip()


def _allowed_hosts(command: Serve) -> tuple[str, ...] | None:
    """Returns the accepted values of the header Host; None accepts all."""
    if command.allow_host:
        return tuple(name.lower() for name in command.allow_host.split(","))
    return LOOPBACK if command.host in LOOPBACK else None
