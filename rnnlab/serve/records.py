"""Records of requests in the audit log."""

import logging
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from rnnlab.serve.audit import sha256
from rnnlab.serve.jobs import Event, RequestError
from rnnlab.serve.protocol import GenerateRequest, InferRequest
from rnnlab.serve.service import Service
from rnnlab.serve.text import TextDecoder
from rnnlab.serve.versions import Version

LOG = logging.getLogger("rnnlab.serve")


class RequestRecord:
    """The record of one request, which is appended when the request ends.

    Args:
      service: whose audit log gets the record; without a log nothing happens.
      client: address of the client; None if it is not known.
      request: is recorded by its digests; also by its content if the service records texts.
      version: serves the request.
    """

    def __init__(
        self,
        service: Service,
        client: str | None,
        request: GenerateRequest | InferRequest,
        version: Version,
    ):
        self._service, self._version = service, version
        self._client, self._request = client, request
        self._started = time.monotonic()

    def end_of_text(self, tokens: Sequence[int], last: Event | None) -> None:
        """Records the end of a continuation; None in place of an event is a client that left."""
        if self._service.audit is None:
            return
        request, prompt = self._request, np.asarray(self._request.prompt, np.int32)
        reason = "cancelled" if last is None else last.end or last.error.reason
        record = {
            **self._common("generate", reason),
            "prompt_sha256": sha256(prompt.tobytes()),
            "answer_sha256": sha256(np.asarray(tokens, np.int32).tobytes()),
            "num_prompt_tokens": len(prompt),
            "num_tokens": len(tokens),
            "max_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_k": request.top_k,
            "top_p": request.top_p,
            "seed": request.seed,
        }
        if self._service.audit_text:
            record |= {"prompt": self._text(prompt.tolist()), "answer": self._text(tokens)}
        self._append(record)

    def end_of_values(self, outputs: np.ndarray | None, reason: str) -> None:
        """Records the end of a request for predictions, which are None after an error."""
        if self._service.audit is None:
            return
        request = self._request
        record = {
            **self._common("infer", reason),
            "shape": list(request.inputs.shape),
            "inputs_sha256": sha256(np.ascontiguousarray(request.inputs).tobytes()),
            "sequence_id": request.sequence_id,
        }
        if outputs is not None:
            content = np.ascontiguousarray(outputs, np.float32).tobytes()
            record["outputs_sha256"] = sha256(content)
        if self._service.audit_text:
            record["inputs"] = request.inputs.tolist()
        self._append(record)

    def _common(self, event: str, reason: str) -> dict[str, Any]:
        return {
            "event": event,
            "id": self._request.id,
            "client": self._client,
            "version": self._version.number,
            "bundle_sha256": self._version.digest,
            "end": reason,
            "seconds": time.monotonic() - self._started,
        }

    def _append(self, record: dict[str, Any]) -> None:
        try:
            self._service.record(record)
        except RequestError as error:
            # The answer is complete; the next request gets the error.
            LOG.error("%s", error.message)

    def _text(self, tokens: Sequence[int]) -> str:
        decoder = TextDecoder(self._version.interface.vocabulary)
        return decoder.feed(tokens) + decoder.finish()
