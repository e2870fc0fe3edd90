"""The HTTP application: answers, errors that name the field, sequences, versions, limits."""

import asyncio
import json
import socket
import threading
import time

import httpx
import jax.numpy as jnp
import numpy as np
import pytest
from serve.models import (
    VOCABULARY,
    add_version,
    client_of,
    make_service,
    needs_server,
    text_alone,
    text_model,
    value_model,
)

from rnnlab.serve import slots as slots_module
from rnnlab.serve.admin import admin_routes
from rnnlab.serve.app import make_app
from rnnlab.serve.audit import AuditLog, check_chain
from rnnlab.serve.server import LOOPBACK, running_in_thread

pytestmark = needs_server

TOKEN = "a-secret-token-of-tests"
AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}
TEXT = "/v2/models/m/generate"
STREAM = "/v2/models/m/generate_stream"
INFER = "/v2/models/m/infer"


@pytest.fixture(scope="module")
def text_client():
    with client_of(make_service(max_inputs=50, max_tokens=5000)) as client:
        yield client


@pytest.fixture(scope="module")
def value_client():
    with client_of(make_service(value_model(), idle=0.3)) as client:
        yield client


def events_of(response):
    return [json.loads(line[6:]) for line in response.iter_lines() if line.startswith("data: ")]


def values(xs, **parameters):
    """The body of an infer request for values (time, 2)."""
    xs = np.asarray(xs, np.float32)
    tensor = {"name": "inputs", "datatype": "FP32", "shape": [1, *xs.shape], "data": xs.tolist()}
    return {"inputs": [tensor], "parameters": parameters}


def outputs_of(response):
    assert response.status_code == 200, response.text
    (tensor,) = response.json()["outputs"]
    return np.array(tensor["data"], np.float32).reshape(tensor["shape"])


def test_generated_text_is_that_of_generate(text_client):
    parameters = {"max_tokens": 20, "seed": 3}
    body = {"id": "x", "text_input": "abc", "parameters": parameters}
    answer = text_client.post(TEXT, json=body).json()
    expected = text_alone(text_model(), "abc", 20, seed=3)
    assert answer == {
        "id": "x",
        "model_name": "m",
        "model_version": "1",
        "text_output": expected,
        "finish_reason": "length",
        "num_tokens": 20,
    }
    with text_client.stream("POST", STREAM, json=body) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        events = events_of(response)
    assert len(events) == 7
    assert "".join(event["text_output"] for event in events) == expected
    assert events[-1]["finish_reason"] == "length"


def test_token_ids_and_stop_symbols_are_accepted(text_client):
    parameters = {"max_tokens": 20, "seed": 3, "return_tokens": True}
    body = {"token_input": [0, 1, 2], "parameters": parameters}
    answer = text_client.post(TEXT, json=body).json()
    tokens = [VOCABULARY.index(symbol) for symbol in answer["text_output"]]
    assert answer["tokens"] == tokens
    stop = VOCABULARY[tokens[7]]
    parameters["stop"] = [stop]
    stopped = text_client.post(TEXT, json=body).json()
    assert stopped["text_output"] == answer["text_output"].split(stop)[0]
    assert stopped["finish_reason"] == "stop"


def test_infer_of_text_returns_the_logits_of_all_time_steps(text_client):
    tensor = {"name": "inputs", "datatype": "BYTES", "shape": [1], "data": ["abcab"]}
    found = outputs_of(text_client.post(INFER, json={"inputs": [tensor]}))
    _, expected = text_model()(jnp.array([[0, 1, 2, 0, 1]]))
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_sequence_continues_its_state(value_client):
    xs = np.random.default_rng(0).normal(size=(6, 2))
    whole = outputs_of(value_client.post(INFER, json=values(xs)))
    first = values(xs[:4], sequence_id=7, sequence_start=True)
    last = values(xs[4:], sequence_id=7, sequence_end=True)
    parts = [outputs_of(value_client.post(INFER, json=body)) for body in (first, last)]
    np.testing.assert_allclose(np.concatenate(parts, axis=1), whole, atol=1e-6)
    ended = value_client.post(INFER, json=last)
    assert ended.status_code == 404
    assert "set sequence_start" in ended.json()["error"]


def test_idle_sequence_loses_its_slot(value_client):
    xs = np.zeros((2, 2))
    value_client.post(INFER, json=values(xs, sequence_id="s", sequence_start=True))
    time.sleep(0.6)
    answer = value_client.post(INFER, json=values(xs, sequence_id="s"))
    assert answer.status_code == 404
    assert "no request for 0.3 s" in answer.json()["error"]


def test_several_sequences_of_one_request_equal_separate_ones(value_client):
    xs = np.random.default_rng(1).normal(size=(3, 5, 2)).astype(np.float32)
    tensor = {"name": "inputs", "datatype": "FP32", "shape": [3, 5, 2], "data": xs.ravel().tolist()}
    together = outputs_of(value_client.post(INFER, json={"inputs": [tensor]}))
    apart = [outputs_of(value_client.post(INFER, json=values(x))) for x in xs]
    np.testing.assert_allclose(together, np.concatenate(apart), atol=1e-6)


BAD_TEXT = {
    "no input": ({}, "exactly one of text_input"),
    "two inputs": ({"text_input": "a", "token_input": [0]}, "exactly one of text_input"),
    "empty text": ({"text_input": ""}, "text_input must be a text of 1 to 50"),
    "long text": ({"text_input": "a" * 51}, 'got "51 characters"'),
    "number": ({"text_input": 5}, "text_input must be a text"),
    "unknown symbol": ({"text_input": "abz"}, "got 'z' at index 2"),
    "surrogate": ({"text_input": "\ud800"}, "text_input"),
    "token out of range": ({"token_input": [3, 11]}, "token ids from 0 to 10, got 11"),
    "token of float": ({"token_input": [1.5]}, "token_input must be token ids"),
    "nested tokens": ({"token_input": [[1]]}, "tokens in one list"),
    "unknown field": ({"text_input": "a", "maxtokens": 3}, "maxtokens is not a field"),
    "misspelled parameter": ({"parameters": {"max_token": 3}}, "did you mean max_tokens?"),
    "too many tokens": ({"parameters": {"max_tokens": 5001}}, "parameters.max_tokens must be"),
    "flag for a number": ({"parameters": {"max_tokens": True}}, "from 1 to 5000, got true"),
    "negative temperature": ({"parameters": {"temperature": -1}}, "parameters.temperature must"),
    "top_k": ({"parameters": {"top_k": 12}}, "parameters.top_k must be an integer from 1 to 11"),
    "seed": ({"parameters": {"seed": 2**32}}, "parameters.seed must"),
    "stop": ({"parameters": {"stop": "ab"}}, "parameters.stop must be single symbols"),
    "timeout": ({"parameters": {"timeout": 0}}, "parameters.timeout must"),
    "parameters": ({"parameters": [1]}, "parameters must be an object"),
    "id": ({"text_input": "a", "id": ""}, "id must be a text"),
}


@pytest.mark.parametrize("case", BAD_TEXT)
def test_invalid_request_for_text_is_one_error_that_names_the_field(text_client, case):
    body, message = BAD_TEXT[case]
    body = body if "parameters" not in body else {"text_input": "a", **body}
    answer = text_client.post(TEXT, content=json.dumps(body), headers={"content-type": JSON})
    assert answer.status_code == 422
    assert message in answer.json()["error"]
    assert answer.json()["field"]
    assert text_client.post(TEXT, json=GOOD).status_code == 200


JSON = "application/json"
GOOD = {"text_input": "a", "parameters": {"max_tokens": 1}}
BAD_BODIES = {
    "not JSON": (b"{", JSON, 400),
    "not UTF-8": (b'{"a": "\xff"}', JSON, 400),
    "a list": (b"[]", JSON, 400),
    "NaN": (b'{"text_input": NaN}', JSON, 400),
    "twice": (b'{"id": "a", "id": "b"}', JSON, 400),
    "nested": (b"[" * 100_000, JSON, 400),
    "empty": (b"", JSON, 400),
    "too large": (b" " * (1 << 20) + b"{}", JSON, 413),
    "form": (b"text_input=a", "application/x-www-form-urlencoded", 415),
}


@pytest.mark.parametrize("case", BAD_BODIES)
def test_body_that_is_not_an_object_of_json_is_one_error(text_client, case):
    content, kind, status = BAD_BODIES[case]
    answer = text_client.post(TEXT, content=content, headers={"content-type": kind})
    assert answer.status_code == status
    assert answer.json()["error"]
    assert text_client.post(TEXT, json=GOOD).status_code == 200


def tensor(**changes):
    return {"name": "inputs", "datatype": "FP32", "shape": [1, 2, 2], "data": [0] * 4, **changes}


BAD_TENSORS = {
    "no tensor": ({"inputs": []}, "inputs must be a list of tensors"),
    "other name": ({"inputs": [tensor(name="x")]}, "inputs[0].name must be inputs"),
    "twice": ({"inputs": [tensor(), tensor()]}, "inputs[1].name must be inputs, each once"),
    "datatype": ({"inputs": [tensor(datatype="BYTES")]}, "inputs[0].datatype must be one of"),
    "shape": ({"inputs": [tensor(shape=[1, 2, 3])]}, "inputs[0].shape must be [any, any, 2]"),
    "negative": ({"inputs": [tensor(shape=[1, -2, 2])]}, "inputs[0].shape must"),
    "count": ({"inputs": [tensor(data=[0] * 3)]}, "as many numbers as the shape [1, 2, 2], got 3"),
    "text": ({"inputs": [tensor(data=["a"] * 4)]}, "inputs[0].data must be numbers"),
    "ragged": ({"inputs": [tensor(data=[[1, 2], [3]])]}, "inputs[0].data must be numbers"),
    "huge": ({"inputs": [tensor(data=[1e300] * 4)]}, "finite in 32 bits"),
    "no time": ({"inputs": [tensor(shape=[1, 0, 2], data=[])]}, "1 to 16384 time steps, got 0"),
    "binary": ({"inputs": [tensor(parameters={"binary_data_size": 4})]}, "since data is JSON"),
    "output": ({"inputs": [tensor()], "outputs": [{"name": "y"}]}, 'must be "outputs", got "y"'),
    "start": ({"inputs": [tensor()], "parameters": {"sequence_start": True}}, "sequence_id must"),
    "batch": (
        {"inputs": [tensor(shape=[2, 1, 2])], "parameters": {"sequence_id": 1}},
        "have one sequence where sequence_id is given",
    ),
}


@pytest.mark.parametrize("case", BAD_TENSORS)
def test_invalid_tensor_is_one_error_that_names_the_field(value_client, case):
    body, message = BAD_TENSORS[case]
    answer = value_client.post(INFER, json=body)
    assert answer.status_code == 422, answer.text
    assert message in answer.json()["error"]


def test_model_that_does_not_generate_says_so(value_client):
    answer = value_client.post(TEXT, json=GOOD)
    assert (answer.status_code, answer.json()["error"][-9:]) == (400, "use infer")


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v2", 200),
        ("/v2/health/live", 200),
        ("/v2/health/ready", 200),
        ("/v2/models/m", 200),
        ("/v2/models/m/versions/1", 200),
        ("/v2/models/m/versions/1/ready", 200),
        ("/metrics", 200),
        ("/", 200),
        ("/v2/models/other", 404),
        ("/v2/models/m/versions/9", 404),
        ("/v2/models/m/generate", 405),
        ("/admin/versions", 404),
        ("/etc/passwd", 404),
    ],
)
def test_address_has_its_status(text_client, path, status):
    answer = text_client.get(path)
    assert answer.status_code == status
    assert status == 200 or answer.json()["error"]


def test_page_has_one_file_and_a_policy_for_its_script_only(text_client):
    answer = text_client.get("/")
    assert "http" not in answer.text.replace("http-equiv", "")
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy


def test_metrics_count_tokens_and_requests(text_client):
    text_client.post(TEXT, json={"text_input": "a", "parameters": {"max_tokens": 7}})
    text = text_client.get("/metrics").text
    assert 'rnnlab_requests_total{route="generate",status="200"}' in text
    assert "rnnlab_slots 4.0" in text
    found = [x for x in text.splitlines() if x.startswith('rnnlab_tokens_total{version="1"}')]
    assert float(found[0].split()[-1]) >= 7


def test_other_host_is_refused_on_a_loopback_address():
    with client_of(make_service(), allowed_hosts=LOOPBACK) as client:
        assert client.get("/v2").status_code == 200
        answer = client.get("/v2", headers={"host": "evil.example"})
        assert answer.status_code == 421
        assert "--allow-host" in answer.json()["error"]


def test_overload_answers_429_and_serves_all_others(text_client):
    service = make_service(slots=1, queue=2, max_tokens=10**6, timeout=30.0)
    with client_of(service) as client:
        body = {"text_input": "a", "parameters": {"max_tokens": 10**6, "timeout": 1.0}}

        async def send_all():
            async with httpx.AsyncClient(base_url=client.base_url, timeout=60) as many:
                return await asyncio.gather(*(many.post(TEXT, json=body) for _ in range(8)))

        answers = asyncio.run(send_all())
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses == [429] * 5 + [504] * 3
        refused = next(answer for answer in answers if answer.status_code == 429)
        assert 1 <= int(refused.headers["retry-after"]) <= 60
        assert client.post(TEXT, json=GOOD).status_code == 200


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition must become true"
        time.sleep(0.01)


def raw_request(port, body, path=STREAM):
    content = json.dumps(body).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    connection = socket.create_connection(("127.0.0.1", port))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.sendall(f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content)
    return connection


LONG = {"text_input": "a", "parameters": {"max_tokens": 10**8}}


@pytest.mark.parametrize("path", [STREAM, TEXT])
def test_client_that_disconnects_frees_its_slot(path):
    service = make_service(max_tokens=10**8)
    with running_in_thread(make_app(service), service) as port:
        connection = raw_request(port, LONG, path)
        wait_until(lambda: service.scheduler.num_active == 1)
        if path == STREAM:
            connection.recv(100)
        connection.close()
        wait_until(lambda: service.scheduler.num_active == 0)


def test_client_that_does_not_read_is_paused_then_ended():
    limits = {"per_event": 300, "max_tokens": 10**8, "max_undelivered": 4}
    service = make_service(slots=1, send_timeout=0.5, **limits)
    body = {"text_input": "a", "parameters": {**LONG["parameters"], "return_tokens": True}}
    with running_in_thread(make_app(service), service) as port:
        connection = raw_request(port, body)
        connection.recv(100)
        wait_until(lambda: service.scheduler.num_active == 0, 60)
        connection.close()
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
            assert client.post(TEXT, json=GOOD).status_code == 200


def test_body_that_does_not_arrive_is_refused():
    service = make_service(body_timeout=0.2)
    with running_in_thread(make_app(service), service) as port:
        connection = socket.create_connection(("127.0.0.1", port))
        head = "Host: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"
        connection.sendall(f"POST {TEXT} HTTP/1.1\r\n{head}".encode())
        assert connection.recv(12) == b"HTTP/1.1 408"
        connection.close()


def test_shutdown_lets_running_streams_finish():
    service = make_service(max_tokens=10**6)
    app = make_app(service)
    texts = []
    with running_in_thread(app, service) as port:

        def request():
            body = {"text_input": "a", "parameters": {"max_tokens": 3000, "seed": 5}}
            url = f"http://127.0.0.1:{port}"
            with (
                httpx.Client(base_url=url, timeout=60) as client,
                client.stream("POST", STREAM, json=body) as response,
            ):
                texts.append("".join(event["text_output"] for event in events_of(response)))

        thread = threading.Thread(target=request)
        thread.start()
        wait_until(lambda: service.scheduler is not None and service.scheduler.num_active == 1)
    thread.join()
    assert texts == [text_alone(text_model(), "a", 3000, seed=5)]


def test_swap_under_load_loses_and_mixes_no_token():
    service = make_service(slots=4, queue=100, max_tokens=1000)
    versions, limits = service.versions, service.limits
    new = text_model(1)
    admin = admin_routes(
        versions, lambda path: add_version(versions, new, limits, digest=path), TOKEN
    )
    with client_of(service, admin=admin) as client:
        client.post(TEXT, json=GOOD)
        compiled = slots_module._programs.cache_info().misses

        async def load_and_swap():
            async with httpx.AsyncClient(base_url=client.base_url, timeout=60) as many:

                async def generate(seed):
                    body = {"text_input": "ab", "parameters": {"max_tokens": 200, "seed": seed}}
                    return seed, (await many.post(TEXT, json=body)).json()

                async def swap():
                    await asyncio.sleep(0.05)
                    options = {"headers": AUTHORIZED}
                    loaded = await many.post("/admin/versions", json={"bundle": "b"}, **options)
                    assert loaded.status_code == 200, loaded.text
                    body = {"shares": {"2": 1.0}}
                    return await many.post("/admin/shares", json=body, **options)

                requests = asyncio.gather(*(generate(seed) for seed in range(24)))
                answer = await swap()
                assert answer.json()["versions"][1]["share"] == 1.0
                later = await generate(100)
                return [*await requests, later]

        answers = asyncio.run(load_and_swap())
        for seed, answer in answers:
            model = text_model() if answer["model_version"] == "1" else new
            assert answer["text_output"] == text_alone(model, "ab", 200, seed=seed)
        assert answers[-1][1]["model_version"] == "2"
        assert slots_module._programs.cache_info().misses == compiled
        back = client.post("/admin/rollback", json={}, headers=AUTHORIZED).json()
        assert [version["share"] for version in back["versions"]] == [1.0, 0]
        assert client.post(TEXT, json=GOOD).json()["model_version"] == "1"


def test_administration_needs_the_token():
    service = make_service()
    admin = admin_routes(service.versions, lambda path: None, TOKEN)
    with client_of(service, admin=admin) as client:
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": TOKEN}):
            assert client.get("/admin/versions", headers=headers).status_code == 401
        assert client.get("/admin/versions", headers=AUTHORIZED).status_code == 200
        body = {"shares": {"3": 1.0}}
        answer = client.post("/admin/shares", json=body, headers=AUTHORIZED)
        assert (answer.status_code, answer.json()["field"]) == (422, "shares")
    with pytest.raises(ValueError, match="at least 16 characters"):
        admin_routes(service.versions, lambda path: None, "short")


def test_audit_log_has_digests_and_texts_only_if_asked(tmp_path):
    for text in (False, True):
        path = tmp_path / f"{text}.jsonl"
        service = make_service(audit=AuditLog(path), audit_text=text)
        with client_of(service) as client:
            body = {"text_input": "abc", "parameters": {"max_tokens": 5, "seed": 3}}
            client.post(TEXT, json=body)
            with client.stream("POST", STREAM, json=body) as response:
                events_of(response)
        check_chain(path)
        records = [json.loads(line) for line in path.read_text().splitlines()]
        assert [record["event"] for record in records] == ["start", "generate", "generate", "stop"]
        assert records[1]["answer_sha256"] == records[2]["answer_sha256"]
        assert ("prompt" in records[1]) is text
        assert not text or records[1]["answer"] == text_alone(text_model(), "abc", 5, seed=3)


def test_audit_log_that_cannot_be_written_stops_the_service(tmp_path):
    audit = AuditLog(tmp_path / "audit.jsonl")
    service = make_service(audit=audit)
    with client_of(service) as client:
        wait_until(lambda: audit.head != "0" * 64)
        audit.failure = OSError("disk full")
        answer = client.post(TEXT, json=GOOD)
        assert answer.status_code == 503
        assert "disk full" in answer.json()["error"]
        assert client.get("/v2/health/ready").status_code == 503
        assert client.get("/v2/health/live").status_code == 200
