"""Invalid requests: one error each, which names the field, and the server works on."""

import json

import pytest
from serve.messages import GOOD, INFER, TEXT
from serve.models import needs_server

pytestmark = needs_server

JSON = "application/json"

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
    "top_p": ({"parameters": {"top_p": 1.5}}, "parameters.top_p must be a number from"),
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
