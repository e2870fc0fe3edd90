"""The HTTP application: routes, validation and answers. The scheduler does the work."""

import asyncio
import dataclasses
import functools
import json
import logging
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

import rnnlab
from rnnlab.optional import require_module
from rnnlab.serve.audit import AuditLog, sha256
from rnnlab.serve.drift import DriftMonitor
from rnnlab.serve.fields import parse_object
from rnnlab.serve.jobs import Event, Job, RequestError, Stream
from rnnlab.serve.limits import Limits
from rnnlab.serve.mailbox import Mailbox, consume, deliver_to
from rnnlab.serve.metrics import Metrics
from rnnlab.serve.page import page_response
from rnnlab.serve.protocol import (
    GenerateRequest,
    InferRequest,
    parse_generate,
    parse_infer,
    session_of,
    tensor,
)
from rnnlab.serve.sampling import settings_row
from rnnlab.serve.scheduler import Scheduler
from rnnlab.serve.streaming import EventEncoder, EventStream
from rnnlab.serve.text import TextDecoder
from rnnlab.serve.versions import Version, Versions

LOG = logging.getLogger("rnnlab.serve")
EXTENSIONS = ("generate", "sequence")


class Service:
    """A server of one model: its versions, scheduler, sequences, metrics and audit log.

    Args:
      versions: loaded versions, with their shares.
      limits: of requests.
      audit: where requests are recorded; None records nothing.
      audit_text: whether the audit log has prompts and answers, not only their digests.
    """

    def __init__(
        self,
        versions: Versions,
        limits: Limits,
        *,
        audit: AuditLog | None = None,
        audit_text: bool = False,
    ):
        self.versions, self.limits = versions, limits
        self.audit, self.audit_text = audit, audit_text
        self.metrics = Metrics()
        self.scheduler: Scheduler | None = None
        self._sequences: dict[str, Stream] = {}
        gauge = self.metrics.gauge
        gauge("slots", "Slots of state.", lambda: limits.slots)
        gauge("streams", "Streams that have a slot.", lambda: self._state("num_active"))
        gauge("queue_length", "Requests that wait for a slot.", lambda: self._state("num_queued"))

    def _state(self, name: str) -> float:
        return 0 if self.scheduler is None else getattr(self.scheduler, name)

    @property
    def is_ready(self) -> bool:
        """Whether requests are accepted."""
        scheduler = self.scheduler
        return (
            scheduler is not None
            and scheduler.is_alive
            and not scheduler.is_draining
            and bool(self.versions.shares)
            and (self.audit is None or self.audit.failure is None)
        )

    @asynccontextmanager
    async def running(self):
        """Runs the scheduler while the event loop serves requests."""
        self.scheduler = Scheduler(
            self.limits, deliver_to(asyncio.get_running_loop()), self.metrics
        )
        self.scheduler.start()
        self.record({"event": "start", "versions": self._digests()})
        try:
            yield self
        finally:
            await asyncio.to_thread(self.scheduler.close)
            self.record({"event": "stop"})
            if self.audit is not None:
                await asyncio.to_thread(self.audit.close)

    def _digests(self) -> dict[str, str]:
        return {version.number: version.digest for version in self.versions.loaded}

    def record(self, record: Mapping[str, Any]) -> None:
        """Appends a record to the audit log.

        Raises:
          RequestError: the log cannot be written, so that nothing may be served.
        """
        if self.audit is None:
            return
        try:
            self.audit.append({"time": _now(), **record})
        except OSError as error:
            raise RequestError(
                503,
                f"the audit log must be writable to serve, but it is not: {error}",
                reason="audit",
            ) from None

    def require_audit(self) -> None:
        """Raises if requests must be recorded and cannot be.

        Raises:
          RequestError: an earlier record could not be written.
        """
        if self.audit is not None and self.audit.failure is not None:
            raise RequestError(
                503,
                f"the audit log must be writable to serve, but it is not: {self.audit.failure}",
                reason="audit",
            )

    def choose(self, number: str | None, session: str | None) -> Version:
        """Returns the version of a request."""
        if number is not None:
            return self.versions.get(number)
        return self.versions.choose(session or secrets.token_hex(8))

    def start_job(self, stream: Stream, inputs: np.ndarray, timeout: float, **options: Any):
        """Submits a job. Returns it and the mailbox of its events."""
        self.require_audit()
        mailbox = Mailbox()
        deadline = time.monotonic() + timeout
        job = Job(stream, inputs, mailbox.put, deadline=deadline, **options)
        self.scheduler.submit(job)
        return job, mailbox

    def start_generate(self, request: GenerateRequest, version: Version):
        """Submits the job of a request for a continuation."""
        return self.start_job(
            Stream(version),
            request.prompt,
            request.timeout,
            settings=settings_row(request.seed, request.temperature, request.top_k),
            max_tokens=request.max_tokens,
            stop=request.stop,
        )

    async def take(self, job: Job, mailbox: Mailbox) -> list[Event]:
        """Returns the events of a job that have arrived, and counts them as consumed."""
        events = await mailbox.take()
        consume(job, len(events), self.limits.max_undelivered, self.scheduler.wake)
        return events

    def observe(self, version: Version, events: list[Event]) -> None:
        """Passes what was read to the drift monitor of a version."""
        monitor: DriftMonitor | None = version.monitor
        if monitor is not None:
            for event in events:
                if event.surprise is not None:
                    monitor.observe_surprise(event.surprise)

    async def infer(self, request: InferRequest, version: Version) -> np.ndarray:
        """Returns the predictions for all time steps, (batch, time, out_features).

        Raises:
          RequestError: a sequence is unknown or has ended, or a limit is reached.
        """
        streams = [self._stream(request, version) for _ in request.inputs]
        if request.sequence_id is not None:
            steps = streams[0].steps + request.inputs.shape[1]
            if steps > self.limits.max_steps:
                raise RequestError(
                    422,
                    f"a sequence must have at most {self.limits.max_steps} time steps, got "
                    f"{steps}; start it again",
                    field="sequence_id",
                )
        jobs = []
        try:
            for k, stream in enumerate(streams):
                gaps = None if request.gaps is None else request.gaps[k]
                keeps = request.sequence_id is not None and not request.end
                options = {"gaps": gaps, "wants_outputs": True, "keeps_stream": keeps}
                jobs.append(self.start_job(stream, request.inputs[k], request.timeout, **options))
            return np.stack([await self._outputs(*job) for job in jobs])
        finally:
            if request.sequence_id is not None and streams[0].closed is not None:
                self._sequences.pop(request.sequence_id, None)
            for job, _ in jobs:
                if not job.has_ended:
                    job.cancel()
                    self.scheduler.wake()

    async def _outputs(self, job: Job, mailbox: Mailbox) -> np.ndarray:
        """Returns the predictions of one job."""
        parts = []
        while True:
            events = await self.take(job, mailbox)
            self.observe(job.stream.version, events)
            for event in events:
                if event.error is not None:
                    raise event.error
                parts.append(event.outputs)
            if events[-1].is_last:
                return np.concatenate(parts)

    def _stream(self, request: InferRequest, version: Version) -> Stream:
        """Returns the stream of a request: a new one, or that of its sequence."""
        name = request.sequence_id
        if name is None:
            return Stream(version)
        stream = self._sequences.get(name)
        if request.start:
            if stream is not None and stream.busy:
                raise RequestError(
                    409,
                    "sequence_id must be new to start, but a request for it runs; wait for it",
                    field="sequence_id",
                    reason="sequence",
                )
            if stream is not None:
                self.scheduler.release(stream)
            self._forget_closed()
            stream = self._sequences[name] = Stream(version)
        elif stream is None or stream.closed is not None:
            self._sequences.pop(name, None)
            ended = "" if stream is None else f": {stream.closed}"
            raise RequestError(
                404,
                f"sequence_id must name a sequence that is alive, got {name[:40]!r}, which "
                f"{'never started' if stream is None else 'ended'}{ended}; set sequence_start",
                field="sequence_id",
                reason="sequence",
            )
        return stream

    def version_of_sequence(self, sequence_id: str | None) -> Version | None:
        """Returns the version that a sequence began with; None if it is not alive."""
        stream = self._sequences.get(sequence_id or "")
        return None if stream is None or stream.closed is not None else stream.version

    def _forget_closed(self) -> None:
        """Keeps the table of sequences as small as the slots."""
        if len(self._sequences) > 2 * (self.limits.slots + self.limits.queue):
            self._sequences = {
                name: stream for name, stream in self._sequences.items() if stream.closed is None
            }


def make_app(service: Service, *, admin: Any = None, allowed_hosts: tuple[str, ...] | None = None):
    """Returns the ASGI application of a service.

    Args:
      service: is started and closed with the application.
      admin: routes of `rnnlab.serve.admin.admin_routes`; None has none.
      allowed_hosts: values of the header Host that are accepted; None accepts all.
    """
    applications = require_module("starlette.applications", "serve")
    routing = require_module("starlette.routing", "serve")
    exceptions = require_module("starlette.exceptions", "serve")
    responses = require_module("starlette.responses", "serve")
    endpoints = _Endpoints(service, responses)
    model = "/v2/models/{model}"
    version = f"{model}/versions/{{version}}"

    def get(path: str, endpoint: Callable) -> Any:
        return routing.Route(path, endpoint, methods=["GET"])

    def post(path: str, endpoint: Callable) -> Any:
        return routing.Route(path, endpoint, methods=["POST"])

    routes = [
        get("/", endpoints.page),
        get("/metrics", endpoints.metrics),
        get("/v2", endpoints.server),
        get("/v2/health/live", endpoints.live),
        get("/v2/health/ready", endpoints.ready),
    ]
    for prefix in (model, version):
        routes += [
            get(prefix, endpoints.model),
            get(f"{prefix}/ready", endpoints.model_ready),
            post(f"{prefix}/infer", endpoints.infer),
            post(f"{prefix}/generate", endpoints.generate),
            post(f"{prefix}/generate_stream", endpoints.generate_stream),
        ]

    async def on_http_error(request, error):
        message = f"{request.url.path} must be an address of the API with its method, got "
        message += f"{request.method}: {error.detail}; see /v2"
        return endpoints.error(RequestError(error.status_code, message, reason="address"))

    async def on_request_error(request, error):
        return endpoints.error(error)

    async def on_failure(request, error):
        LOG.error("a request failed", exc_info=error)
        message = "the server failed; see its log"
        return endpoints.error(RequestError(500, message, reason="internal"))

    @asynccontextmanager
    async def lifespan(app):
        async with service.running():
            yield

    app = applications.Starlette(
        routes=[*routes, *(admin(endpoints) if admin is not None else ())],
        lifespan=lifespan,
        exception_handlers={
            exceptions.HTTPException: on_http_error,
            RequestError: on_request_error,
            Exception: on_failure,
        },
    )
    app.state.service = service
    return app if allowed_hosts is None else _HostCheck(app, allowed_hosts, endpoints)


class _HostCheck:
    """Refuses other values of the header Host: pages of other sites must not reach a loopback."""

    def __init__(self, app: Any, hosts: tuple[str, ...], endpoints: "_Endpoints"):
        self._app, self._hosts, self._endpoints = app, set(hosts), endpoints
        self.state = app.state

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] == "http":
            given = dict(scope["headers"]).get(b"host", b"").decode("latin-1")
            host = given.rpartition(":")[0] if given.rpartition("]")[2].count(":") else given
            if host.lower() not in self._hosts:
                error = RequestError(
                    421,
                    f"Host must be one of {', '.join(sorted(self._hosts))}, got {given[:60]!r}; "
                    "start the server with --allow-host",
                    field="Host",
                    reason="host",
                )
                await self._endpoints.error(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _counted(route: str) -> Callable:
    """Decorates an endpoint: counts the request, and answers errors."""

    def decorate(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(function)
        async def endpoint(self: "_Endpoints", request: Any) -> Any:
            started = time.monotonic()
            status = 500
            try:
                response = await function(self, request)
                status = response.status_code
                return response
            except RequestError as error:
                status = error.status
                return self.error(error)
            finally:
                self.service.metrics.on_request(route, status, time.monotonic() - started)

        return endpoint

    return decorate


class _Endpoints:
    """The endpoints of the application."""

    def __init__(self, service: Service, responses: Any):
        self.service = service
        self.responses = responses

    def json(self, value: Any, status: int = 200, headers: dict[str, str] | None = None) -> Any:
        """Returns a response with JSON; numbers that JSON lacks do not occur."""
        content = json.dumps(value, allow_nan=False, separators=(",", ":"))
        return self.responses.Response(
            content, status, headers=headers, media_type="application/json"
        )

    def error(self, error: RequestError) -> Any:
        """Returns the response of an error."""
        body = {"error": error.message, "reason": error.reason}
        if error.field is not None:
            body["field"] = error.field
        headers = {}
        if error.retry_after is not None:
            headers["retry-after"] = str(error.retry_after)
        if error.status in (408, 413):
            headers["connection"] = "close"  # the rest of the body is not read
        return self.json(body, error.status, headers)

    async def page(self, request: Any) -> Any:
        """The web page."""
        return page_response(self.responses, self.service.versions.name)

    async def metrics(self, request: Any) -> Any:
        """All metrics."""
        content = self.service.metrics.text()
        return self.responses.Response(content, media_type="text/plain; version=0.0.4")

    async def server(self, request: Any) -> Any:
        """Metadata of the server."""
        return self.json(
            {
                "name": "rnnlab",
                "version": rnnlab.__version__,
                "extensions": EXTENSIONS,
                "models": [self.service.versions.name],
            }
        )

    async def live(self, request: Any) -> Any:
        """Whether the process works; if not, it must be restarted."""
        scheduler = self.service.scheduler
        is_live = scheduler is not None and scheduler.is_alive
        return self.json({"live": is_live}, 200 if is_live else 503)

    async def ready(self, request: Any) -> Any:
        """Whether requests are accepted."""
        is_ready = self.service.is_ready
        return self.json({"ready": is_ready}, 200 if is_ready else 503)

    @_counted("model_ready")
    async def model_ready(self, request: Any) -> Any:
        """Whether a model, or one version of it, accepts requests."""
        self._version_number(request)
        return await self.ready(request)

    @_counted("model")
    async def model(self, request: Any) -> Any:
        """Metadata of a model or of one version."""
        number = self._version_number(request)
        versions = self.service.versions
        version = self.service.choose(number, "")
        interface = version.interface
        limits = self.service.limits
        reads = "INT32" if interface.in_features is None else "FP32"
        shape = [-1, -1] if interface.in_features is None else [-1, -1, interface.in_features]
        inputs = [{"name": "inputs", "datatype": reads, "shape": shape}]
        if interface.uses_gaps:
            inputs.append({"name": "gaps", "datatype": "FP32", "shape": [-1, -1]})
        return self.json(
            {
                "name": versions.name,
                "versions": [v.number for v in versions.loaded],
                "platform": "rnnlab",
                "inputs": inputs,
                "outputs": [
                    {
                        "name": "outputs",
                        "datatype": "FP32",
                        "shape": [-1, -1, interface.out_features],
                    }
                ],
                "parameters": {
                    "version": version.number,
                    "digest": version.digest,
                    "shares": versions.shares,
                    "generates": interface.generates,
                    "vocabulary": list(interface.vocabulary),
                    "classes": list(interface.classes),
                    "max_tokens": limits.max_tokens,
                    "max_inputs": limits.max_inputs,
                    **version.description,
                },
            }
        )

    @_counted("infer")
    async def infer(self, request: Any) -> Any:
        """Predictions for all time steps of the inputs."""
        service, started = self.service, time.monotonic()
        number, body = self._version_number(request), await self._body(request)
        version = self._choose(number, body)
        parsed = parse_infer(body, version.interface, service.limits)
        prepared = parsed
        if version.prepare is not None:
            prepared = dataclasses.replace(parsed, inputs=version.prepare(parsed.inputs))
        record = {
            "event": "infer",
            "inputs_sha256": sha256(np.ascontiguousarray(parsed.inputs).tobytes()),
            "shape": list(parsed.inputs.shape),
            "sequence_id": parsed.sequence_id,
        }
        if service.audit_text:
            record["inputs"] = parsed.inputs.tolist()
        record |= self._who(request, parsed.id, version)
        try:
            outputs = await self._unless_disconnected(request, service.infer(prepared, version))
        except RequestError as error:
            service.record({**record, "end": error.reason})
            raise
        answer = {
            "model_name": service.versions.name,
            "model_version": version.number,
            **({} if parsed.id is None else {"id": parsed.id}),
            "outputs": [tensor("outputs", outputs)],
        }
        seconds = time.monotonic() - started
        digest = sha256(np.ascontiguousarray(outputs, np.float32).tobytes())
        service.record({**record, "end": "end", "outputs_sha256": digest, "seconds": seconds})
        return self.json(answer)

    @_counted("generate")
    async def generate(self, request: Any) -> Any:
        """A continuation, when it is complete."""
        parsed, version = await self._parse_generate(request)
        finish = self._finisher(request, parsed, version)
        job, mailbox = self.service.start_generate(parsed, version)
        tokens, last = await self._unless_disconnected(
            request, self._collect(job, mailbox, finish), job
        )
        if last.error is not None:
            raise last.error
        decoder = TextDecoder(version.interface.vocabulary)
        return self.json(
            {
                **self._header(parsed, version),
                "text_output": decoder.feed(tokens) + decoder.finish(),
                **({"tokens": tokens} if parsed.return_tokens else {}),
                "finish_reason": last.end,
                "num_tokens": len(tokens),
            }
        )

    @_counted("generate_stream")
    async def generate_stream(self, request: Any) -> Any:
        """A continuation as server-sent events."""
        parsed, version = await self._parse_generate(request)
        finish = self._finisher(request, parsed, version)
        job, mailbox = self.service.start_generate(parsed, version)
        events: list[Event] = []
        try:
            # An error before the first token has a status of its own.
            while not events or not (events[-1].tokens or events[-1].is_last):
                events += await self._unless_disconnected(request, mailbox.take(), job)
        except RequestError:
            finish([], None)
            raise
        self.service.observe(version, events)
        if events[-1].tokens:
            self.service.metrics.on_first_token(time.monotonic() - job.submitted)
        if events[-1].error is not None and not any(event.tokens for event in events):
            finish([], events[-1])
            raise events[-1].error
        header = self._header(parsed, version)
        decoder = TextDecoder(version.interface.vocabulary)
        limits = self.service.limits
        stream = EventStream(
            job,
            mailbox,
            events,
            EventEncoder(header, decoder, parsed.return_tokens),
            wake=self.service.scheduler.wake,
            max_undelivered=limits.max_undelivered,
            send_timeout=limits.send_timeout,
            on_finish=finish,
            collects=self.service.audit is not None,
        )
        stream.status_code = 200
        return stream

    async def _collect(self, job: Job, mailbox: Mailbox, finish: Callable) -> tuple[list, Event]:
        """Returns all tokens of a job and its last event."""
        tokens: list[int] = []
        last = None
        try:
            while last is None:
                events = await self.service.take(job, mailbox)
                self.service.observe(job.stream.version, events)
                tokens += [token for event in events for token in event.tokens]
                last = events[-1] if events[-1].is_last else None
            return tokens, last
        finally:
            finish(tokens, last)

    async def _parse_generate(self, request: Any) -> tuple[GenerateRequest, Version]:
        number, body = self._version_number(request), await self._body(request)
        version = self._choose(number, body)
        return parse_generate(body, version.interface, self.service.limits), version

    def _choose(self, number: str | None, body: dict[str, Any]) -> Version:
        """Returns the version of a request; a sequence keeps the one that it began with."""
        session = session_of(body)
        parameters = body.get("parameters") or {}
        if number is None and not parameters.get("sequence_start"):
            found = self.service.version_of_sequence(_id(parameters.get("sequence_id")))
            if found is not None:
                return found
        return self.service.choose(number, session)

    def _header(self, parsed: GenerateRequest, version: Version) -> dict[str, Any]:
        header = {"model_name": self.service.versions.name, "model_version": version.number}
        return header if parsed.id is None else {"id": parsed.id, **header}

    def _who(self, request: Any, id: str | None, version: Version) -> dict[str, Any]:
        """Returns the fields of an audit record that name the client and the version."""
        client = request.client.host if request.client is not None else None
        return {"id": id, "client": client, "version": version.number, "digest_of": version.digest}

    def _finisher(self, request: Any, parsed: GenerateRequest, version: Version) -> Callable:
        """Returns a function that records the end of a continuation."""
        service, started = self.service, time.monotonic()
        if service.audit is None:
            return lambda tokens, last: None

        def finish(tokens: list[int], last: Event | None) -> None:
            decoder = TextDecoder(version.interface.vocabulary)
            text = decoder.feed(tokens) + decoder.finish()
            prompt = np.asarray(parsed.prompt, np.int32)
            record = {
                "event": "generate",
                **self._who(request, parsed.id, version),
                "prompt_sha256": sha256(prompt.tobytes()),
                "answer_sha256": sha256(np.asarray(tokens, np.int32).tobytes()),
                "num_prompt_tokens": len(prompt),
                "num_tokens": len(tokens),
                "max_tokens": parsed.max_tokens,
                "temperature": parsed.temperature,
                "top_k": parsed.top_k,
                "seed": parsed.seed,
                "end": "cancelled" if last is None else last.end or last.error.reason,
                "seconds": time.monotonic() - started,
            }
            if service.audit_text:
                prompt_text = TextDecoder(version.interface.vocabulary).feed(prompt.tolist())
                record |= {"prompt": prompt_text, "answer": text}
            try:
                service.record(record)
            except RequestError as error:
                LOG.error("%s", error.message)

        return finish

    def _version_number(self, request: Any) -> str | None:
        """Returns the version in an address.

        Raises:
          RequestError: the model is unknown.
        """
        name = request.path_params["model"]
        if name != self.service.versions.name:
            raise RequestError(
                404,
                f"model must be {self.service.versions.name!r}, got {name[:60]!r}; change the "
                "address",
                field="model",
                reason="not_found",
            )
        number = request.path_params.get("version")
        if number is not None:
            self.service.versions.get(number)
        return number

    async def _body(self, request: Any) -> dict[str, Any]:
        return parse_object(await self.read(request))

    async def read(self, request: Any) -> bytes:
        """Returns the body of a request.

        Raises:
          RequestError: it is too large, too slow, or not announced as JSON.
        """
        limits = self.service.limits
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise RequestError(
                415,
                f"Content-Type must be application/json, got {kind[:60]!r}; set the header",
                field="Content-Type",
            )
        too_large = RequestError(
            413,
            f"the body must have at most {limits.max_body} bytes; send less",
            reason="too_large",
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
        return b"".join(parts)

    async def _unless_disconnected(
        self, request: Any, work: Awaitable[Any], job: Job | None = None
    ) -> Any:
        """Returns the result of `work`, which ends if the client disconnects.

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
                if job is not None:
                    job.cancel()
                    self.service.scheduler.wake()


async def _disconnected(request: Any) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _id(value: Any) -> str | None:
    return str(value) if isinstance(value, int | str) and value else None


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
