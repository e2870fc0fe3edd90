"""The LSTM on cuDNN: its packing of parameters anywhere, its arithmetic where there is a GPU."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax.experimental import rnn

from rnnlab import GRU, LSTM
from rnnlab.cells.backends import cudnn


def has_gpu():
    return jax.default_backend() == "gpu"


def example():
    keys = jax.random.split(jax.random.key(0), 2)
    xs = jax.random.normal(keys[0], (2, 2, 7, 3))
    mask = jnp.arange(7)[None, None] < jnp.array([[0, 4], [7, 1]])[..., None]
    return xs, mask


def results(backend, xs, mask):
    cell = LSTM(3, 5, rngs=nnx.Rngs(0), bias_init=nnx.initializers.normal(), backend=backend)
    graphdef, params = nnx.split(cell)
    carry = jax.tree.map(lambda x: x + 0.5, cell.initial_carry(xs.shape[:-2]))

    def outputs(params, carry, xs):
        return nnx.merge(graphdef, params, copy=True)(carry, xs, mask=mask)

    found, pull = jax.vjp(outputs, params, carry, xs)
    return jax.tree.leaves((found, pull(found)))


@pytest.mark.parametrize("masked", [False, True])
def test_cudnn_equals_the_scan(monkeypatch, masked):
    if not has_gpu():  # JAX's own reference, which reads cuDNN's flat parameters

        def reference(x, h, c, weights, lengths, in_features, features, *options):
            unpacked = rnn.unpack_lstm_weights(weights, in_features, features, 1, False)
            return rnn.lstm_ref(x, h, c, *unpacked, lengths, in_features, features, *options[:-1])

        monkeypatch.setattr(rnn, "lstm", reference)
        monkeypatch.setattr(cudnn, "require_supported", lambda dtype, reset: None)
    xs, mask = example()
    mask = mask if masked else None
    with jax.default_matmul_precision("highest"):
        for x, ref in zip(results("cudnn", xs, mask), results("scan", xs, mask), strict=True):
            assert jnp.max(jnp.abs(x - ref)) <= 1e-5 * jnp.maximum(1, jnp.max(jnp.abs(ref)))


@pytest.mark.skipif(has_gpu(), reason="of machines without a GPU")
def test_cudnn_without_a_gpu_raises():
    cell = LSTM(3, 5, rngs=nnx.Rngs(0), backend="cudnn")
    with pytest.raises(ValueError, match=r"needs an NVIDIA GPU .* use backend 'scan'"):
        cell(cell.initial_carry((2,)), jnp.ones((2, 7, 3)))


def test_cudnn_with_unsupported_options_raises():
    xs, mask = example()
    cell = LSTM(3, 5, rngs=nnx.Rngs(0), backend="cudnn")
    with pytest.raises(ValueError, match="reset must be None"):
        cell(cell.initial_carry((2, 2)), xs, reset=mask)
    cell = LSTM(3, 5, rngs=nnx.Rngs(0), backend="cudnn", dtype=jnp.bfloat16)
    with pytest.raises(ValueError, match=r"dtype must be float32 .*, got bfloat16"):
        cell(cell.initial_carry((2, 2)), xs)
    with pytest.raises(
        ValueError, match="backend must be one of 'auto', 'scan', 'newton', got 'cudnn'"
    ):
        GRU(3, 5, rngs=nnx.Rngs(0), backend="cudnn")
