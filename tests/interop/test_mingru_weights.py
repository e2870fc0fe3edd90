"""Weights of the minimal cells of two repositories compute in rnnlab what they compute there."""

import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from flax import nnx
from safetensors.numpy import save_file
from weight_tables import read_table, require_close, require_equal_parameters

from rnnlab import GRU, MinGRU, MinLSTM, Stack
from rnnlab.interop import mingru as interop
from rnnlab.layers import Projection

TABLE = read_table("mingru_pytorch.jsonl")
BATCH, TIME, DIM, INNER = 2, 6, 4, 6


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    if request.param == "float64":
        request.getfixturevalue("x64")
    return request.param


def weights_of(case, dtype="float32"):
    return {name: np.asarray(x, dtype) for name, x in case["weights"].items()}


def case_name(case):
    return f"{case['name']} {len(case['weights'])}"


@pytest.mark.parametrize("case", TABLE, ids=case_name)
def test_outputs_and_states_equal_the_package(case, dtype):
    stack = interop.load(weights_of(case, dtype))
    assert len(stack.layers) == len(case["weights"])
    xs, half = jnp.asarray(case["inputs"], dtype), len(case["inputs"][0]) // 2
    outputs, (middle, last) = np.asarray(case["outputs"]), np.asarray(case["states"])
    carry, ys = stack(xs)
    require_close((ys, interop.states(stack, carry).h[0]), (outputs, last), dtype)
    carry, ys = stack(interop.carry(stack, [middle]), xs[:, half:])  # from its state
    require_close((ys, interop.states(stack, carry).h[0]), (outputs[:, half:], last), dtype)
    carry = stack(xs[:, :half])[0]
    require_close(interop.states(stack, carry).h[0], middle, dtype)
    weights = interop.state_dict(stack)
    assert weights.keys() == case["weights"].keys()
    require_equal_parameters(interop.load(weights), stack)


@pytest.mark.parametrize("case", TABLE, ids=case_name)
def test_swapped_rows_change_the_outputs(case):
    weights = weights_of(case)
    joint = next(name for name in weights if name.startswith("to_hidden"))
    parts = np.split(weights[joint], 2 if case["name"] == "minGRU" else 3)
    weights[joint] = np.concatenate([parts[1], parts[0], *parts[2:]])
    ys = interop.load(weights)(jnp.asarray(case["inputs"], jnp.float32))[1]
    assert np.abs(ys - np.asarray(case["outputs"])).max() > 1e-2


def paper_weights(gates, dtype, initial_state=True):
    """Random weights of a cell of the paper's repository."""
    rng = np.random.default_rng(gates)
    shapes = {
        "to_hidden_and_gate.weight": (gates * INNER, DIM),
        "to_hidden_and_gate.bias": (gates * INNER,),
        "to_out.weight": (DIM, INNER),
        "to_out.bias": (DIM,),
    }
    if initial_state:
        shapes["init_hidden_state"] = (INNER,)
    return {name: rng.normal(size=shape).astype(dtype) for name, shape in shapes.items()}


def paper_loop(weights, xs, normalize):
    """The cell of the paper's repository: outputs and last state, in float64."""
    weights = {name: x.astype("float64") for name, x in weights.items()}
    joint, bias = weights["to_hidden_and_gate.weight"].T, weights["to_hidden_and_gate.bias"]
    names = ("candidate", "update") if bias.size == 2 * INNER else ("candidate", "forget", "input")
    p = {}
    for name, kernel, part in zip(
        names, np.split(joint, len(names), -1), np.split(bias, len(names)), strict=True
    ):
        p |= {f"{name}_kernel": kernel, f"{name}_bias": part}
    h, states = np.zeros((BATCH, INNER)), []
    if "init_hidden_state" in weights:
        h = np.broadcast_to(oracles.candidate(weights["init_hidden_state"], "positive"), h.shape)
    for t in range(TIME):
        x = xs[:, t].astype("float64")
        if len(names) == 2:
            h = oracles.mingru_step(p, h, x)
        else:
            h = oracles.minlstm_step(p, h, x, normalize=normalize)
        states.append(h)
    return np.stack(states, 1) @ weights["to_out.weight"].T + weights["to_out.bias"], h


@pytest.mark.parametrize("initial_state", [True, False])
@pytest.mark.parametrize(("gates", "normalize"), [(2, None), (3, True), (3, False)])
def test_outputs_and_states_equal_the_papers_cells(
    gates, normalize, initial_state, dtype, tmp_path
):
    weights = paper_weights(gates, dtype, initial_state)
    stack = interop.load(weights, normalize=normalize)
    xs = np.random.default_rng(0).normal(size=(BATCH, TIME, DIM)).astype(dtype)
    carry, ys = stack(jnp.asarray(xs))
    wanted = paper_loop(weights, xs, normalize)
    require_close((ys, interop.states(stack, carry).h[0]), wanted, dtype)
    returned = interop.state_dict(stack, "paper")
    assert returned.keys() == weights.keys()
    save_file(returned, tmp_path / "cell.safetensors")
    again = interop.load(tmp_path / "cell.safetensors", normalize=normalize)
    require_equal_parameters(again, stack)


def test_initial_state_of_every_size_returns_bit_equal():
    values = np.concatenate([np.linspace(-9, 9, 3001), -np.geomspace(1e-6, 80, 3001)])
    for dtype in (np.float32, np.float64):
        h = interop._g(values.astype(dtype))
        np.testing.assert_array_equal(interop._g(interop._inverse_g(h)), h)


def test_cell_of_a_model_is_loaded_by_prefix():
    cell = {f"layers.0.2.{name}": x for name, x in weights_of(TABLE[0]).items()}
    model = {**cell, "token_emb.weight": np.ones((5, 4), "float32")}
    stack = interop.load(model, prefix="layers.0.2")
    require_equal_parameters(interop.load(weights_of(TABLE[0])), stack)
    with pytest.raises(ValueError, match=r"blocks of a whole model differ .* such as 'layers.0.2'"):
        interop.load(model)


def test_cell_alone_gets_an_identity_for_the_paper():
    cell = MinGRU(DIM, DIM, rngs=nnx.Rngs(0), bias_init=nnx.initializers.normal())
    stack = interop.load(interop.state_dict(cell, "paper"))
    xs = jnp.ones((TIME, DIM))
    np.testing.assert_array_equal(stack(xs)[1], cell(xs)[1])


def changed(case, **changes):
    weights = {**weights_of(TABLE[case]), **changes}
    return {name: x for name, x in weights.items() if x is not None}


@pytest.mark.parametrize(
    ("weights", "options", "message"),
    [
        (paper_weights(3, "float32"), {}, "normalize must be given for weights of the paper's min"),
        (paper_weights(2, "float32"), {"normalize": True}, "must be None for a minGRU, got True"),
        (changed(2), {"normalize": False}, "normalize must be True, that of the module, got False"),
        (changed(1, **{"to_out.weight": np.ones((3, 6))}), {}, r"'to_out.weight' must have shape"),
        (changed(1, conv=np.ones(3)), {}, "a MinGRU of torch must have only names .* got 'conv'"),
        (changed(0, **{"to_out.bias": np.ones(4)}), {}, "must have only names .* 'to_out.bias'"),
        ({"weight": np.ones(3)}, {}, "weights must have 'to_hidden_and_gate.weight' or"),
    ],
)
def test_weights_that_do_not_fit_raise_value_error(weights, options, message):
    with pytest.raises(ValueError, match=message):
        interop.load(weights, **options)


@pytest.mark.parametrize(
    ("make", "repository", "message"),
    [
        (lambda r: GRU(4, 4, rngs=r), "paper", r"minGRU has \(MinGRU, MinLSTM\), got GRU"),
        (lambda r: MinGRU(4, 4, rngs=r, candidate="tanh"), "paper", "candidate must be 'positive'"),
        (lambda r: MinGRU(4, 4, rngs=r, decay_range=(-1, 1)), "paper", "decay_range must be"),
        (lambda r: MinGRU(4, 4, rngs=r, gap_decay=True), "paper", "gap_decay must be False"),
        (lambda r: MinGRU(4, 6, rngs=r), "paper", "must have a Projection behind the cell"),
        (
            lambda r: Stack([MinGRU(4, 6, rngs=r), Projection(6, 3, rngs=r)]),
            "paper",
            "the Projection must have features 4, as the inputs, got 3",
        ),
        (
            lambda r: Stack([MinGRU(4, 4, rngs=r), MinGRU(4, 4, rngs=r)]),
            "paper",
            "behind the cell must be one Projection or none, got MinGRU",
        ),
        (
            lambda r: MinGRU(4, 4, rngs=r, learn_initial_state=True),
            "lucidrains",
            "learn_initial_state must be False for lucidrains, got True; pass repository='paper'",
        ),
        (
            lambda r: MinGRU(4, 4, rngs=r, learn_initial_state=True),
            "paper",
            "initial state must be > 0, a value of g",
        ),
        (
            lambda r: MinLSTM(4, 4, rngs=r, normalize=False),
            "lucidrains",
            "normalize must be True for lucidrains, got False",
        ),
        (
            lambda r: MinLSTM(4, 4, rngs=r, forget_bias=1.0),
            "lucidrains",
            "biases of the cell must be 0, got a value of 1; lucidrains' cells have none",
        ),
        (lambda r: MinGRU(4, 4, rngs=r), "github", "repository must be one of 'lucidrains', 'p"),
    ],
)
def test_stack_without_a_twin_raises_value_error(make, repository, message):
    with pytest.raises(ValueError, match=message):
        interop.state_dict(make(nnx.Rngs(0)), repository)
