"""The HTTP application: answers, sequences, addresses, the page, metrics and audit logs."""

import json
import time

import jax.numpy as jnp
import numpy as np
import pytest
from serve.messages import GOOD, INFER, STREAM, TEXT, events_of, outputs_of, values, wait_until
from serve.models import VOCABULARY, client_of, make_service, needs_server, text_alone, text_model

from rnnlab.serve.audit import AuditLog, check_chain
from rnnlab.serve.server import LOOPBACK

pytestmark = needs_server


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
