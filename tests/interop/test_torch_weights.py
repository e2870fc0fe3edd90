"""Weights of torch's recurrent layers compute in rnnlab what they compute in torch, and return."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from safetensors.numpy import save_file
from weight_tables import require_close, require_equal_parameters

from rnnlab import GRU, LSTM, Bidirectional, Dropout, MinGRU, Stack, VanillaRNN, stack_cells
from rnnlab.interop import torch as interop

torch = pytest.importorskip("torch")

BATCH, TIME, IN, FEATURES = 2, 6, 3, 4
KINDS = {
    "RNN": {},
    "RNN relu": {"nonlinearity": "relu"},
    "GRU": {},
    "LSTM": {},
}


@pytest.fixture(autouse=True)
def one_thread_of_torch():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        yield
    torch.set_num_threads(threads)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    if request.param == "float64":
        request.getfixturevalue("x64")
    return request.param


def make_module(kind, dtype="float32", layers=2, **options):
    make = getattr(torch.nn, kind.split()[0])
    options = KINDS.get(kind, {}) | options
    module = make(
        IN, FEATURES, layers, batch_first=True, dtype=getattr(torch, dtype), **options
    ).requires_grad_(False)
    for weight in module.parameters():
        weight.copy_(0.5 * torch.randn_like(weight))
    return module


def draw_inputs(module):
    dtype = module.weight_hh_l0.dtype
    cells = module.num_layers * (1 + module.bidirectional)
    xs = torch.randn(BATCH, TIME, IN, dtype=dtype)
    h, c = torch.randn(2, cells, BATCH, FEATURES, dtype=dtype)
    return xs, h, c if module.mode == "LSTM" else None


def run_torch(module, xs, h, c):
    """Outputs and last states, as arrays."""
    ys, last = module(xs, h if c is None else (h, c))
    last = last if c is not None else (last, None)
    return ys.numpy(), tuple(None if x is None else x.numpy() for x in last)


def run_rnnlab(stack, xs, h, c):
    carry, ys = stack(interop.carry(stack, h, c), jnp.asarray(xs.numpy()))
    return ys, tuple(interop.states(stack, carry))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_outputs_and_last_states_equal_torch(kind, layers, bidirectional, bias, dtype):
    module = make_module(kind, dtype, layers, bidirectional=bidirectional, bias=bias)
    inputs = draw_inputs(module)
    stack = interop.load(module)
    require_close(run_rnnlab(stack, *inputs), run_torch(module, *inputs), dtype)
    weights = interop.state_dict(stack, bias=bias)
    require_equal_parameters(
        interop.load(weights, nonlinearity=KINDS[kind].get("nonlinearity")), stack
    )
    module.load_state_dict({name: torch.tensor(x) for name, x in weights.items()})
    require_equal_parameters(interop.load(module), stack)


@pytest.mark.parametrize("kind", KINDS)
def test_sequence_continues_in_the_other_library_from_its_states(kind):
    module = make_module(kind)
    xs, h, c = draw_inputs(module)
    stack = interop.load(module)
    whole = run_torch(module, xs, h, c)
    ys, last = run_torch(module, xs[:, :4], h, c)
    theirs_first = run_rnnlab(stack, xs[:, 4:], *last)
    require_close(theirs_first, (whole[0][:, 4:], whole[1]), "float32")
    carry = interop.carry(stack, h, c)
    for t in range(4):
        carry, y = stack.step(carry, jnp.asarray(xs[:, t].numpy()))
    require_close(y, ys[:, -1], "float32")
    last = [None if x is None else torch.tensor(x) for x in interop.states(stack, carry)]
    ours_first = run_torch(module, xs[:, 4:], *last)
    require_close(ours_first, (whole[0][:, 4:], whole[1]), "float32")


@pytest.mark.parametrize(("kind", "gates"), [("GRU", 3), ("LSTM", 4)])
def test_swapped_gates_change_the_outputs(kind, gates):
    module = make_module(kind, layers=1)
    inputs = draw_inputs(module)
    wanted = run_torch(module, *inputs)[0]
    for first in range(gates - 1):
        order = list(range(gates))
        order[first], order[first + 1] = order[first + 1], order[first]
        weights = {
            name: np.concatenate([np.split(x.numpy(), gates)[k] for k in order])
            for name, x in module.state_dict().items()
        }
        found = run_rnnlab(interop.load(weights), *inputs)[0]
        assert np.abs(found - wanted).max() > 1e-2


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_safetensors_file_gives_the_weights_of_the_module(dtype, tmp_path):
    safetensors_torch = pytest.importorskip("safetensors.torch")
    module = make_module("GRU", dtype)
    stack = interop.load(module)
    assert stack.layers[0].kernel.dtype == dtype
    safetensors_torch.save_file(module.state_dict(), tmp_path / "gru.safetensors")
    require_equal_parameters(interop.load(tmp_path / "gru.safetensors"), stack)
    if dtype != "bfloat16":  # which the NumPy form of safetensors cannot write
        save_file(interop.state_dict(stack), tmp_path / "back.safetensors")
        require_equal_parameters(interop.load(tmp_path / "back.safetensors"), stack)


def test_layer_inside_a_model_is_loaded_by_prefix():
    model = torch.nn.ModuleDict({"rnn": make_module("RNN relu"), "head": torch.nn.Linear(4, 2)})
    stack = interop.load(model, prefix="rnn")
    assert stack.layers[0].activation == "relu"
    require_equal_parameters(interop.load(model.state_dict(), "RNN", prefix="rnn."), stack)
    with pytest.raises(ValueError, match=r"got 'rnn.weight_ih_l0'; pass prefix='rnn'$"):
        interop.load(model)


def test_single_cell_of_torch_is_loaded():
    cell = torch.nn.GRUCell(IN, FEATURES).requires_grad_(False)
    stack = interop.load(cell)
    x, h = torch.randn(BATCH, IN), torch.randn(BATCH, FEATURES)
    found = stack.step(interop.carry(stack, [h]), jnp.asarray(x.numpy()))[1]
    require_close(found, cell(x, h).numpy(), "float32")


def test_dropout_between_layers_is_ignored():
    module = make_module("LSTM", dropout=0.5).eval()
    stack = interop.load(module)
    assert [type(layer) for layer in stack.layers] == [LSTM, LSTM]
    layers = [stack.layers[0], Dropout(FEATURES, 0.5), stack.layers[1]]
    with_dropout = Stack(layers)
    with_dropout.eval()
    inputs = draw_inputs(module)
    wanted = run_torch(module, *inputs)
    require_close(run_rnnlab(with_dropout, *inputs), wanted, "float32")
    assert interop.state_dict(with_dropout).keys() == module.state_dict().keys()


def test_dtypes_are_those_of_the_weights_or_of_the_call():
    module = make_module("GRU", "float64")
    with pytest.raises(
        ValueError, match=r"dtype that JAX has enabled, got float64; pass param_dty"
    ):
        interop.load(module)
    stack = interop.load(module, param_dtype="float32", dtype="bfloat16", backend="newton")
    cell = stack.layers[0]
    assert cell.kernel.dtype == jnp.float32
    assert (cell.dtype, cell.backend) == (jnp.bfloat16, "newton")
    weights = module.float().state_dict()
    weights["bias_hh_l1"] = weights["bias_hh_l1"].double()
    with pytest.raises(ValueError, match=r"one dtype, got float32 of .* float64 of 'bias_hh_l1'"):
        interop.load(weights)
    weights["bias_hh_l1"] *= 1e6
    with pytest.raises(ValueError, match="bias of GRU must be finite in float16, got a larger"):
        interop.load(weights, param_dtype="float16")


def changed(**changes):
    weights = {k: v.numpy() for k, v in make_module("GRU", bidirectional=True).state_dict().items()}
    weights |= changes
    return {name: x for name, x in weights.items() if x is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"bias_ih_l1": None}, "weights of a torch GRU must have 'bias_ih_l1', got none; add it"),
        ({"weight_hh_l0": None}, "weights must have the name 'weight_hh_l0', got 'weight_ih_l0'"),
        ({"extra": np.ones(2)}, "must have only names that it has, got 'extra'; remove it"),
        ({"weight_ih_l1": np.ones((12, 4))}, r"'weight_ih_l1' must have shape \(12, 8\), got"),
        ({"weight_hr_l0": np.ones((2, 4))}, "proj_size must be 0, got 2: rnnlab's LSTM has no"),
        ({"bias_hh_l0": np.full(12, np.nan)}, "'bias_hh_l0' must be finite, got NaN"),
        ({"bias_hh_l0": np.ones(12, int)}, "'bias_hh_l0' must be float64, .* got int64; cast it"),
        ({"weight_hh_l0": np.ones((8, 4))}, "with 1, 3 or 4 gates, got"),
    ],
)
def test_weights_that_do_not_fit_raise_value_error(changes, message):
    with pytest.raises(ValueError, match=message):
        interop.load(changed(**changes))


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        (3, {}, "weights must be a module, a mapping .* got a int; pass one of these"),
        ({}, {}, "weights must have names below '', got none; change prefix"),
        ("missing.safetensors", {}, "must be a safetensors file, got no file; change the path"),
        (None, {"kind": "GRUCell"}, "kind must be one of 'RNN', 'GRU', 'LSTM'.* got 'GRUCell'"),
        (None, {"kind": "LSTM"}, r"'weight_ih_l0' must have shape \(16, 3\), got \(12, 3\)"),
        (None, {"nonlinearity": "relu"}, "nonlinearity must be None, that of the torch GRU, got"),
        (None, {"prefix": "rnn"}, "weights must have names below 'rnn.', got none"),
    ],
)
def test_invalid_argument_raises_value_error(source, options, message):
    with pytest.raises(ValueError, match=message):
        interop.load(changed() if source is None else source, **options)


def test_modules_without_a_twin_raise_value_error(tmp_path):
    with pytest.raises(ValueError, match="proj_size must be 0, got 2"):
        interop.load(torch.nn.LSTM(3, 4, proj_size=2))
    with pytest.raises(ValueError, match="nonlinearity must be 'relu', that of the torch RNN, got"):
        interop.load(make_module("RNN relu"), nonlinearity="tanh")
    torch.save({}, tmp_path / "weights.pt")
    with pytest.raises(
        ValueError, match=r"weights.pt must be a safetensors file, got .* write one"
    ):
        interop.load(tmp_path / "weights.pt")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda r: MinGRU(3, 4, rngs=r), r"torch has \(VanillaRNN, GRU, LSTM\), got MinGRU; repl"),
        (lambda r: GRU(3, 4, rngs=r, reset_after=False), "reset_after must be True for torch, got"),
        (lambda r: GRU(3, 4, rngs=r, gap_decay=True), "gap_decay must be False, got True; torch"),
        (
            lambda r: Bidirectional(GRU(3, 4, rngs=r), GRU(3, 4, rngs=r), merge="sum"),
            "merge must be 'concat' for torch, got 'sum'",
        ),
        (
            lambda r: Stack([GRU(3, 4, rngs=r), LSTM(4, 4, rngs=r)]),
            "cells must be the same in all layers of torch, got GRU, LSTM; export each layer",
        ),
        (lambda r: Stack([GRU(3, 4, rngs=r), GRU(4, 5, rngs=r)]), "widths of cells must .* 4, 5"),
        (lambda r: nnx.Linear(3, 4, rngs=r), "stack must be a Stack, a cell or .* got Linear"),
    ],
)
def test_stack_without_a_twin_raises_value_error(make, message):
    with pytest.raises(ValueError, match=message):
        interop.state_dict(make(nnx.Rngs(0)))


def test_nonzero_bias_is_not_dropped():
    stack = interop.load(make_module("RNN"))
    with pytest.raises(ValueError, match=r"bias_ih must be 0, got a value of .* pass bias=True"):
        interop.state_dict(stack, bias=False)


@pytest.mark.parametrize(
    ("h0", "c0", "message"),
    [
        (np.zeros((1, 2, 4)), None, "h0 must have one state for each of the 2 cells, got 1"),
        (np.zeros((2, 2, 4)), None, "c0 must have one state per cell, got None"),
        (np.zeros((2, 2, 5)), np.zeros((2, 2, 5)), r"must have shape \(2, 4\)"),
        (np.full((2, 2, 4), np.inf), np.zeros((2, 2, 4)), r"h0\[0\] must be finite, got NaN or"),
        (np.zeros((2, 2, 4)), [np.zeros((2, 4)), None], r"c0\[1\] must be a state, got None"),
        (np.zeros((2, 2, 4), int), np.zeros((2, 2, 4)), r"h0\[0\] must have a real floating dtype"),
    ],
)
def test_states_that_do_not_fit_raise_value_error(h0, c0, message):
    stack = stack_cells("lstm", 3, 4, num_layers=2, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match=message):
        interop.carry(stack, h0, c0)
    with pytest.raises(ValueError, match="c0 must be None where no cell is an LSTM, got states"):
        interop.carry(VanillaRNN(3, 4, rngs=nnx.Rngs(0)), np.zeros((1, 4)), np.zeros((1, 4)))


def test_states_of_one_cell_are_exchanged(getkey):
    cell = LSTM(3, 4, rngs=nnx.Rngs(0))
    carry = jax.tree.map(lambda x: jax.random.normal(getkey(), x.shape), cell.initial_carry((2,)))
    h, c = interop.states(cell, carry)
    assert h.shape == c.shape == (1, 2, 4)
    jax.tree.map(np.testing.assert_array_equal, interop.carry(cell, h, c), carry)
