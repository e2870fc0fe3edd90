"""Clients that are too many, disconnect, do not read or do not send, and the end of the server."""

import asyncio
import json
import socket
import threading

import httpx
import pytest
from serve.messages import GOOD, STREAM, TEXT, events_of, wait_until
from serve.models import client_of, make_service, needs_server, text_alone, text_model

from rnnlab.serve.app import make_app
from rnnlab.serve.server import running_in_thread

pytestmark = needs_server


def test_overload_answers_429_and_serves_all_others():
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
