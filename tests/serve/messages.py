"""Requests to a server and what its answers hold, for the tests of `rnnlab.serve`."""

import json
import time

import numpy as np

TEXT = "/v2/models/m/generate"
STREAM = "/v2/models/m/generate_stream"
INFER = "/v2/models/m/infer"
GOOD = {"text_input": "a", "parameters": {"max_tokens": 1}}


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


def wait_until(condition, seconds=20.0):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "the condition must become true"
        time.sleep(0.01)
