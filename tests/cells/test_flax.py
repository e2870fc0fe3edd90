"""The classic cells against those of Flax, run by `nnx.RNN`, in values and in gradients.

Flax's weights are made from rnnlab's inside the differentiated function, so that its gradients come
back in rnnlab's layout. Flax's GRU lacks b_hn: ours is 0 here.
"""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from oracles import relative_error

from rnnlab import GRU, LSTM, LSTMCarry, VanillaRNN

BATCH, TIME, IN, FEATURES = 2, 7, 3, 4
RTOL = {"float32": 1e-5, "float64": 1e-11}


@pytest.fixture(params=RTOL)
def dtype(request):
    if request.param == "float64":
        request.getfixturevalue("x64")
    return jnp.dtype(request.param)


def bias_in_input_layer(kernel, recurrent_kernel, bias):
    return {
        "dense_i": {"kernel": kernel, "bias": bias},
        "dense_h": {"kernel": recurrent_kernel},
    }


def bias_in_state_layer(kernel, recurrent_kernel, bias):
    return {
        "dense_i": {"kernel": kernel},
        "dense_h": {"kernel": recurrent_kernel, "bias": bias},
    }


def layers_by_gate(kernel, recurrent_kernel, bias):
    ii, if_, ig, io = ({"kernel": k} for k in jnp.split(kernel, 4, -1))
    hi, hf, hg, ho = (
        {"kernel": k, "bias": b}
        for k, b in zip(jnp.split(recurrent_kernel, 4, -1), jnp.split(bias, 4), strict=True)
    )
    return {"ii": ii, "if_": if_, "ig": ig, "io": io, "hi": hi, "hf": hf, "hg": hg, "ho": ho}


def function_of_weights(model):
    """`model` as a pure function of (weights, *arguments), the weights in a nested dict."""
    graphdef, state, rest = nnx.split(model, nnx.Param, ...)
    layout = jax.tree.structure(nnx.to_pure_dict(state))

    def run(weights, *args, **kwargs):
        assert jax.tree.structure(weights) == layout
        # NNX's state and the dict made of it have their leaves in the same order.
        filled = jax.tree.unflatten(jax.tree.structure(state), jax.tree.leaves(weights))
        return nnx.merge(graphdef, filled, rest, copy=True)(*args, **kwargs)

    return run


@pytest.mark.parametrize(
    ("make", "flax_cell", "mapping"),
    [
        (VanillaRNN, nnx.SimpleCell, bias_in_input_layer),
        (GRU, nnx.GRUCell, bias_in_input_layer),
        (LSTM, nnx.OptimizedLSTMCell, bias_in_state_layer),
        (LSTM, nnx.LSTMCell, layers_by_gate),
    ],
)
def test_outputs_state_and_gradients_equal_flax(getkey, dtype, make, flax_cell, mapping):
    cell = make(IN, FEATURES, rngs=nnx.Rngs(0), param_dtype=dtype)
    # SimpleCell's dtype is float32 by default.
    other = flax_cell(IN, FEATURES, rngs=nnx.Rngs(0), dtype=dtype, param_dtype=dtype)
    run_cell, run_flax = function_of_weights(cell), function_of_weights(nnx.RNN(other))
    no_bias = {"candidate_bias": jnp.zeros(FEATURES, dtype)} if make is GRU else {}

    def ours(weights, carry, xs):
        return run_cell({**weights, **no_bias}, carry, xs)

    def theirs(weights, carry, xs):
        carry = tuple(carry) if make is LSTM else carry
        weights = {"cell": mapping(**weights)}
        carry, ys = run_flax(weights, xs, initial_carry=carry, return_carry=True)
        return LSTMCarry(*carry) if make is LSTM else carry, ys

    def normal(like):
        return jax.tree.map(lambda x: jax.random.normal(getkey(), x.shape, x.dtype), like)

    weights = {k: getattr(cell, k)[...] for k in ("kernel", "recurrent_kernel", "bias")}
    weights = jax.tree.map(lambda w: 0.5 * w, normal(weights))
    primals = (
        weights,
        normal(cell.initial_carry((BATCH,))),
        jax.random.normal(getkey(), (BATCH, TIME, IN), dtype),
    )
    cotangents = normal(jax.eval_shape(ours, *primals))

    @jax.jit
    def run(primals, cotangents):
        def results_and_gradients(f):
            results, pull = jax.vjp(f, *primals)
            return results, pull(cotangents)

        return results_and_gradients(ours), results_and_gradients(theirs)

    found, wanted = run(primals, cotangents)
    assert jax.tree.structure(found) == jax.tree.structure(wanted)
    for (path, x), ref in zip(
        jax.tree_util.tree_leaves_with_path(found), jax.tree.leaves(wanted), strict=True
    ):
        assert x.dtype == ref.dtype == dtype, path
        error = relative_error(x, ref)
        assert error < RTOL[str(dtype)], f"{jax.tree_util.keystr(path)}: {error:.1e}"
