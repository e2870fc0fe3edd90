"""Weights of Keras's recurrent layers compute in rnnlab what they compute in Keras, and return."""

import json
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file
from weight_tables import read_table, require_close, require_equal_parameters

from rnnlab import GRU, LSTM, Bidirectional, MinLSTM, Stack, VanillaRNN, stack_cells
from rnnlab.interop import keras as interop

TABLE = read_table("keras.jsonl")


def case_name(case):
    return f"{case['name']} {case['merges']} {case['settings'].get('use_bias', True)}"


def weights_of(case, dtype="float32"):
    return {name: np.asarray(x, dtype) for name, x in case["weights"].items()}


def load(case, dtype="float32"):
    options = {k: x for k, x in case["settings"].items() if k != "use_bias"}
    merge = next((m for m in case["merges"] if m), "concat")
    return interop.load(weights_of(case, dtype), merge=merge, **options)


def split_states(case, name):
    """The states h and c of all cells, of the lists of Keras: [h, c] for each cell of an LSTM."""
    h, c = [], []
    for layer, states, merge in zip(load(case).layers, case[name], case["merges"], strict=True):
        cell = layer if merge is None else layer.forward
        is_lstm = isinstance(cell, LSTM)
        h += states[:: 1 + is_lstm]
        c += states[1::2] if is_lstm else [None] * len(states)
    h = [np.asarray(x) for x in h]
    c = [None if x is None else np.asarray(x) for x in c]
    return h, None if all(x is None for x in c) else c


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    if request.param == "float64":
        request.getfixturevalue("x64")
    return request.param


@pytest.mark.parametrize("case", TABLE, ids=case_name)
def test_outputs_and_last_states_equal_keras(case, dtype):
    stack = load(case, dtype)
    carry = interop.carry(stack, *split_states(case, "initial_states"))
    carry, ys = stack(carry, jnp.asarray(case["inputs"], dtype))
    found = (ys, tuple(interop.states(stack, carry)))
    require_close(found, (np.asarray(case["outputs"]), split_states(case, "states")), dtype)
    weights = interop.state_dict(stack, bias=case["settings"].get("use_bias", True))
    assert [x.shape for x in weights.values()] == [x.shape for x in weights_of(case).values()]
    options = {k: x for k, x in case["settings"].items() if k in ("activation", "reset_after")}
    merge = next((m for m in case["merges"] if m), "concat")
    require_equal_parameters(interop.load(weights, merge=merge, **options), stack)


def test_sequence_continues_in_rnnlab_from_a_state_of_keras():
    """Steps of rnnlab pass through the states that Keras reached at the end of the sequence."""
    case = next(case for case in TABLE if case["name"] == "LSTM" and case["merges"] == [None])
    stack = load(case)
    carry = interop.carry(stack, *split_states(case, "initial_states"))
    xs = jnp.asarray(case["inputs"], jnp.float32)
    carry = stack(carry, xs[:, :2])[0]
    resumed = interop.carry(stack, *interop.states(stack, carry))
    for t in range(2, xs.shape[1]):
        resumed, y = stack.step(resumed, xs[:, t])
    require_close(y, np.asarray(case["outputs"])[:, -1], "float32")
    found = tuple(interop.states(stack, resumed))
    require_close(found, split_states(case, "states"), "float32")


@pytest.mark.parametrize("name", ["GRU", "GRU reset before", "LSTM"])
def test_swapped_gates_change_the_outputs(name):
    case = next(case for case in TABLE if case["name"] == name and case["merges"] == [None])
    stack = load(case)
    cell = stack.layers[0]
    for parameter in (cell.kernel, cell.recurrent_kernel, cell.bias):
        first, second, *others = jnp.split(parameter[...], cell.num_gates, axis=-1)
        parameter[...] = jnp.concatenate([second, first, *others], axis=-1)
    carry = interop.carry(stack, *split_states(case, "initial_states"))
    ys = stack(carry, jnp.asarray(case["inputs"], jnp.float32))[1]
    assert np.abs(ys - np.asarray(case["outputs"])).max() > 1e-2


def test_safetensors_file_gives_the_weights(tmp_path):
    stack = load(TABLE[-1])
    save_file(interop.state_dict(stack), tmp_path / "layers.safetensors")
    require_equal_parameters(interop.load(tmp_path / "layers.safetensors"), stack)
    save_file(weights_of(TABLE[-1]), tmp_path / "keras.safetensors")
    with pytest.raises(ValueError, match=r"must start with their numbers, as in '0.kernel', got"):
        interop.load(tmp_path / "keras.safetensors")


def run_keras(command):
    """Lines of output of a process: Keras chooses its backend at import, for the whole process."""
    if find_spec("keras") is None:
        pytest.skip("keras is missing")
    ran = subprocess.run(
        [sys.executable, Path(__file__).with_name("keras_layers.py"), command],
        env={**os.environ, "KERAS_BACKEND": "numpy"},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.splitlines()


def test_layers_of_keras_are_read_and_refused_by_name():
    result = json.loads(run_keras("check")[-1])
    assert len(result["equal"]) == 30
    assert all(result["equal"].values()), result["equal"]
    expected = {
        "activation": "must be 'tanh', got 'relu'; rnnlab has no cell with it",
        "linear": "must be 'tanh' or 'relu', got 'linear'; rnnlab has no cell with it",
        "recurrent activation": "must be 'sigmoid', got 'hard_sigmoid'; rnnlab has no cell with it",
        "recurrent dropout": "must be 0, got 0.2; predictions do not depend on it: to load them",
        "backwards": "must be False, got True: it reverses the outputs",
        "merge": "must be 'concat' or 'sum', got 'ave'; load forward_layer and backward_layer",
        "class": "must be SimpleRNN, GRU, LSTM or a Bidirectional of one, got Dense",
        "stacked cells": "got RNN with a StackedRNNCells",
        "not built": "must be built, got no weights; call it once",
    }
    assert result["errors"].keys() == expected.keys()
    for name, part in expected.items():
        assert part in result["errors"][name]


@pytest.mark.slow
def test_table_is_what_keras_computes():
    for line, case in zip(run_keras("table")[1:], TABLE, strict=True):
        found = json.loads(line)
        assert found["weights"] == case["weights"]
        for name in ("outputs", "states"):
            for x, wanted in zip(found[name], case[name], strict=True):
                np.testing.assert_allclose(x, wanted, rtol=1e-13, atol=1e-15)


def gru(**changes):
    weights = {"kernel": np.ones((3, 12)), "recurrent_kernel": np.ones((4, 12))}
    weights = {**weights, "bias": np.ones((2, 12)), **changes}
    return {f"gru/gru_cell/{name}": x.astype("float32") for name, x in weights.items()}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (gru(bias=np.ones(24)), "'0.bias' must not be that of a CuDNN layer of Keras 2"),
        (gru(bias=np.ones((3, 12))), r"'0.bias' must have shape \(2, 12\), got \(3, 12\)"),
        (gru(gamma=np.ones(2)), "cell 0 of Keras must have only names that it has, got 'gamma'"),
        (gru(kernel=np.ones((3, 9))), r"'0.kernel' must have shape \(3, 12\), got \(3, 9\)"),
        (gru(recurrent_kernel=np.ones((6, 12))), "with 1, 3 or 4 gates, got"),
        ({"kernel": np.ones((3, 4))}, "cell 0 of Keras must have 'recurrent_kernel', got none"),
        ({"0.forward.kernel": np.ones((3, 4))}, "a backward cell, got only the forward one; add"),
    ],
)
def test_weights_that_do_not_fit_raise_value_error(weights, message):
    with pytest.raises(ValueError, match=message):
        interop.load(weights)


def test_invalid_merge_raises_value_error():
    with pytest.raises(ValueError, match="merge must be one of 'concat', 'sum'"):
        interop.load(gru(), merge="mul")


def test_stack_of_several_kinds_and_widths_is_exported():
    rngs = nnx.Rngs(0)
    both = Bidirectional(LSTM(5, 3, rngs=rngs), LSTM(5, 4, rngs=rngs))
    stack = Stack([VanillaRNN(2, 5, rngs=rngs), both, GRU(7, 3, rngs=rngs, reset_after=False)])
    require_equal_parameters(interop.load(interop.state_dict(stack)), stack)
    carry = stack.initial_carry((2,))
    h, c = interop.states(stack, carry)
    assert [x.shape for x in h] == [(2, 5), (2, 3), (2, 4), (2, 3)]
    assert [x is None for x in c] == [True, False, False, True]


def test_bias_of_the_candidate_is_kept_where_keras_has_one_bias():
    cell = GRU(3, 4, rngs=nnx.Rngs(0), reset_after=False, bias_init=nnx.initializers.normal())
    again = interop.load(interop.state_dict(cell))
    xs = jnp.ones((5, 3))
    np.testing.assert_allclose(again(xs)[1], cell(xs)[1], rtol=1e-6)


def test_stack_without_a_twin_raises_value_error():
    with pytest.raises(ValueError, match=r"cells must be of a class that Keras has .* got MinLSTM"):
        interop.state_dict(MinLSTM(3, 4, rngs=nnx.Rngs(0)))
    stack = stack_cells("gru", 3, 4, rngs=nnx.Rngs(0))
    stack.layers[0].bias[...] += 1
    with pytest.raises(ValueError, match="bias must be 0, got a value of 1; use_bias=False has"):
        interop.state_dict(stack, bias=False)
