"""Requests of the Open Inference Protocol v2 and its generate extension, as values."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from rnnlab.serve.fields import Fields, invalid
from rnnlab.serve.interface import Interface
from rnnlab.serve.jobs import RequestError
from rnnlab.serve.limits import Limits
from rnnlab.serve.tensors import read_inputs, read_tensors, read_tokens, read_values

MAX_NAME = 128
"""Characters of an id."""
MAX_STOPS = 16
MAX_BATCH = 64
"""Sequences of one infer request."""

GENERATE_PARAMETERS = (
    *("max_tokens", "temperature", "top_k", "top_p", "seed", "stop", "timeout", "session_id"),
    "return_tokens",
)
INFER_PARAMETERS = ("sequence_id", "sequence_start", "sequence_end", "timeout", "session_id")


@dataclass(frozen=True)
class GenerateRequest:
    """A request for a continuation.

    Attributes:
      id: of the request; None if it has none.
      prompt: token ids, (time,), at least one.
      max_tokens: tokens to generate.
      temperature: divides the logits; 0 takes the most likely token.
      top_k: sample from the k most likely tokens; None: from all.
      top_p: sample from the most likely tokens of this mass; None: from all.
      seed: of the samples.
      stop: tokens that end the continuation.
      timeout: seconds.
      session: chooses the version; None: any.
      return_tokens: whether the answer has token ids.
    """

    id: str | None
    prompt: np.ndarray
    max_tokens: int
    temperature: float
    top_k: int | None
    top_p: float | None
    seed: int
    stop: frozenset[int]
    timeout: float
    session: str | None
    return_tokens: bool


@dataclass(frozen=True)
class InferRequest:
    """A request for predictions of all time steps.

    Attributes:
      id: of the request; None if it has none.
      inputs: tokens (batch, time) or values (batch, time, in_features).
      gaps: (batch, time); None if the model does not use them.
      sequence_id: of the sequence that the inputs continue; None if they are whole sequences.
      start, end: whether the inputs are the first and the last of their sequence.
      timeout: seconds.
      session: chooses the version; None: any.
    """

    id: str | None
    inputs: np.ndarray
    gaps: np.ndarray | None
    sequence_id: str | None
    start: bool
    end: bool
    timeout: float
    session: str | None


def session_of(body: dict[str, Any]) -> str | None:
    """Returns what chooses the version of a request: its session_id, else its sequence_id.

    Raises:
      RequestError: it is not a text or number.
    """
    parameters = Fields(body.get("parameters") or {}, "parameters")
    if "session_id" in parameters:
        return _name(parameters, "session_id")
    return _name(parameters, "sequence_id")


def sequence_of(body: dict[str, Any]) -> str | None:
    """Returns the id of the sequence that a request continues; None if it starts one.

    Raises:
      RequestError: it is not a text or number.
    """
    parameters = Fields(body.get("parameters") or {}, "parameters")
    return None if parameters.flag("sequence_start") else _name(parameters, "sequence_id")


def parse_generate(body: dict[str, Any], interface: Interface, limits: Limits) -> GenerateRequest:
    """Returns a valid request for a continuation.

    Raises:
      RequestError: names the first field that is invalid.
    """
    if not interface.generates:
        raise RequestError(
            400, "the model must predict its next token to generate, but it does not; use infer"
        )
    fields = Fields(body)
    fields.require_known(("id", "text_input", "token_input", "parameters"))
    parameters = Fields(body.get("parameters") or {}, "parameters")
    parameters.require_known(GENERATE_PARAMETERS)
    greatest = float(np.finfo(np.float32).max)
    top_k = parameters.integer("top_k", 0, 1, interface.out_features)
    most = limits.max_tokens
    return GenerateRequest(
        id=fields.text("id", MAX_NAME),
        prompt=_prompt(fields, interface, limits),
        max_tokens=parameters.integer("max_tokens", min(256, most), 1, most),
        temperature=parameters.number("temperature", 0.8, 0, greatest),
        top_k=top_k or None,
        top_p=parameters.number("top_p", 0.0, 1e-6, 1) or None,
        seed=parameters.integer("seed", 0, 0, 2**32 - 1),
        stop=_stops(parameters, interface),
        timeout=parameters.number("timeout", limits.timeout, 0.001, limits.timeout),
        session=_name(parameters, "session_id"),
        return_tokens=parameters.flag("return_tokens", not interface.vocabulary),
    )


def parse_infer(body: dict[str, Any], interface: Interface, limits: Limits) -> InferRequest:
    """Returns a valid request for predictions.

    Raises:
      RequestError: names the first field that is invalid.
    """
    fields = Fields(body)
    fields.require_known(("id", "inputs", "outputs", "parameters"))
    parameters = Fields(body.get("parameters") or {}, "parameters")
    parameters.require_known(INFER_PARAMETERS)
    tensors = read_tensors(fields, interface)
    inputs = read_inputs(tensors["inputs"], interface)
    if not 1 <= len(inputs) <= MAX_BATCH:
        raise invalid("inputs.shape", f"have 1 to {MAX_BATCH} sequences", len(inputs), "split them")
    if not 1 <= inputs.shape[1] <= limits.max_inputs:
        must = f"have 1 to {limits.max_inputs} time steps"
        raise invalid("inputs.shape", must, inputs.shape[1], "send them in parts")
    gaps = None
    if interface.uses_gaps:
        gaps = read_values(tensors["gaps"], inputs.shape[:2])
        if (gaps < 0).any():
            raise invalid("gaps.data", "be >= 0", float(gaps.min()), "send the time since then")
    sequence_id = _name(parameters, "sequence_id")
    start, end = parameters.flag("sequence_start"), parameters.flag("sequence_end")
    if sequence_id is None and (start or end):
        raise invalid("parameters.sequence_id", "be given with sequence_start", None, "add an id")
    if sequence_id is not None and len(inputs) != 1:
        must = "have one sequence where sequence_id is given"
        raise invalid("inputs.shape", must, len(inputs), "send one request per sequence")
    _require_outputs(fields)
    return InferRequest(
        id=fields.text("id", MAX_NAME),
        inputs=inputs,
        gaps=gaps,
        sequence_id=sequence_id,
        start=start,
        end=end,
        timeout=parameters.number("timeout", limits.timeout, 0.001, limits.timeout),
        session=_name(parameters, "session_id"),
    )


def _name(parameters: Fields, name: str) -> str | None:
    """Returns an id that is a text or, as Triton's clients send it, an integer; None for 0."""
    value = parameters[name]
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value) if value else None
    return parameters.text(name, MAX_NAME)


def _prompt(fields: Fields, interface: Interface, limits: Limits) -> np.ndarray:
    if ("text_input" in fields) == ("token_input" in fields):
        raise RequestError(
            422,
            "exactly one of text_input and token_input must be given; send one of them",
            field="text_input",
        )
    if "text_input" in fields:
        text = fields.text("text_input", limits.max_inputs)
        prompt, name = interface.encode(text, "text_input"), "text_input"
    else:
        values, name = fields["token_input"], "token_input"
        if not isinstance(values, list) or not values:
            raise invalid(name, "be a list of token ids", values, "send at least one")
        prompt = read_tokens(values, name, interface.vocab_size)
    if prompt.ndim != 1 or not 1 <= len(prompt) <= limits.max_inputs:
        must = f"have 1 to {limits.max_inputs} tokens in one list"
        raise invalid(name, must, list(prompt.shape), "shorten it")
    return prompt


def _stops(parameters: Fields, interface: Interface) -> frozenset[int]:
    values, name = parameters["stop"], "parameters.stop"
    if values is None:
        return frozenset()
    values = values if isinstance(values, list) else [values]
    if len(values) > MAX_STOPS:
        raise invalid(name, f"have at most {MAX_STOPS} entries", len(values), "remove some")
    found = set()
    for value in values:
        if isinstance(value, str):
            tokens = interface.encode(value, name)
            if len(tokens) != 1:
                raise invalid(name, "be single symbols", value, "send symbols of the vocabulary")
            found.add(int(tokens[0]))
        else:
            found.add(int(read_tokens([value], name, interface.vocab_size)[0]))
    return frozenset(found)


def _require_outputs(fields: Fields) -> None:
    """Raises if a request names outputs that a model does not have."""
    outputs = fields["outputs"]
    if outputs is None:
        return
    for one in outputs if isinstance(outputs, list) else [outputs]:
        name = one.get("name") if isinstance(one, dict) else one
        if name != "outputs":
            raise invalid("outputs.name", 'be "outputs"', name, "rename or omit it")
