"""Cells with gates open or shut to the last digit, in every dtype, cut anywhere, only or not."""

import functools
import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rnnlab import CELLS as ALL_CELLS
from rnnlab import GRU, LSTM, MinGRU, MinLSTM, VanillaRNN
from rnnlab.dtypes import accumulation_dtype

BATCH, TIME, IN = 3, 5, 2
BIASES = (0, -8, -12, 8, -20, 20, -90, 90, -100, 100, -1000, 1000)
"""Of as many features."""
DTYPES = ("float32", "float16", "float64", "bfloat16")
DEMANDS = {"float64": 1e-13, "float32": 5e-6}
SLOW = pytest.mark.slow
# Mamba has a test of its own; its biases are not those of gates.
CELLS = {name: cell for name, cell in ALL_CELLS.items() if name != "mamba"}
VARIANTS = {
    **CELLS,
    "rnn relu": partial(VanillaRNN, activation="relu"),
    "gru before": partial(GRU, reset_after=False),
    "mingru signed": partial(MinGRU, decay_range=(-1, 1), candidate="identity"),
    "mingru learned": partial(MinGRU, learn_initial_state=True),
    "minlstm raw": partial(MinLSTM, normalize=False, candidate="tanh"),
    "mingru associative": partial(MinGRU, backend="associative"),
    "minlstm associative": partial(MinLSTM, backend="associative", decay_range=(-1, 1)),
    "rnn newton": partial(VanillaRNN, backend="newton"),
    "gru newton": partial(GRU, backend="newton"),
    "lstm newton": partial(LSTM, backend="newton"),
}
# Of minimal cells the scans' tests know better: what 1 - z loses of a shut gate, they do not.
ORACLES = {
    "rnn": oracles.rnn_step,
    "rnn relu": partial(oracles.rnn_step, activation="relu"),
    "gru": oracles.gru_step,
    "gru before": partial(oracles.gru_step, reset_after=False),
    "lstm": oracles.lstm_step,
}


def over(names):
    long = [pytest.param(name, marks=SLOW) for name in names if name not in CELLS]
    return pytest.mark.parametrize("name", [*CELLS, *long])


EVERY = over(VARIANTS)
# The others compute all steps together: in its last digits a state may depend on later ones.
STEP_BY_STEP = over(
    [name for name in VARIANTS if name.split()[-1] not in ("associative", "newton")]
)


@functools.cache
def build(name, dtype="float32"):
    return VARIANTS[name](IN, len(BIASES), rngs=nnx.Rngs(0), dtype=dtype, param_dtype=dtype)


@functools.cache
def forward(name, dtype="float32"):
    graphdef, _ = nnx.split(build(name, dtype))

    @jax.jit
    def run(params, carry, xs, reset, mask):
        model = nnx.merge(graphdef, params, copy=True)
        return model(carry, xs, reset=reset, mask=mask)

    return run


@functools.cache
def both(name, dtype="float32"):
    """A jitted function to the results and to the gradients of parameters, carry and inputs."""

    @jax.jit
    def run(params, carry, xs, reset, mask):
        found, pull = jax.vjp(lambda *x: forward(name, dtype)(*x, reset, mask), params, carry, xs)
        return found, pull(jax.tree.map(jnp.ones_like, found))

    return run


def with_biases(cell, draw):
    """The cell's parameters, with `draw(gates)` as the biases of so many gates in one array."""
    params = nnx.state(cell, nnx.Param)
    biases = {
        key: jnp.asarray(draw(value.size // len(BIASES)), value.dtype)
        for key, value in nnx.to_pure_dict(params).items()
        if "bias" in key
    }
    nnx.replace_by_pure_dict(params, biases)
    return params


def example(name, dtype="float32", seed=0):
    """Arguments for a cell each of whose gates has every bias, in another order."""
    rng = np.random.default_rng(seed)
    cell = build(name, dtype)

    def draw(gates):
        return np.concatenate([rng.permutation(BIASES) for _ in range(gates)])

    def normal(x):
        return jnp.asarray(rng.normal(size=x.shape), x.dtype)

    params = with_biases(cell, draw)
    carry = jax.tree.map(normal, cell.initial_carry((BATCH,)))
    xs = normal(jnp.zeros((BATCH, TIME, IN), dtype))
    flags = jnp.zeros((BATCH, TIME), bool)
    return params, carry, xs, flags, ~flags


def equal(found, wanted):
    for x, y in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_array_equal(x, y)


def in_numpy(tree):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), tree)


def cases():
    everyday = [
        *itertools.product(CELLS, ["float32"]),
        ("mingru", "float16"),
        ("minlstm", "float16"),
    ]
    for case in itertools.product(VARIANTS, DTYPES):
        yield case if case in everyday else pytest.param(*case, marks=SLOW)


@pytest.mark.parametrize(("name", "dtype"), [*cases()])
def test_saturated_gates_give_finite_exact_values(name, dtype):
    """Finite, and where there is an oracle, values equal to its own, bias by bias."""
    for seed in range(2):
        with jax.enable_x64(dtype == "float64"):
            params, carry, xs, *flags = example(name, dtype, seed)
            (last, ys), gradients = both(name, dtype)(params, carry, xs, *flags)
        for x in jax.tree.leaves((last, ys, gradients)):
            assert np.isfinite(x.astype(np.float32)).all()
        if name in ORACLES and dtype in DEMANDS:
            carry = in_numpy(carry) if "lstm" not in name else tuple(in_numpy(carry))
            run = partial(oracles.run_cell, ORACLES[name], in_numpy(nnx.to_pure_dict(params)))
            _, wanted = run(carry, in_numpy(xs))
            error, largest = (np.abs(x).max((0, 1)) for x in (in_numpy(ys) - wanted, wanted))
            assert (error <= DEMANDS[dtype] * largest + 1e-30).all()


@EVERY
@pytest.mark.parametrize("dtype", [*DTYPES[2:], *(pytest.param(d, marks=SLOW) for d in DTYPES[:2])])
def test_results_and_gradients_keep_their_dtypes(x64, name, dtype):
    arguments = example(name, dtype)
    (last, ys), gradients = jax.eval_shape(both(name, dtype), *arguments)
    assert ys.dtype == dtype
    assert {x.dtype for x in jax.tree.leaves(last)} == {accumulation_dtype(dtype)}
    for x, d in zip(jax.tree.leaves(arguments[:3]), jax.tree.leaves(gradients), strict=True):
        assert d.dtype == x.dtype


@EVERY
def test_single_row_equals_the_row_in_its_batch(name):
    params, *arguments = example(name)
    whole = forward(name)(params, *arguments)
    for row in range(BATCH):
        one = slice(row, row + 1)
        alone = forward(name)(params, *jax.tree.map(lambda x, one=one: x[one], arguments))
        for x, y in zip(jax.tree.leaves(alone), jax.tree.leaves(whole), strict=True):
            # Of one row a matmul is a product with a vector, which sums in another order.
            limit = 0 if name.startswith("min") else 8 * float(jnp.finfo(x.dtype).eps)
            assert np.abs(x - y[one]).max() <= limit * np.abs(y[one]).max()


@STEP_BY_STEP
def test_changed_step_changes_no_earlier_step_and_no_other_row(name):
    params, carry, xs, *flags = example(name)
    _, ys = forward(name)(params, carry, xs, *flags)
    for change in (1.0, jnp.nan):
        _, changed = forward(name)(params, carry, xs.at[1, 3].add(change), *flags)
        assert not np.array_equal(changed, ys)
        np.testing.assert_array_equal(changed.at[1, 3:].set(0), ys.at[1, 3:].set(0))


@EVERY
@pytest.mark.parametrize("dtype", ["float32", pytest.param("float64", marks=SLOW)])
def test_carry_from_a_file_continues_bit_for_bit(name, dtype, tmp_path):
    with jax.enable_x64(dtype == "float64"):
        params, *arguments = example(name, dtype)
        carry, _ = forward(name, dtype)(params, *arguments)
        leaves, treedef = jax.tree.flatten(carry)
        # Numbers that a file of decimals would lose.
        leaves[0] = leaves[0].at[0, :3].set(jnp.array([-0.0, 1e-40, 1 / 3], leaves[0].dtype))
        for k, leaf in enumerate(leaves):
            np.save(tmp_path / f"{k}.npy", leaf, allow_pickle=False)
        read = [np.load(tmp_path / f"{k}.npy", allow_pickle=False) for k in range(len(leaves))]
        for x, leaf in zip(read, leaves, strict=True):
            assert (x.dtype, x.tobytes()) == (leaf.dtype, np.asarray(leaf).tobytes())
        kept, loaded = (jax.tree.unflatten(treedef, x) for x in (leaves, read))
        equal(*(forward(name, dtype)(params, x, *arguments[1:]) for x in (kept, loaded)))


def numbers(shape, size):
    size = float(np.float32(size))
    return arrays(np.float32, shape, elements=st.floats(-size, size, width=32))


@pytest.mark.parametrize("examples", [200, pytest.param(5000, marks=SLOW)])
def test_random_inputs_cut_anywhere_are_finite_and_equal(examples):
    """All finite, and two calls, each with the other's steps masked, are one, bit for bit."""
    features = len(BIASES)

    @settings(max_examples=examples, derandomize=examples == 200, deadline=None)
    @given(
        name=st.sampled_from(list(CELLS)),
        biases=numbers((4, features), 1e30),
        states=numbers((2, BATCH, features), 1e3),
        xs=numbers((BATCH, TIME, IN), 1e3),
        reset=arrays(bool, (BATCH, TIME)),
        cuts=arrays(np.int32, BATCH, elements=st.integers(0, TIME)),
    )
    def holds(name, biases, states, xs, reset, cuts):
        cell, parts = build(name), iter(biases)
        params = with_biases(
            cell, lambda count: np.concatenate([next(parts) for _ in range(count)])
        )
        treedef = jax.tree.structure(cell.initial_carry((BATCH,)))
        carry = jax.tree.unflatten(treedef, states[: treedef.num_leaves])
        first = np.arange(TIME) < cuts[:, None]
        run = partial(both(name), params)
        whole, gradients = run(carry, xs, reset, np.ones_like(reset))
        assert all(np.isfinite(x).all() for x in jax.tree.leaves((whole, gradients)))
        (middle, left), _ = run(carry, xs, reset & first, first)
        (end, right), _ = run(middle, xs, reset & ~first, ~first)
        equal((end, left + right), whole)

    holds()
