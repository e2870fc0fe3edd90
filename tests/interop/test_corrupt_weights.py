"""Every corrupt weight of every library raises one line that names it."""

import numpy as np
import pytest
from flax import nnx

from rnnlab import GRU, LSTM, MinLSTM, Stack, VanillaRNN, stack_cells
from rnnlab.interop import flax, keras, mingru, torch
from rnnlab.layers import Projection

BIASES = {"bias_init": nnx.initializers.ones_init()}
SHAPES = [(), (0,), (5,), (0, 0), (2, 2), (7, 3), (1, 4, 12)]


def bidirectional(name):
    return stack_cells(name, 3, 4, num_layers=2, bidirectional=True, rngs=nnx.Rngs(0), **BIASES)


def minlstm():
    rngs = nnx.Rngs(0)
    cell = MinLSTM(4, 6, rngs=rngs, learn_initial_state=True, **BIASES)
    cell.carry[...] = abs(cell.carry[...]) + 0.1
    return Stack([cell, Projection(6, 4, rngs=rngs)])


def several():
    rngs = nnx.Rngs(0)
    return Stack([VanillaRNN(3, 4, rngs=rngs), GRU(4, 4, rngs=rngs), LSTM(4, 4, rngs=rngs)])


WEIGHTS = {
    "torch GRU": (torch.load, torch.state_dict(bidirectional("gru"))),
    "torch RNN": (torch.load, torch.state_dict(bidirectional("rnn"))),
    "keras": (keras.load, keras.state_dict(several())),
    "keras bidirectional": (keras.load, keras.state_dict(bidirectional("lstm"))),
    "linen": (flax.load, flax.state_dict(several(), "linen")),
    "nnx": (flax.load, flax.state_dict(several())),
    "linen bidirectional": (flax.load, flax.state_dict(bidirectional("gru"), "linen")),
    "mingru": (
        lambda weights: mingru.load(weights, normalize=True),
        mingru.state_dict(minlstm(), "paper"),
    ),
}
OPTIONAL = ("bias", "init_hidden_state", "to_out.weight")
"""Names that a module may lack."""


def require_one_line(load, weights):
    with pytest.raises(ValueError, match=r"\S") as caught:
        load(weights)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("library", WEIGHTS)
def test_corrupt_weight_raises_one_line_that_names_it(library):
    load, weights = WEIGHTS[library]
    load(weights)
    for name, x in weights.items():
        others = {key: y for key, y in weights.items() if key != name}
        if not name.endswith(OPTIONAL):
            require_one_line(load, others)
        for shape in SHAPES:
            message = require_one_line(load, {**weights, name: np.ones(shape, x.dtype)})
            assert " must " in message
        assert repr(name) in require_one_line(load, {**weights, name: np.full_like(x, np.nan)})
        assert repr(name) in require_one_line(load, {**weights, name: x.astype(np.int32)})
        assert repr(name) in require_one_line(load, {**weights, name: None})
        require_one_line(load, {**others, f"{name}_g": x})


@pytest.mark.parametrize(
    ("load", "name"),
    [
        (torch.load, "weight_hh_l99999999999"),
        (keras.load, "9.kernel"),
        (flax.load, "9.dense_i.kernel"),
    ],
)
def test_gap_in_the_numbers_of_layers_raises_value_error(load, name):
    library = {torch.load: "torch RNN", keras.load: "keras", flax.load: "nnx"}[load]
    message = require_one_line(load, {**WEIGHTS[library][1], name: np.ones((4, 4), "float32")})
    assert "layers must be numbered from 0 without gaps" in message
