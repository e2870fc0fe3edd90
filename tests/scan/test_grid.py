"""Both scans on a grid of dtypes, lengths and gates, up to infinite ones, against float64 loops.

Everyday runs have minGRU's coefficients; `-m slow` has the other scans and the long sequences.
"""

from functools import cache, lru_cache, partial
from itertools import product
from operator import itemgetter

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rnnlab import gated_scan, linear_scan
from rnnlab.cells.mingru import MinGRUCoefficients
from rnnlab.cells.minlstm import MinLSTMCoefficients
from rnnlab.dtypes import accumulation_dtype

GATES = {
    "mingru": MinGRUCoefficients(candidate="identity"),
    "minlstm": MinLSTMCoefficients(candidate="identity"),
}
KINDS, BACKENDS = ("linear", *GATES), ("sequential", "associative")
BACKEND = pytest.mark.parametrize("backend", BACKENDS)
SLOW = pytest.mark.slow
KIND = pytest.mark.parametrize(
    "kind", [pytest.param("linear", marks=SLOW), "mingru", pytest.param("minlstm", marks=SLOW)]
)
LENGTHS = (1, 2, 3, 7, 16, 63, 64, 65, 300, 1024, 4096, 16384, 65536)
EVERYDAY_LENGTHS = {"sequential": (1, 7, 16, 65, 1024), "associative": (1, 7, 16, 300)}

MAX_ERRORS = {  # relative errors of values, and of gradients
    "float64": (1e-13, 1e-11),
    "float32": (5e-6, 5e-5),
    "float16": (1e-3, 5e-3),
    "bfloat16": (8e-3, 3e-2),
}

# Pre-activations of the gate that admits the input, as functions of samples of N(0, 1).
CONSTANTS = (0, -8, -12, 8, -20, 20, -90, 90, -1000, 1000, -np.inf, np.inf)
REGIMES = {
    **{f"N({mean}, 1)": partial(np.add, mean) for mean in (0, -8, -12, 8)},
    **{str(c): partial(np.full_like, fill_value=c) for c in CONSTANTS},
    **{f"+-{c}": partial(np.copysign, c) for c in (20, 90, 100, 1000, np.inf)},
}
COUNT = len(REGIMES)
EQUAL, UNEQUAL = ["-8", "-12", "-20"], ["N(-8, 1)", "N(-12, 1)"]


def inexact_examples(kind, dtype, length):
    """Examples whose states the dtype of the arithmetic cannot keep within `MAX_ERRORS`.

    A decay near 1 is rounded by up to half a unit. Equal decays are rounded alike, half a unit per
    step; the errors of unequal ones cancel in part, most where the decays are given directly.
    """
    state, out = (float(jnp.finfo(x).eps) / 2 for x in (accumulation_dtype(dtype), dtype))
    steps = (MAX_ERRORS[dtype][0] - (out if out > state else 0)) / state
    names = EQUAL if length > steps else []
    if length > (steps**2 if kind == "linear" else steps):
        names = names + UNEQUAL
    return [k for k, name in enumerate(3 * list(REGIMES)) if name in names]


def example(kind, dtype, length, bare=False):
    """For each regime an example of positive numbers, one of both signs, and that with resets."""
    rng = np.random.default_rng(length)
    normal = rng.normal(size=(3 * COUNT, length, 2))
    update = np.stack([f(x) for f, x in zip(3 * list(REGIMES.values()), normal, strict=True)])
    value, dh = rng.normal(size=(2, *update.shape))
    h0, dlast = rng.normal(size=(2, 3 * COUNT, 2))
    for x in (value, dh, h0, dlast):
        x[:COUNT] = np.abs(x[:COUNT])
    reset = rng.random(update.shape[:-1]) < 0.05
    reset[: 2 * COUNT] = False
    if kind == "linear":
        pre = [oracles.sigmoid(-update), oracles.sigmoid(update) * value]
    else:
        pre = [update, value] if kind == "mingru" else [-update, update, value]
    wide = dtype if kind == "linear" else accumulation_dtype(dtype)
    *pre, dh = (jnp.asarray(x).astype(dtype) for x in (*pre, dh / np.sqrt(length)))
    h0, dlast = (jnp.asarray(x).astype(wide) for x in (h0, dlast))
    if bare:
        return pre, (None if kind == "linear" else 0 * h0), dh, dlast, None
    return pre, h0, dh, dlast, jnp.asarray(reset)


def scan(kind, backend, pre, h0, reset):
    if kind == "linear":
        return (linear_scan(*pre, h0, reset=reset, backend=backend),)
    return gated_scan(GATES[kind], pre, h0, reset=reset, backend=backend)


@cache
def program(kind, backend, f=scan):
    """A jitted function to h, the last state of a gated scan, and all gradients."""

    @jax.jit
    def run(pre, h0, dh, dlast, reset):
        found, pull = jax.vjp(lambda *x: f(kind, backend, *x, reset), pre, h0)
        return jax.tree.leaves((found, pull((dh, dlast)[: len(found)])))

    return run


def coefficients(kind, pre):
    """a, b and, for each pre-activation, the derivatives of both."""
    if kind == "linear":
        return *pre, [(1, 0), (0, 1)]
    *gates, value = pre
    sigmoid = oracles.sigmoid
    if kind == "mingru":
        by, odds = [-1], gates[0]
    else:
        forget, enter = gates
        # Logarithms, as both gates may be 0 in float64 too.
        odds = np.logaddexp(0, -forget) - np.logaddexp(0, -enter)
        by = [sigmoid(-forget), -sigmoid(-enter)]
    a, z = sigmoid(-odds), sigmoid(odds)
    slopes = [(k * a * z, -k * a * z * value) for k in by]
    return a, z * value, [*slopes, (0, z)]


def oracle(kind, pre, h0, dh, dlast, reset):
    """The results of `program` in float64, and those of absolute values: their terms' size."""
    a, b, slopes = coefficients(kind, oracles.f64(*pre))
    start = np.zeros_like(a[:, 0]) if h0 is None else oracles.f64(h0)[0]
    dh = oracles.f64(dh)[0].copy()
    if kind != "linear":
        dh[:, -1] += oracles.f64(dlast)[0]
    a, b, start, dh = (np.concatenate([x, np.abs(x)]) for x in (a, b, start, dh))
    reset = None if reset is None else np.concatenate([reset, reset])
    h = oracles.linear_scan(a, b, start, reset)
    da, db, dh0 = oracles.linear_scan_gradients(a, b, start, dh, reset)
    for part, of in zip(np.split(np.arange(len(h)), 2), (np.positive, np.abs), strict=True):
        last = [] if kind == "linear" else [h[part, -1]]
        dpre = [of(x) * da[part] + of(y) * db[part] for x, y in slopes]
        yield [h[part], *last, *dpre, *([] if h0 is None else [dh0[part]])]


@lru_cache(maxsize=1)
def problem(kind, dtype, length, bare=False):
    """Arguments of `program` and the oracle's results for them."""
    with jax.enable_x64(dtype == "float64"):
        arguments = example(kind, dtype, length, bare)
    return arguments, [*oracle(kind, *arguments)]


def check(found, expected, kind, dtype, excluded):
    """Asserts errors relative to the example's largest number, and to the terms of each number.

    The second limit is for numbers that are not small. Where no terms cancel, as in most of the
    positive examples, the terms are the number itself.
    """
    examples = np.setdiff1d(np.arange(len(found[0])), excluded)
    values = 1 if kind == "linear" else 2
    for k, (x, ref, terms) in enumerate(zip(found, *expected, strict=True)):
        x, least = np.asarray(x, np.float64), float(jnp.finfo(x.dtype).smallest_subnormal)
        assert np.isfinite(x).all(), f"result {k} is not finite"
        error, ref, terms = np.abs(x - ref)[examples], np.abs(ref[examples]), terms[examples]
        largest = ref.max(tuple(range(1, ref.ndim)), keepdims=True)
        allowed = np.where(ref > 1e-3 * largest, np.minimum(terms, largest), largest)
        # Numbers below the range of float32, or that round to 0 in float16, may be 0.
        excess = error - MAX_ERRORS[dtype][k >= values] * allowed - max(1e-30, least / 2)
        bad = sorted({list(REGIMES)[examples[r] % COUNT] for r in np.argwhere(excess > 0)[:, 0]})
        assert not bad, f"result {k} is {excess.max():.1e} further off than allowed, at {bad}"


def cases():
    """Every kind, dtype and backend at the lengths that test something new."""
    for kind, dtype, backend in product(KINDS, MAX_ERRORS, BACKENDS):
        lengths = LENGTHS if dtype == "float32" else (1, 16, 65, 1024, 65536)
        everyday = EVERYDAY_LENGTHS[backend] if dtype == "float32" else (16,)
        for length in lengths:
            marks = [] if kind == "mingru" and length in everyday else [SLOW]
            yield pytest.param(kind, backend, dtype, length, False, marks=marks)
        if dtype == "float32":  # without h0 and resets
            for length in (1, 16, 65, 300):
                yield pytest.param(kind, backend, dtype, length, True, marks=[SLOW])


def check_dtypes(found, kind, dtype, arguments):
    last = [] if kind == "linear" else [accumulation_dtype(dtype)]
    like = [x.dtype for x in jax.tree.leaves(arguments[:2])]
    assert [x.dtype for x in found] == [dtype, *last, *like]


@pytest.mark.parametrize(("kind", "backend", "dtype", "length", "bare"), [*cases()])
def test_scan_in_every_gate_regime_equals_the_loop(kind, backend, dtype, length, bare):
    arguments, expected = problem(kind, dtype, length, bare)
    with jax.enable_x64(dtype == "float64"):
        found = program(kind, backend)(*arguments)
    check_dtypes(found, kind, dtype, arguments)
    check(found, expected, kind, dtype, inexact_examples(kind, dtype, length))


@KIND
@BACKEND
@pytest.mark.parametrize("dtype", MAX_ERRORS)
def test_scan_dtypes_with_float64_enabled_follow_the_arguments(x64, kind, backend, dtype):
    arguments = example(kind, dtype, 3)
    check_dtypes(jax.eval_shape(program(kind, backend), *arguments), kind, dtype, arguments)


@KIND
@BACKEND
@pytest.mark.parametrize("length", [300, pytest.param(65536, marks=SLOW)])
def test_scan_error_with_any_gates_is_at_most_one_unit_per_step(kind, backend, length):
    arguments, expected = problem(kind, "float32", length)
    found = program(kind, backend)(*arguments)
    limit = length * float(jnp.finfo(jnp.float32).eps)
    for x, ref, terms in zip(found, *expected, strict=True):
        assert (np.abs(x - ref) <= limit * terms + 1e-30).all()


def in_parts(steps, kind, backend, pre, h0, reset):
    """`scan` in parts of `steps` time steps, each from the last state, and a shorter last one."""

    def run(state, part):
        h, *last = scan(kind, backend, part[0], state, part[1])
        return last[0] if last else h[:, -1], h

    end = reset.shape[1] // steps * steps

    def parts(x):
        return jnp.moveaxis(x[:, :end].reshape(len(x), -1, steps, *x.shape[2:]), 1, 0)

    state, h = jax.lax.scan(run, h0, jax.tree.map(parts, (pre, reset)))
    h = jnp.moveaxis(h, 0, 1).reshape(len(reset), end, -1)
    if end < reset.shape[1]:
        state, rest = run(state, jax.tree.map(lambda x: x[:, end:], (pre, reset)))
        h = jnp.concatenate([h, rest], 1)
    return (h,) if kind == "linear" else (h, state)


@pytest.mark.parametrize(
    ("steps", "length"),  # all but 1 leave a shorter part
    [(7, 16), *(pytest.param(n, 4099, marks=SLOW) for n in (1, 7, 64))],
)
@KIND
@BACKEND
def test_scan_in_parts_equals_the_whole(kind, backend, steps, length):
    arguments, expected = problem(kind, "float32", length)
    found = program(kind, backend, partial(in_parts, steps))(*arguments)
    inexact = inexact_examples(kind, "float32", length)
    check(found, expected, kind, "float32", inexact)
    # Each step rounds differently in a part. The errors add up where decays are equal and near 1;
    # elsewhere they cancel in part.
    eps = float(jnp.finfo(jnp.float32).eps)
    limits = np.full(3 * COUNT, max(1e-6, length**0.5 * eps))
    limits[inexact] = length * eps
    for x, whole in zip(found, program(kind, backend)(*arguments), strict=True):
        axes = tuple(range(1, x.ndim))
        # One of the programs may flush a subnormal number to zero.
        limit = limits * np.abs(whole).max(axes) + 4 * float(jnp.finfo(jnp.float32).tiny)
        assert (np.abs(x - whole).max(axes) <= limit).all()


@KIND
@BACKEND
def test_scan_of_one_example_equals_it_in_a_batch(kind, backend):
    arguments = example(kind, "float32", 16)
    whole = program(kind, backend)(*arguments)
    # Bit for bit in a loop. In parallel, XLA rounds a product before a sum in some lanes only.
    limit = 0 if backend == "sequential" else 4 * float(jnp.finfo(jnp.float32).eps)
    for k in range(3 * COUNT):
        one = slice(k, k + 1)
        alone = program(kind, backend)(*jax.tree.map(itemgetter(one), arguments))
        for x, y in zip(alone, whole, strict=True):
            assert np.abs(x - y[one]).max() <= limit * np.abs(y[one]).max()


@KIND
@BACKEND
def test_scan_step_affects_only_later_steps_of_its_example_and_feature(kind, backend):
    pre, *rest = example(kind, "float32", 16)
    h = program(kind, backend)(pre, *rest)[0]
    changed = program(kind, backend)([x.at[:, 9:].set(0.5) for x in pre], *rest)[0]
    np.testing.assert_array_equal(changed[:, :9], h[:, :9])
    for k in range(len(pre)):
        dirty = [x.at[COUNT, 9, 0].set(np.nan) if j == k else x for j, x in enumerate(pre)]
        expected = h.at[COUNT, 9:, 0].set(np.nan)
        np.testing.assert_array_equal(program(kind, backend)(dirty, *rest)[0], expected)


@KIND
@pytest.mark.parametrize("examples", [100, pytest.param(5000, marks=SLOW)])
def test_scan_of_random_numbers_is_within_rounding_of_its_terms(kind, examples):
    """Errors are relative to the terms of each number: random numbers may cancel."""
    floats, shape = partial(st.floats, width=32), (1, 7, 1)
    number = floats(-1e3, 1e3)
    # minLSTM's coefficients bound their exponentials there: a smaller share is not followed.
    gates = {
        "linear": [floats(-1, 1)],
        "mingru": [floats(allow_nan=False)],
        "minlstm": [floats(-40), floats(-87)],
    }[kind]
    pre = [arrays(np.float32, shape, elements=x) for x in (*gates, number)]
    state = arrays(np.float32, (1, 1), elements=number)

    @settings(max_examples=examples, derandomize=examples == 100, deadline=None)
    @given(st.tuples(*pre), state, pre[-1], state, arrays(bool, shape[:-1]))
    def holds(pre, h0, dh, dlast, reset):
        arguments = list(pre), h0, dh, dlast, reset
        expected = list(oracle(kind, *arguments))
        for backend in BACKENDS:
            found = program(kind, backend)(*arguments)
            for k, (x, ref, terms) in enumerate(zip(found, *expected, strict=True)):
                limit = MAX_ERRORS["float32"][k >= (1 if kind == "linear" else 2)]
                assert (np.abs(x - ref) <= limit * terms + 1e-30).all(), (backend, k, x, ref)

    holds()
