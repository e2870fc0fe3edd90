"""States that decay with the time between inputs, against loops over a dense grid in float64."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.special import expit

from rnnlab import GRU, MinGRU, MinLSTM
from rnnlab.layers import Bidirectional, Block, InputDecay, OutputOnly, Stack
from rnnlab.models import ModelConfig
from rnnlab.testing import check_cell

CELLS = (MinGRU, MinLSTM, GRU)
BATCH, LENGTH, IN_FEATURES, FEATURES = 3, 40, 2, 5


def made(cls, **options):
    return cls(
        IN_FEATURES, FEATURES, gap_decay=True, param_dtype=jnp.float64, rngs=nnx.Rngs(1), **options
    )


def example(key=0):
    keys = jax.random.split(jax.random.key(key), 2)
    xs = jax.random.normal(keys[0], (BATCH, LENGTH, IN_FEATURES), jnp.float64)
    gaps = jax.random.randint(keys[1], (BATCH, LENGTH), 1, 6).astype(jnp.float64)
    return xs, gaps.at[:, 0].set(0)


def numpy_step(cell, h, x):
    """The next state of one example, by the equations of the cell's docstring."""
    p = {name: np.asarray(value[...]) for name, value in vars(cell).items() if _is_param(value)}
    if isinstance(cell, GRU):
        r, z, n = np.split(x @ p["kernel"] + p["bias"], 3)
        hr, hz, hn = np.split(h @ p["recurrent_kernel"], 3)
        r, z = expit(r + hr), expit(z + hz)
        n = np.tanh(n + r * (hn + p["candidate_bias"]))
        return (1 - z) * n + z * h
    pre = {n: x @ p[f"{n}_kernel"] + p[f"{n}_bias"] for n in cell.projections}
    c = np.where(pre["candidate"] >= 0, pre["candidate"] + 0.5, expit(pre["candidate"]))
    if isinstance(cell, MinGRU):
        z = expit(pre["update"])
        return (1 - z) * h + z * c
    f, i = expit(pre["forget"]), expit(pre["input"])
    return (f * h + i * c) / (f + i)


def _is_param(value):
    return isinstance(value, nnx.Param)


@pytest.mark.parametrize("cls", CELLS)
def test_gaps_of_whole_steps_equal_a_dense_grid_with_held_inputs(cls):
    """On the grid, inputs are held between observations, where the state only decays."""
    with jax.enable_x64(True):
        cell = made(cls)
        xs, gaps = example()
        last, ys = cell(cell.initial_carry(BATCH), xs, gaps=gaps)
        per_unit = np.exp(-np.log1p(np.exp(np.asarray(cell.gap_rate[...]))))
        for b in range(BATCH):
            times = np.cumsum(np.asarray(gaps[b])).astype(int)
            held = np.asarray(xs[b])[np.searchsorted(times, np.arange(times[-1] + 1), "right") - 1]
            observed = np.isin(np.arange(times[-1] + 1), times)
            h, found = np.zeros(FEATURES), []
            for t, (x, is_new) in enumerate(zip(held, observed, strict=True)):
                h = per_unit * h if t else h
                if is_new:
                    h = numpy_step(cell, h, x)
                    found.append(h)
            np.testing.assert_allclose(ys[b], found, rtol=0, atol=1e-11)
            np.testing.assert_allclose(last[b], h, rtol=0, atol=1e-11)


@pytest.mark.parametrize("cls", CELLS)
def test_steps_and_any_cut_equal_the_sequence(cls):
    with jax.enable_x64(True):
        cell = made(cls)
        xs, gaps = example()
        reset = jnp.zeros((BATCH, LENGTH), bool).at[:, 7].set(True)
        mask = jnp.arange(LENGTH)[None] < jnp.array([[LENGTH], [31], [20]])
        whole = cell(cell.initial_carry(BATCH), xs, gaps=gaps, reset=reset, mask=mask)
        carry, ys = cell.initial_carry(BATCH), []
        for t in range(LENGTH):
            flags = {"reset": reset[:, t], "mask": mask[:, t]}
            carry, y = cell.step(carry, xs[:, t], gaps=gaps[:, t], **flags)
            ys.append(y)
        steps = carry, jnp.stack(ys, 1)
        jax.tree.map(partial(np.testing.assert_allclose, atol=1e-12), steps, whole)
        for cut in (1, 13, LENGTH - 1):
            parts = [
                {"gaps": gaps[:, s], "reset": reset[:, s], "mask": mask[:, s]}
                for s in (slice(cut), slice(cut, None))
            ]
            carry, left = cell(cell.initial_carry(BATCH), xs[:, :cut], **parts[0])
            carry, right = cell(carry, xs[:, cut:], **parts[1])
            found = carry, jnp.concatenate([left, right], 1)
            jax.tree.map(partial(np.testing.assert_allclose, atol=1e-12), found, whole)


@pytest.mark.parametrize("cls", CELLS)
def test_gaps_of_0_change_nothing(cls):
    with jax.enable_x64(True):
        cell = made(cls)
        plain = cls(IN_FEATURES, FEATURES, param_dtype=jnp.float64, rngs=nnx.Rngs(1))
        xs, gaps = example()
        np.testing.assert_allclose(cell(xs, gaps=0 * gaps)[1], plain(xs)[1], atol=1e-14)


@pytest.mark.parametrize("cls", CELLS)
def test_gradient_of_the_rates_matches_differences(cls):
    with jax.enable_x64(True):
        cell = made(cls)
        graphdef, params = nnx.split(cell, nnx.Param)
        xs, gaps = example()

        def loss(params):
            model = nnx.merge(graphdef, params, copy=True)
            return jnp.sum(jnp.sin(model(model.initial_carry(BATCH), xs, gaps=gaps)[1]))

        found = jax.grad(loss)(params).gap_rate[...]
        for unit in range(FEATURES):

            def moved(by, unit=unit):
                copy = jax.tree.map(lambda x: x, params)
                copy.gap_rate[...] = copy.gap_rate[...].at[unit].add(by)
                return loss(copy)

            wanted = (moved(1e-5) - moved(-1e-5)) / 2e-5
            assert float(found[unit]) == pytest.approx(float(wanted), rel=1e-6, abs=1e-9)


def test_bidirectional_reads_gaps_from_the_other_end():
    with jax.enable_x64(True):
        both = Bidirectional(made(MinGRU), made(MinGRU))
        xs, gaps = example()
        mask = jnp.arange(LENGTH)[None] < jnp.array([[LENGTH], [31], [20]])
        _, ys = both(both.initial_carry(BATCH), xs, gaps=gaps, mask=mask)
        for b, length in enumerate((LENGTH, 31, 20)):
            x, gap = xs[b, :length][::-1], jnp.append(gaps[b, 1:length], 0)[::-1]
            _, wanted = both.backward(x, gaps=gap)
            np.testing.assert_allclose(ys[b, :length, FEATURES:], wanted[::-1], atol=1e-14)


def test_packed_gaps_equal_those_of_separate_sequences():
    with jax.enable_x64(True):
        both = Bidirectional(made(MinGRU, learn_initial_state=True), made(GRU))
        xs, gaps = example()
        gaps = gaps.at[:, 15].set(0)
        reset = jnp.zeros((BATCH, LENGTH), bool).at[:, 15].set(True)
        packed = both(both.initial_carry(BATCH), xs, gaps=gaps, reset=reset)[1]
        parts = [both(xs[:, s], gaps=gaps[:, s])[1] for s in (slice(15), slice(15, None))]
        np.testing.assert_allclose(packed, jnp.concatenate(parts, 1), atol=1e-14)


def test_blocks_and_models_pass_gaps_to_the_cells_that_use_them():
    rngs = nnx.Rngs(0)
    stack = Stack([Block(3, partial(MinGRU, gap_decay=True), rngs=rngs), GRU(3, 3, rngs=rngs)])
    xs, gaps = jnp.ones((2, 6, 3)), jnp.ones((2, 6))
    near, far = (stack(xs, gaps=scale * gaps)[1] for scale in (0.0, 5.0))
    assert (near != far).any()
    outputs = OutputOnly(stack)(xs, gaps=gaps)
    np.testing.assert_array_equal(outputs, stack(xs, gaps=gaps)[1])
    config = ModelConfig(width=4, depth=1, options={"gap_decay": True})
    model = config.build(2, in_features=3, rngs=rngs)
    assert model.uses_gaps
    whole = model(xs, gaps=gaps)[1]
    carry = model.initial_carry(2)
    for t in range(6):
        carry, y = model.step(carry, xs[:, t], gaps=gaps[:, t])
        np.testing.assert_allclose(y, whole[:, t], atol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        partial(MinGRU, gap_decay=True, candidate="tanh"),
        pytest.param(partial(MinLSTM, gap_decay=True), marks=pytest.mark.slow),
        pytest.param(partial(GRU, gap_decay=True), marks=pytest.mark.slow),
        pytest.param(partial(GRU, gap_decay=True, reset_after=False), marks=pytest.mark.slow),
        pytest.param(
            partial(MinGRU, gap_decay=True, learn_initial_state=True, backend="sequential"),
            marks=pytest.mark.slow,
        ),
    ],
)
def test_cell_with_gap_decay_keeps_the_contract(make):
    check_cell(make(3, 4, rngs=nnx.Rngs(0)))


def test_wrong_gaps_are_an_error_of_one_line():
    cell = MinGRU(3, 4, gap_decay=True, rngs=nnx.Rngs(0))
    xs = jnp.ones((2, 5, 3))
    with pytest.raises(ValueError, match=r"gaps must be given to MinGRU.* pass gaps="):
        cell(xs)
    with pytest.raises(ValueError, match=r"gaps must be >= 0, got -1.0 at index \(0, 3\)"):
        cell(xs, gaps=jnp.zeros((2, 5)).at[0, 3].set(-1))
    with pytest.raises(ValueError, match=r"gaps must have shape \(2, 5\)"):
        cell(xs, gaps=jnp.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"gaps must be None for GRU.* gap_decay=True"):
        GRU(3, 4, rngs=nnx.Rngs(0))(xs, gaps=jnp.zeros((2, 5)))
    with pytest.raises(ValueError, match="gap_rates must be 0 < smallest"):
        MinGRU(3, 4, gap_decay=True, gap_rates=(1.0, 0.1), rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="backend must be 'scan'"):
        GRU(3, 4, gap_decay=True, backend="newton", rngs=nnx.Rngs(0))


def test_gaps_in_padding_do_not_count():
    cell = MinGRU(3, 4, gap_decay=True, rngs=nnx.Rngs(0))
    xs, mask = jnp.ones((2, 5, 3)), jnp.arange(5)[None] < jnp.array([[5], [3]])
    gaps = jnp.ones((2, 5))
    clean = cell(cell.initial_carry(2), xs, gaps=gaps, mask=mask)
    found = cell(cell.initial_carry(2), xs, gaps=jnp.where(mask, gaps, jnp.nan), mask=mask)
    jax.tree.map(np.testing.assert_array_equal, found, clean)


def test_input_decay_fades_only_values_that_are_not_observed():
    layer = InputDecay(2, 7)
    layer.rate[...], layer.bias[...] = jnp.array([0.5, 2.0]), jnp.array([0.0, -1.0])
    x = jnp.array([2.0, 3.0, 1.0, 0.0, 4.0, 0.75, 9.0])
    _, y = layer.step((), x)
    np.testing.assert_allclose(y, [2.0, 3.0 * np.exp(-0.5), 1, 0, 4, 0.75, 9], rtol=1e-6)
    check_cell(InputDecay(1, 4))


def test_input_decay_of_a_model_needs_data_that_tells_what_is_observed():
    config = ModelConfig(width=4, depth=1, input_decay=True)
    model = config.build(2, in_features=7, num_variables=2, rngs=nnx.Rngs(0))
    assert model.decay.num_variables == 2
    with pytest.raises(ValueError, match="input_decay must be False for data"):
        config.build(2, in_features=7, rngs=nnx.Rngs(0))
