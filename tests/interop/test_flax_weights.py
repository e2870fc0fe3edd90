"""Weights of Flax's recurrent cells compute in rnnlab what they compute in Flax, and return."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx, traverse_util
from safetensors.numpy import save_file
from weight_tables import require_close, require_equal_parameters

from rnnlab import GRU, LSTM, LSTMCarry, MinGRU, NNXCell, VanillaRNN
from rnnlab.interop import flax as interop
from rnnlab.models.parameters import named_parameters

IN, FEATURES, BATCH, TIME = 3, 4, 2, 5
CELLS = ("SimpleCell", "GRUCell", "LSTMCell", "OptimizedLSTMCell")


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    if request.param == "float64":
        request.getfixturevalue("x64")
    return jnp.dtype(request.param)


def random_like(tree, getkey):
    return jax.tree.map(lambda x: 0.5 * jax.random.normal(getkey(), x.shape, x.dtype), tree)


def nnx_cell(name, getkey, dtype=jnp.float32, **options):
    make = getattr(nnx, name)
    cell = make(IN, FEATURES, dtype=dtype, param_dtype=dtype, rngs=nnx.Rngs(0), **options)
    nnx.update(cell, random_like(nnx.state(cell, nnx.Param), getkey))
    return cell


def first_layer(weights):
    return traverse_util.unflatten_dict(weights, sep=".")["0"]


def run_rnnlab(stack, carry, xs):
    carry, ys = stack(interop.carry(stack, *carry), xs)
    return ys, tuple(interop.states(stack, carry))


def draw_states(name, getkey, dtype):
    h, c = jax.random.normal(getkey(), (2, BATCH, FEATURES), dtype)
    return (h, c) if "LSTM" in name else (h, None)


@pytest.mark.parametrize("name", CELLS)
def test_outputs_and_last_states_equal_nnx(name, dtype, getkey):
    cell = nnx_cell(name, getkey, dtype)
    xs = jax.random.normal(getkey(), (BATCH, TIME, IN), dtype)
    h, c = draw_states(name, getkey, dtype)
    start = h if c is None else (c, h)
    last, wanted = nnx.RNN(cell)(xs, initial_carry=start, return_carry=True)
    last = (last, None) if c is None else last[::-1]
    last = tuple(None if x is None else (x,) for x in last)
    stack = interop.load(cell)
    found = run_rnnlab(stack, ([h], None if c is None else [c]), xs)
    require_close(found, (wanted, last), dtype)
    weights = interop.state_dict(stack, optimized=name != "LSTMCell")
    nnx.update(cell, first_layer(weights))
    require_equal_parameters(interop.load([NNXCell(cell)]), stack)
    require_equal_parameters(interop.load(nnx.state(cell, nnx.Param)), stack)


@pytest.mark.parametrize("name", CELLS)
def test_outputs_and_last_states_equal_linen(name, dtype, getkey):
    module = linen.RNN(getattr(linen, name)(FEATURES, dtype=dtype, param_dtype=dtype))
    xs = jax.random.normal(getkey(), (BATCH, TIME, IN), dtype)
    h, c = draw_states(name, getkey, dtype)
    start = h if c is None else (c, h)
    variables = random_like(module.init(getkey(), xs), getkey)
    last, wanted = module.apply(variables, xs, initial_carry=start, return_carry=True)
    last = (last, None) if c is None else last[::-1]
    last = tuple(None if x is None else (x,) for x in last)
    stack = interop.load(variables)
    found = run_rnnlab(stack, ([h], None if c is None else [c]), xs)
    require_close(found, (wanted, last), dtype)
    again = first_layer(interop.state_dict(stack, "linen"))
    jax.tree.map(np.testing.assert_array_equal, again, variables["params"]["cell"])
    require_equal_parameters(interop.load(again), stack)


def test_bidirectional_layers_equal_flax(getkey, tmp_path):
    cells = [nnx_cell(name, getkey) for name in ("GRUCell", "LSTMCell")]
    both = nnx.Bidirectional(*map(nnx.RNN, cells))
    above = nnx.SimpleCell(2 * FEATURES, 3, activation_fn=nnx.relu, rngs=nnx.Rngs(1))
    xs = jax.random.normal(getkey(), (BATCH, TIME, IN))
    stack = interop.load([both, nnx.RNN(above)])
    require_close(stack(xs)[1], nnx.RNN(above)(both(xs)), "float32")
    assert stack.layers[1].activation == "relu"
    weights = interop.state_dict(stack, optimized=False)
    layers = traverse_util.unflatten_dict(weights, sep=".")
    nnx.update(both, layers["0"])
    nnx.update(above, layers["1"])
    require_equal_parameters(interop.load([both, above]), stack)
    save_file(weights, tmp_path / "layers.safetensors")
    require_equal_parameters(
        interop.load(tmp_path / "layers.safetensors", activation="relu"), stack
    )
    module = linen.Bidirectional(
        linen.RNN(linen.GRUCell(FEATURES)), linen.RNN(linen.OptimizedLSTMCell(FEATURES))
    )
    variables = random_like(module.init(getkey(), xs), getkey)
    pair = interop.load(variables)
    require_close(pair(xs)[1], module.apply(variables, xs), "float32")
    params = first_layer(interop.state_dict(pair, "linen"))
    require_equal_parameters(interop.load({"params": params}), pair)


@pytest.mark.parametrize("name", ["GRUCell", "LSTMCell"])
def test_sequence_continues_in_the_other_library_from_its_state(name, getkey):
    cell = nnx_cell(name, getkey)
    stack = interop.load(cell)
    xs = jax.random.normal(getkey(), (BATCH, TIME, IN))
    middle, _ = nnx.RNN(cell)(xs[:, :3], return_carry=True)
    last, wanted = nnx.RNN(cell)(xs[:, 3:], initial_carry=middle, return_carry=True)
    states = ([middle[1]], [middle[0]]) if "LSTM" in name else ([middle],)
    carry, ys = stack(interop.carry(stack, *states), xs[:, 3:])
    require_close((ys, tuple(carry[0]) if "LSTM" in name else carry[0]), (wanted, last), "float32")
    carry = stack(xs[:, :3])[0][0]
    carry = tuple(carry) if isinstance(carry, LSTMCarry) else carry
    require_close(nnx.RNN(cell)(xs[:, 3:], initial_carry=carry), wanted, "float32")


@pytest.mark.parametrize("first", ["ir", "iz", "hr"])
def test_swapped_gates_change_the_outputs(first, getkey):
    module = linen.RNN(linen.GRUCell(FEATURES))
    xs = jax.random.normal(getkey(), (BATCH, TIME, IN))
    variables = random_like(module.init(getkey(), xs), getkey)
    weights = dict(interop.state_dict(interop.load(variables), "linen"))
    second = first[0] + {"r": "z", "z": "n"}[first[1]]
    one, other = f"0.{first}.kernel", f"0.{second}.kernel"
    weights[one], weights[other] = weights[other], weights[one]
    found = interop.load(weights)(xs)[1]
    assert np.abs(found - module.apply(variables, xs)).max() > 1e-2


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("SimpleCell", {"residual": True}, "residual of SimpleCell must be False, got True"),
        ("SimpleCell", {"activation_fn": jnp.sin}, "activation_fn of SimpleCell must be tanh or r"),
        ("GRUCell", {"activation_fn": nnx.relu}, "activation_fn of GRUCell must be tanh, got relu"),
        (
            "LSTMCell",
            {"gate_fn": nnx.hard_sigmoid},
            "gate_fn of LSTMCell must be sigmoid, got hard",
        ),
    ],
)
def test_cells_without_a_twin_raise_value_error(name, options, message, getkey):
    with pytest.raises(ValueError, match=message):
        interop.load(nnx_cell(name, getkey, **options))


def test_layers_without_a_twin_raise_value_error(getkey):
    cell = nnx_cell("GRUCell", getkey)
    with pytest.raises(
        ValueError, match=r"reverse of nnx.RNN must be False, got True; use a Bidir"
    ):
        interop.load(nnx.RNN(cell, reverse=True))
    both = nnx.Bidirectional(nnx.RNN(cell), nnx.RNN(cell), merge_fn=lambda x, y: x + y)
    with pytest.raises(
        ValueError, match=r"merge_fn of nnx.Bidirectional must concatenate, got ano"
    ):
        interop.load(both)
    with pytest.raises(ValueError, match=r"layers of Flax must be SimpleCell, .* got Linear; pass"):
        interop.load(nnx.Linear(3, 4, rngs=nnx.Rngs(0)))
    variables = linen.MGUCell(FEATURES).init(
        getkey(), jnp.ones((BATCH, FEATURES)), jnp.ones((2, 3))
    )
    with pytest.raises(ValueError, match=r"layers of Flax must not be MGUCell, got its weights"):
        interop.load(variables)


def lstm(getkey, **changes):
    weights = interop.state_dict(interop.load(nnx_cell("LSTMCell", getkey)), "linen")
    weights = {name: x for name, x in {**weights, **changes}.items() if x is not None}
    return weights


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"0.ii.kernel": None}, "weights of the LSTMCell 0 of Flax must have 'ii.kernel'"),
        ({"0.ii.bias": np.ones(4, "f4")}, "must have only names that it has, got 'ii.bias'"),
        ({"0.hf.bias": np.ones(3, "f4")}, r"'0.hf.bias' must have shape \(4,\), got \(3,\)"),
        ({"1.kernel": np.ones(3, "f4")}, "cell 1 must be those of SimpleCell, .* got 'kernel'"),
        (
            {"1.dense_i.kernel": np.ones((4, 4), "f4")},
            "cell 1 of Flax must have 'dense_h.kernel', 'dense_i.bias'",
        ),
        ({"0.forward_rnn.kernel": np.ones(3, "f4")}, "layer 0 must be a cell or have the names"),
    ],
)
def test_weights_that_do_not_fit_raise_value_error(changes, message, getkey):
    with pytest.raises(ValueError, match=message):
        interop.load(lstm(getkey, **changes))


def test_stack_without_a_twin_raises_value_error():
    rngs = nnx.Rngs(0)
    gru = GRU(3, 4, rngs=rngs, bias_init=nnx.initializers.ones_init())
    with pytest.raises(ValueError, match=r"candidate_bias must be 0, .* pass api='linen'"):
        interop.state_dict(gru)
    assert interop.state_dict(gru, "linen")["0.hn.bias"].all()
    with pytest.raises(ValueError, match="reset_after must be True for Flax, got False"):
        interop.state_dict(GRU(3, 4, rngs=rngs, reset_after=False))
    with pytest.raises(ValueError, match=r"Flax has \(VanillaRNN, GRU, LSTM\), got MinGRU"):
        interop.state_dict(MinGRU(3, 4, rngs=rngs))
    with pytest.raises(ValueError, match="api must be one of 'linen', 'nnx', got 'haiku'"):
        interop.state_dict(gru, "haiku")


@pytest.mark.parametrize(("make", "cell"), [(VanillaRNN, "SimpleCell"), (LSTM, "LSTMCell")])
def test_cells_of_rnnlab_return_from_flax(make, cell, getkey):
    ours = make(IN, FEATURES, rngs=nnx.Rngs(0), bias_init=nnx.initializers.normal())
    theirs = nnx_cell(cell, getkey)
    nnx.update(theirs, first_layer(interop.state_dict(ours, optimized=False)))
    again = interop.load(theirs).layers[0]
    assert named_parameters(again).keys() == named_parameters(ours).keys()
    require_equal_parameters(again, ours)
