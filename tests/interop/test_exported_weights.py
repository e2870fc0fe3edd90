"""Weights of other libraries in ONNX files compute what they compute in the library."""

import numpy as np
import pytest
from weight_tables import read_table, require_close

from rnnlab.interop import mingru
from rnnlab.interop import torch as torch_weights

pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from rnnlab.export import flatten_carry, initial_values
from rnnlab.export.onnx import read, write

pytestmark = pytest.mark.usefixtures("implicit_promotion")


def test_bidirectional_lstm_of_torch_in_onnx_equals_torch():
    torch = pytest.importorskip("torch")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = torch.nn.LSTM(3, 4, 2, batch_first=True, bidirectional=True).requires_grad_(False)
        xs, (h, c) = torch.randn(2, 5, 3), torch.randn(2, 4, 2, 4)
    wanted, last = module(xs, (h, c))
    stack = torch_weights.load(module)
    run = read(write(stack, "sequence"))
    start = flatten_carry(torch_weights.carry(stack, h, c))
    found = run({"inputs": xs.numpy(), **{name: np.asarray(x) for name, x in start.items()}})
    require_close(found["outputs"], wanted.numpy(), "float32")
    h_of_cells = np.stack([found[f"next_carry.{2 * k + 1}"] for k in range(4)])
    require_close(h_of_cells, last[0].numpy(), "float32")


def test_mingru_with_projection_in_onnx_equals_the_package():
    case = next(case for case in read_table("mingru_pytorch.jsonl") if len(case["weights"]) == 2)
    weights = {name: np.asarray(x, "float32") for name, x in case["weights"].items()}
    stack = mingru.load(weights)
    run = read(write(stack, "step"))
    xs = np.asarray(case["inputs"], "float32")
    state = np.broadcast_to(np.asarray(initial_values(stack)["carry.0"], "float32"), (2, 6))
    for t in range(xs.shape[1]):
        found = run({"inputs": xs[:, t], "carry.0": state})
        state = found["next_carry.0"]
        require_close(found["outputs"], np.asarray(case["outputs"])[:, t], "float32")
