"""Every cell against torch: its own RNN, GRU and LSTM, and plain loops for the minimal cells.

Both sides are functions of (params, carry, xs) in rnnlab's layout; torch's weights are made from
rnnlab's by torch operations. So torch's autograd, which shares no code with JAX, gives every
gradient under the name it has here.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from oracles import relative_error

from rnnlab import GRU, LSTM, LSTMCarry, MinGRU, MinLSTM, VanillaRNN

torch = pytest.importorskip("torch")

BATCH, TIME, IN, FEATURES = 2, 7, 3, 4
RTOL = {"float32": 1e-5, "float64": 1e-11}


@pytest.fixture(autouse=True)
def quiet_torch():
    """One thread, and torch's global random state left as it was."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.random.fork_rng(devices=[]):
        yield
    torch.set_num_threads(threads)


@pytest.fixture(params=RTOL)
def dtype(request):
    if request.param == "float64":
        request.getfixturevalue("x64")
    return request.param


def check(theirs, getkey, cell, dtype, torch_dtype="float64", **flags):
    """Outputs, final state and all gradients of `cell` are those of the torch function `theirs`."""
    graphdef, state = nnx.split(cell)
    treedef = jax.tree.structure(state)

    def ours(params, carry, xs):
        # NNX's state and the dict made of it have their leaves in the same order.
        state = jax.tree.unflatten(treedef, jax.tree.leaves(params))
        return nnx.merge(graphdef, state, copy=True)(carry, xs, **flags)

    def normal(like):
        return jax.tree.map(lambda x: jax.random.normal(getkey(), x.shape, x.dtype), like)

    # No bias, state or cotangent is left at zero.
    params = jax.tree.map(lambda p: 0.5 * p, normal(nnx.to_pure_dict(state)))
    carry = normal(cell.initial_carry((BATCH,)))
    primals = (params, carry, jax.random.normal(getkey(), (BATCH, TIME, IN), dtype))
    cotangents = normal(jax.eval_shape(ours, *primals))

    @jax.jit
    def run(primals, cotangents):
        results, pull = jax.vjp(ours, *primals)
        return results, pull(cotangents)

    found = run(primals, cotangents)

    def to_torch(x):
        return torch.tensor(np.asarray(x, torch_dtype), requires_grad=True)

    primals, cotangents = jax.tree.map(to_torch, (primals, cotangents))
    results = theirs(*primals)
    leaves, structure = jax.tree.flatten(primals)
    gradients = torch.autograd.grad(jax.tree.leaves(results), leaves, jax.tree.leaves(cotangents))
    wanted = (results, jax.tree.unflatten(structure, gradients))

    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for (path, x), ref in zip(
        jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True
    ):
        assert x.dtype == dtype, path
        error = relative_error(x, ref.detach().numpy())
        assert error < RTOL[dtype], f"{jax.tree_util.keystr(path)}: {error:.1e}"


# The classic cells


def two_biases(p):
    """torch's b_ih and b_hh, both non-zero: where it adds the two they share our one."""
    gates = len(p["bias"])
    if "candidate_bias" not in p:
        b_hh = torch.linspace(-0.5, 0.7, gates, dtype=p["bias"].dtype)
        return p["bias"] - b_hh, b_hh
    b_hh = torch.linspace(-0.5, 0.7, 2 * FEATURES, dtype=p["bias"].dtype)
    rest = p["bias"][2 * FEATURES :]
    return (
        torch.cat([p["bias"][: 2 * FEATURES] - b_hh, rest]),
        torch.cat([b_hh, p["candidate_bias"]]),
    )


def torch_module(layer, p, carry, xs, **options):
    b_ih, b_hh = two_biases(p)
    weights = {
        "weight_ih_l0": p["kernel"].T,
        "weight_hh_l0": p["recurrent_kernel"].T,
        "bias_ih_l0": b_ih,
        "bias_hh_l0": b_hh,
    }
    network = layer(IN, FEATURES, batch_first=True, dtype=xs.dtype, **options)
    return torch.func.functional_call(network, weights, (xs, carry))


def one_state(layer, **options):
    def run(p, carry, xs):
        ys, h = torch_module(layer, p, carry[None], xs, **options)  # states of one layer
        return h[0], ys

    return run


def lstm(p, carry, xs):
    ys, (h, c) = torch_module(torch.nn.LSTM, p, (carry.h[None], carry.c[None]), xs)
    return LSTMCarry(c[0], h[0]), ys


def cell(make, dtype, **options):
    return make(IN, FEATURES, rngs=nnx.Rngs(0), param_dtype=jnp.dtype(dtype), **options)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_rnn_equals_torch(getkey, dtype, activation):
    theirs = one_state(torch.nn.RNN, nonlinearity=activation)
    check(theirs, getkey, cell(VanillaRNN, dtype, activation=activation), dtype, dtype)


def test_gru_equals_torch(getkey, dtype):
    check(one_state(torch.nn.GRU), getkey, cell(GRU, dtype), dtype, dtype)


def test_lstm_equals_torch(getkey, dtype):
    check(lstm, getkey, cell(LSTM, dtype), dtype, dtype)


# The minimal cells, against loops in float64 whatever the cell computes in

CANDIDATES = {
    "positive": lambda x: torch.where(x >= 0, x + 0.5, torch.sigmoid(x)),
    "identity": lambda x: x,
    "tanh": torch.tanh,
}
OPTIONS = [
    {"candidate": candidate, "decay_range": decay_range}
    for candidate in CANDIDATES
    for decay_range in [(0, 1), (-1, 1)]
]


def loop(coefficients, candidate, decay_range, reset=None, mask=None):
    """`h = a h + b` a step at a time, with the contract's flags: reset first, then hold."""

    def run(p, h, xs):
        ys = []
        for t in range(xs.shape[1]):
            x = xs[:, t]
            a, share = coefficients(p, x)
            a = 2 * a - 1 if decay_range == (-1, 1) else a
            g = CANDIDATES[candidate](x @ p["candidate_kernel"] + p["candidate_bias"])
            start = h if reset is None else torch.where(reset[:, t, None], p["carry"], h)
            new = a * start + share * g
            h = new if mask is None else torch.where(mask[:, t, None], new, start)
            ys.append(h if mask is None else torch.where(mask[:, t, None], h, 0.0))
        return h, torch.stack(ys, 1)

    return run


def mingru(p, x):
    z = torch.sigmoid(x @ p["update_kernel"] + p["update_bias"])
    return 1 - z, z


def minlstm(p, x):
    f = torch.sigmoid(x @ p["forget_kernel"] + p["forget_bias"])
    i = torch.sigmoid(x @ p["input_kernel"] + p["input_bias"])
    return f, i


def minlstm_normalized(p, x):
    f, i = minlstm(p, x)
    return f / (f + i), i / (f + i)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_mingru_equals_torch(getkey, dtype, options):
    check(loop(mingru, **options), getkey, cell(MinGRU, dtype, **options), dtype)


@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_minlstm_equals_torch(getkey, dtype, options, normalize):
    theirs = loop(minlstm_normalized if normalize else minlstm, **options)
    check(theirs, getkey, cell(MinLSTM, dtype, normalize=normalize, **options), dtype)


@pytest.mark.parametrize("backend", ["sequential", "associative"])
@pytest.mark.parametrize(
    ("make", "coefficients"), [(MinGRU, mingru), (MinLSTM, minlstm_normalized)]
)
def test_flags_and_a_learned_initial_state_equal_torch(getkey, x64, make, coefficients, backend):
    """The gradient of the scan is written by hand, with the flags in it."""
    rows = np.arange(BATCH)[:, None]
    reset = (np.arange(TIME) + rows) % 3 == 0
    mask = (np.arange(TIME) + rows) % 4 != 3
    init = nnx.initializers.normal(1.0)
    options = {"candidate": "tanh", "decay_range": (-1, 1)}
    theirs = loop(coefficients, **options, reset=torch.tensor(reset), mask=torch.tensor(mask))
    ours = cell(
        make,
        "float64",
        backend=backend,
        learn_initial_state=True,
        initial_state_init=init,
        **options,
    )
    flags = {"reset": jnp.asarray(reset), "mask": jnp.asarray(mask)}
    check(theirs, getkey, ours, "float64", **flags)
