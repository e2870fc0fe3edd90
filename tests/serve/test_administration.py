"""Administration of a server: the token, and new versions under load."""

import asyncio

import httpx
import pytest
from serve.messages import GOOD, TEXT
from serve.models import (
    add_version,
    client_of,
    make_service,
    needs_server,
    text_alone,
    text_model,
)

from rnnlab.serve import jax_slots
from rnnlab.serve.admin import admin_routes

pytestmark = needs_server

TOKEN = "a-secret-token-of-tests"
AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}


def test_swap_under_load_loses_and_mixes_no_token():
    service = make_service(slots=4, queue=100, max_tokens=1000)
    versions, limits = service.versions, service.limits
    new = text_model(1)
    admin = admin_routes(
        versions, lambda path: add_version(versions, new, limits, digest=path), TOKEN
    )
    with client_of(service, admin=admin) as client:
        client.post(TEXT, json=GOOD)
        compiled = jax_slots._programs.cache_info().misses

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
        assert jax_slots._programs.cache_info().misses == compiled
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
