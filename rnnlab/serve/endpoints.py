"""The endpoints: each turns a request into jobs, and their events into an answer."""

import dataclasses
import functools
import time
from collections.abc import Awaitable, Callable
from typing import Any

import rnnlab
from rnnlab.optional import require_module
from rnnlab.serve.http import error_response, json_response, read_object, unless_disconnected
from rnnlab.serve.jobs import Event, Job, RequestError
from rnnlab.serve.mailbox import Mailbox
from rnnlab.serve.metadata import model_metadata
from rnnlab.serve.page import page_response
from rnnlab.serve.protocol import (
    GenerateRequest,
    parse_generate,
    parse_infer,
    sequence_of,
    session_of,
)
from rnnlab.serve.records import RequestRecord
from rnnlab.serve.service import Service
from rnnlab.serve.streaming import EventEncoder, EventStream
from rnnlab.serve.tensors import tensor
from rnnlab.serve.text import TextDecoder
from rnnlab.serve.versions import Version

EXTENSIONS = ("generate", "sequence")


def counted(route: str) -> Callable[..., Any]:
    """Returns a decorator of endpoints that counts requests and answers their errors."""

    def decorate(function: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        @functools.wraps(function)
        async def endpoint(self: "Endpoints", request: Any) -> Any:
            started = time.monotonic()
            status = 500
            try:
                response = await function(self, request)
                status = response.status_code
                return response
            except RequestError as error:
                status = error.status
                return error_response(error)
            finally:
                self.service.metrics.on_request(route, status, time.monotonic() - started)

        return endpoint

    return decorate


class Endpoints:
    """The endpoints of a service.

    Args:
      service: does the work.
    """

    def __init__(self, service: Service):
        self.service = service
        self._responses = require_module("starlette.responses", "serve")

    async def page(self, request: Any) -> Any:
        """The web page."""
        return page_response(self._responses, self.service.versions.name)

    async def metrics(self, request: Any) -> Any:
        """All metrics."""
        content = self.service.metrics_text()
        return self._responses.Response(content, media_type="text/plain; version=0.0.4")

    async def server(self, request: Any) -> Any:
        """Metadata of the server."""
        return json_response(
            {
                "name": "rnnlab",
                "version": rnnlab.__version__,
                "extensions": EXTENSIONS,
                "models": [self.service.versions.name],
            }
        )

    async def live(self, request: Any) -> Any:
        """Whether the process works; if not, it must be restarted."""
        is_live = self.service.is_live
        return json_response({"live": is_live}, 200 if is_live else 503)

    async def ready(self, request: Any) -> Any:
        """Whether requests are accepted."""
        is_ready = self.service.is_ready
        return json_response({"ready": is_ready}, 200 if is_ready else 503)

    @counted("model_ready")
    async def model_ready(self, request: Any) -> Any:
        """Whether a model, or one version of it, accepts requests."""
        self._version_number(request)
        return await self.ready(request)

    @counted("model")
    async def model(self, request: Any) -> Any:
        """Metadata of a model or of one version."""
        version = self.service.choose(self._version_number(request), "")
        return json_response(model_metadata(self.service, version))

    @counted("infer")
    async def infer(self, request: Any) -> Any:
        """Predictions for all time steps of the inputs."""
        service = self.service
        version, body = await self._start(request)
        parsed = parse_infer(body, version.interface, service.limits)
        record = RequestRecord(service, _client(request), parsed, version)
        prepared = parsed
        if version.prepare is not None:
            prepared = dataclasses.replace(parsed, inputs=version.prepare(parsed.inputs))
        try:
            outputs = await unless_disconnected(request, service.infer(prepared, version))
        except RequestError as error:
            record.end_of_values(None, error.reason)
            raise
        record.end_of_values(outputs, "end")
        header = {} if parsed.id is None else {"id": parsed.id}
        return json_response(
            {
                **header,
                "model_name": service.versions.name,
                "model_version": version.number,
                "outputs": [tensor("outputs", outputs)],
            }
        )

    @counted("generate")
    async def generate(self, request: Any) -> Any:
        """A continuation, when it is complete."""
        service = self.service
        version, body = await self._start(request)
        parsed = parse_generate(body, version.interface, service.limits)
        record = RequestRecord(service, _client(request), parsed, version)
        job, mailbox = service.start_generate(parsed, version)
        tokens, last = await unless_disconnected(
            request, self._collect(job, mailbox, record), lambda: service.cancel(job)
        )
        if last.error is not None:
            raise last.error
        decoder = TextDecoder(version.interface.vocabulary)
        return json_response(
            {
                **self._header(parsed, version),
                "text_output": decoder.feed(tokens) + decoder.finish(),
                **({"tokens": tokens} if parsed.return_tokens else {}),
                "finish_reason": last.end,
                "num_tokens": len(tokens),
            }
        )

    @counted("generate_stream")
    async def generate_stream(self, request: Any) -> Any:
        """A continuation as server-sent events."""
        service, limits = self.service, self.service.limits
        version, body = await self._start(request)
        parsed = parse_generate(body, version.interface, limits)
        record = RequestRecord(service, _client(request), parsed, version)
        job, mailbox = service.start_generate(parsed, version)
        events: list[Event] = []
        try:
            # An error before the first token has a status of its own.
            while not events or not (events[-1].tokens or events[-1].is_last):
                events += await unless_disconnected(
                    request, mailbox.take(), lambda: service.cancel(job)
                )
        except RequestError:
            record.end_of_text([], None)
            raise
        service.observe(version, events)
        if not any(event.tokens for event in events) and events[-1].error is not None:
            record.end_of_text([], events[-1])
            raise events[-1].error
        service.metrics.on_first_token(time.monotonic() - job.submitted)
        header = self._header(parsed, version)
        decoder = TextDecoder(version.interface.vocabulary)
        return EventStream(
            job,
            mailbox,
            events,
            EventEncoder(header, decoder, parsed.return_tokens),
            wake=service.scheduler.wake,
            max_undelivered=limits.max_undelivered,
            send_timeout=limits.send_timeout,
            on_finish=record.end_of_text,
            collects=service.audit is not None,
        )

    async def _collect(
        self, job: Job, mailbox: Mailbox, record: RequestRecord
    ) -> tuple[list[int], Event]:
        """Returns all tokens of a job and its last event."""
        tokens: list[int] = []
        last = None
        try:
            while last is None:
                events = await self.service.take(job, mailbox)
                tokens += [token for event in events for token in event.tokens]
                last = events[-1] if events[-1].is_last else None
            return tokens, last
        finally:
            record.end_of_text(tokens, last)

    async def _start(self, request: Any) -> tuple[Version, dict[str, Any]]:
        """Returns the version and the body of a request; a sequence keeps its version."""
        number = self._version_number(request)
        body = await read_object(request, self.service.limits)
        sequence = sequence_of(body)
        if number is None and sequence is not None:
            version = self.service.version_of_sequence(sequence)
            if version is not None:
                return version, body
        return self.service.choose(number, session_of(body)), body

    def _version_number(self, request: Any) -> str | None:
        """Returns the version in an address.

        Raises:
          RequestError: the model or the version is unknown.
        """
        name, versions = request.path_params["model"], self.service.versions
        if name != versions.name:
            raise RequestError(
                404,
                f"model must be {versions.name!r}, got {name[:60]!r}; change the address",
                field="model",
                reason="not_found",
            )
        number = request.path_params.get("version")
        return None if number is None else versions.get(number).number

    def _header(self, parsed: GenerateRequest, version: Version) -> dict[str, Any]:
        header = {"model_name": self.service.versions.name, "model_version": version.number}
        return header if parsed.id is None else {"id": parsed.id, **header}


def _client(request: Any) -> str | None:
    return None if request.client is None else request.client.host
