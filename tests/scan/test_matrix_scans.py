"""matrix_scan and delta_scan against loops over time."""

import functools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import oracles
import pytest

from rnnlab.scan import delta_scan, matrix_scan
from rnnlab.testing import TOLERANCE, assert_close

slow = pytest.mark.slow
KINDS = ("matrix", "delta", "erase")
KIND = pytest.mark.parametrize("kind", KINDS)
DECAYS = pytest.mark.parametrize("decays", ["head", "key"])
HEADS, KEYS, VALUES = 2, 3, 4


def example(kind, length, decays="key", *, batch=(2,), signed=False, seed=0, dtype=None):
    """Operands by name, with a first state and resets; keys have length 1."""
    keys = iter(jax.random.split(jax.random.key(seed), 10))
    dtype = dtype or jnp.zeros(0).dtype
    steps = (*batch, length, HEADS)

    def normal(*shape):
        return jax.random.normal(next(keys), shape, dtype)

    k = normal(*steps, KEYS)
    shape = (*steps, KEYS) if decays == "key" else steps
    arrays = {
        "q": normal(*steps, KEYS),
        "k": k / jnp.linalg.norm(k, axis=-1, keepdims=True),
        "v": normal(*steps, VALUES),
        "log_decay": -jnp.exp(normal(*shape)),
        "s0": normal(*batch, HEADS, KEYS, VALUES),
    }
    if kind != "matrix":
        arrays["beta"] = 2 * jax.nn.sigmoid(normal(*steps))
    if kind == "erase":
        arrays["erase"] = jax.nn.sigmoid(normal(*steps, KEYS))
    flags = {"reset": jax.random.bernoulli(next(keys), 0.3, steps[:-1])}
    if signed:
        flags["sign"] = jnp.where(jax.random.bernoulli(next(keys), 0.5, shape), 1, -1).astype(dtype)
    return arrays, flags


def run(kind, arrays, chunk=4, **flags):
    """The scan of a kind, chunks of 4 steps unless given."""
    scan = matrix_scan if kind == "matrix" else delta_scan
    return scan(**arrays, **flags, chunk=chunk)


def plain(arrays, flags):
    """The recurrence as a `jax.lax.scan`, whose derivatives are JAX's own."""
    arrays = dict(arrays)
    state, decay = arrays.pop("s0"), jnp.exp(arrays.pop("log_decay"))
    decay = decay * flags.get("sign", jnp.ones_like(decay))
    decay = decay if decay.ndim == arrays["k"].ndim else decay[..., None]
    arrays["decay"], time = decay, arrays["k"].ndim - 3

    def body(state, step):
        q, k, v, decay = (step[name] for name in ("q", "k", "v", "decay"))
        if "reset" in step:
            state = jnp.where(step["reset"][..., None, None, None], 0, state)
        state = decay[..., None] * state
        if "beta" in step:
            beta = step["beta"][..., None]
            read = jnp.einsum("...kv,...k->...v", state, step.get("erase", beta) * k)
            v = beta * v - read
        state = state + k[..., None] * v[..., None, :]
        return state, jnp.einsum("...kv,...k->...v", state, q)

    steps = {**arrays, **{name: flags[name] for name in ("reset",) if name in flags}}
    state, o = jax.lax.scan(body, state, {n: jnp.moveaxis(x, time, 0) for n, x in steps.items()})
    return jnp.moveaxis(o, 0, time), state


@KIND
@DECAYS
@pytest.mark.parametrize("length", [*(pytest.param(n, marks=slow) for n in (1, 3, 4)), 5, 9])
def test_scan_equals_a_loop_in_float64(x64, kind, decays, length):
    arrays, flags = example(kind, length, decays, signed=length != 5)
    o, last = run(kind, arrays, **flags)
    expected = oracles.matrix_scan(**arrays, **flags)
    for found, reference in zip((o, last), expected, strict=True):
        assert oracles.relative_error(found, reference) < TOLERANCE[found.dtype]


@KIND
@DECAYS
def test_gradients_equal_those_of_a_loop(x64, kind, decays):
    arrays, flags = example(kind, 9, decays, signed=True)
    weights = example(kind, 9, seed=1)[0]

    def loss(scan, arrays):
        o, last = scan(arrays)
        return jnp.sum(jnp.sin(o) * weights["v"]) + jnp.sum(jnp.cos(last) * weights["s0"])

    found = jax.jit(jax.grad(partial(loss, lambda x: run(kind, x, **flags))))(arrays)
    expected = jax.jit(jax.grad(partial(loss, lambda x: plain(x, flags))))(arrays)
    for name, gradient in expected.items():
        assert_close(found[name], gradient, f"gradient with respect to {name}")


@KIND
def test_second_derivatives_equal_those_of_a_loop(x64, kind):
    arrays, flags = example(kind, 5)

    def norm(scan):
        def loss(arrays):
            o, last = scan(arrays)
            return jnp.sum(jnp.sin(o)) + jnp.sum(jnp.sin(last))

        def of_gradients(arrays):
            return sum(jnp.sum(jnp.sin(x)) for x in jax.tree.leaves(jax.grad(loss)(arrays)))

        return jax.jit(jax.grad(of_gradients))

    found = norm(lambda x: run(kind, x, **flags))(arrays)
    assert_close(found, norm(lambda x: plain(x, flags))(arrays), "second derivatives")


@KIND
@pytest.mark.usefixtures("quick_compile")
def test_masked_steps_keep_the_state(kind):
    arrays, _ = example(kind, 6)
    state = arrays.pop("s0")
    kept = jnp.array([0, 2, 3, 5])
    mask = jnp.zeros((2, 6), bool).at[:, kept].set(True)
    poisoned = {n: x.at[:, 1].set(jnp.nan).at[:, 4].set(jnp.nan) for n, x in arrays.items()}
    o, last = run(kind, {**poisoned, "s0": state}, mask=mask)
    alone = run(kind, {**{n: x[:, kept] for n, x in arrays.items()}, "s0": state})
    assert_close((o[:, kept], last), alone, "results of a masked sequence")


@functools.cache
def with_gradients(kind):
    """A jitted function to the gradients, outputs and last state of a scan with resets."""

    def outputs(arrays, reset, weights):
        o, last = run(kind, arrays, reset=reset)
        loss = jnp.sum(jnp.where(jnp.isfinite(o), o, 0) * weights) + jnp.sum(last)
        return loss, (o, last)

    return jax.jit(jax.grad(outputs, has_aux=True))


@DECAYS
@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in KINDS for name in example(kind, 1)[0]]
)
@pytest.mark.usefixtures("quick_compile")
def test_nan_stays_in_its_segment_in_both_directions(kind, decays, name):
    arrays, _ = example(kind, 9, decays)
    reset = jnp.zeros((2, 9), bool).at[:, jnp.array([2, 6])].set(True)
    weights = example(kind, 9, seed=1)[0]["v"]
    poisoned = {**arrays, name: arrays[name].at[(0,) if name == "s0" else (0, 3)].set(jnp.nan)}
    gradient, (o, last) = with_gradients(kind)(arrays, reset, weights)
    found, (poisoned_o, poisoned_last) = with_gradients(kind)(poisoned, reset, weights)
    first, seen, end = (0, 0, 2) if name == "s0" else (2, 3, 6)
    assert jnp.isnan(poisoned_o[0, seen]).all()
    assert jnp.isnan(poisoned_o[0, seen + 1]).all() == (name != "q")
    clean = jnp.ones((2, 9), bool).at[0, seen:end].set(False)
    assert_close(poisoned_o[clean], o[clean], "outputs of other segments")
    assert_close(poisoned_last, last, "the last state")
    outside = jnp.ones((2, 9), bool).at[0, first:end].set(False)
    for operand in arrays.keys() - {"s0"}:
        assert_close(found[operand][outside], gradient[operand][outside], f"gradient of {operand}")
    assert jnp.isnan(found["k"][0, seen]).any()
    assert jnp.isnan(found["s0"][0]).any() == (name == "s0")


@KIND
@pytest.mark.usefixtures("quick_compile")
def test_nan_cotangent_reaches_only_earlier_steps_of_its_segment(kind):
    arrays, _ = example(kind, 9)
    reset = jnp.zeros((2, 9), bool).at[:, jnp.array([2, 6])].set(True)
    (o, last), pull = jax.vjp(lambda x: run(kind, x, reset=reset), arrays)
    (clean,) = pull((jnp.ones_like(o), jnp.ones_like(last)))
    (found,) = pull((jnp.ones_like(o).at[0, 4].set(jnp.nan), jnp.ones_like(last)))
    assert jnp.isnan(found["k"][0, 2:5]).all()
    for name in arrays.keys() - {"s0", "q"}:
        part = jnp.ones((2, 9), bool).at[0, 2:5].set(False)
        assert_close(found[name][part], clean[name][part], f"gradient of {name}")
    assert_close(found["s0"], clean["s0"], "gradient of the first state")


@KIND
@pytest.mark.parametrize("decays", ["key", pytest.param("head", marks=slow)])
def test_chunks_of_any_size_give_the_same_results(x64, kind, decays):
    arrays, flags = example(kind, 21, decays)
    expected = run(kind, arrays, chunk=1, **flags)
    for chunk in (2, 32, None):
        assert_close(run(kind, arrays, chunk=chunk, **flags), expected, f"chunks of {chunk}")


@KIND
@pytest.mark.usefixtures("quick_compile")
def test_any_batch_axes_are_vmap(kind):
    arrays, flags = example(kind, 5, batch=(2, 3))
    together = run(kind, arrays, **flags)
    scan = jax.vmap(jax.vmap(lambda arrays, reset: run(kind, arrays, reset=reset)))
    assert_close(scan(arrays, flags["reset"]), together, "batch axes")


@KIND
def test_no_time_steps_return_the_first_state(kind):
    arrays, _ = example(kind, 0)
    o, last = run(kind, arrays)
    assert o.shape == (2, 0, HEADS, VALUES)
    np.testing.assert_array_equal(last, arrays["s0"])


@KIND
def test_16_bit_operands_have_float32_states(kind):
    arrays, flags = example(kind, 9, dtype=jnp.bfloat16)
    o, last = run(kind, arrays, **flags)
    assert (o.dtype, last.dtype) == (jnp.bfloat16, jnp.float32)
    wide = run(kind, {name: x.astype(jnp.float32) for name, x in arrays.items()}, **flags)
    assert_close(last, wide[1], "the last state")
    assert_close(o, wide[0].astype(jnp.bfloat16), "outputs")


@KIND
@pytest.mark.usefixtures("quick_compile")
def test_symbolic_length_has_the_same_results(kind):
    arrays, flags = example(kind, 5)
    (length,) = jax.export.symbolic_shape("t")

    def symbolic(x, axis=1):
        shape = x.shape if x.shape == arrays["s0"].shape else (2, length, *x.shape[2:])
        return jax.ShapeDtypeStruct(shape, x.dtype)

    arguments = jax.tree.map(symbolic, (arrays, flags))
    function = jax.jit(lambda arrays, flags: run(kind, arrays, None, **flags))
    exported = jax.export.export(function)(*arguments)
    assert_close(exported.call(arrays, flags), run(kind, arrays, **flags), "exported results")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"k": jnp.ones((2, 5, 2, 4))}, "k must have shape"),
        ({"v": jnp.ones((2, 4, 2, 4))}, "v must have shape"),
        ({"log_decay": jnp.ones((2, 5, 3))}, "log_decay must have shape"),
        ({"s0": jnp.ones((2, 2, 3, 3))}, "s0 must have shape"),
        ({"sign": jnp.ones((2, 5, 1))}, "sign must have shape"),
        ({"reset": jnp.ones((2, 4), bool)}, "reset must have shape"),
        ({"mask": jnp.ones((2, 5), jnp.int32)}, "mask must"),
        ({"q": jnp.ones((5, 3))}, "q must have shape"),
        ({"q": jnp.ones((2, 5, 2, 3), jnp.int32)}, "q must"),
        ({"chunk": 12}, "chunk must be a power of 2"),
        ({"chunk": True}, "chunk must be a power of 2"),
    ],
)
def test_wrong_argument_is_refused_in_one_line(unchecked, change, message):
    arrays, _ = example("matrix", 5)
    with pytest.raises(ValueError, match=message) as error:
        matrix_scan(**{**arrays, **change})
    assert "\n" not in str(error.value)


def test_forward_mode_is_refused():
    arrays, _ = example("matrix", 5)
    with pytest.raises(TypeError, match="reverse mode"):
        jax.jvp(lambda x: run("matrix", {**arrays, "v": x})[0], (arrays["v"],), (arrays["v"],))
