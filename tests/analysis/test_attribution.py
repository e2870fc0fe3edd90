import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnnlab import GRU, SequenceModel
from rnnlab.analysis import gradient_times_input, integrated_gradients


def test_attribution_of_a_linear_prediction_is_exact(getkey):
    weights = jax.random.normal(getkey(), (5, 3))
    xs = jax.random.normal(getkey(), (2, 5, 3))
    baseline = jnp.ones((1, 1, 3))

    def f(xs):
        return jnp.sum(xs * weights[None], (-2, -1))

    np.testing.assert_allclose(
        gradient_times_input(f, xs), (weights[None] * xs).sum(-1), rtol=1e-4, atol=1e-6
    )
    found = integrated_gradients(f, xs, jnp.broadcast_to(baseline, xs.shape), 3)
    np.testing.assert_allclose(found, (weights[None] * (xs - 1)).sum(-1), rtol=1e-4, atol=1e-6)


def test_integrated_gradients_of_a_cubic_equal_the_function():
    """The integral of 3 x^2 along the way is x^2, times x; the gradient times x is 3 x^3."""
    xs = jnp.array([[[2.0], [-1.0]]])

    def f(xs):
        return jnp.sum(xs**3, (-2, -1))

    np.testing.assert_allclose(integrated_gradients(f, xs, steps=200), [[8, -1]], rtol=1e-4)
    np.testing.assert_allclose(gradient_times_input(f, xs), [[24, -3]], rtol=1e-6)


def test_integrated_gradients_of_a_model_sum_to_the_prediction(getkey):
    rngs = nnx.Rngs(0)
    model = SequenceModel(GRU(8, 8, rngs=rngs), 5, vocab_size=5, rngs=rngs)
    tokens = jax.random.randint(getkey(), (2, 9), 0, 5, jnp.int32)
    carry = model.initial_carry((2,))

    def f(embedded):
        return model.predict(carry, embedded)[1][:, -1, 2]

    xs = model.embed(tokens)
    np.testing.assert_allclose(f(xs), model(carry, tokens)[1][:, -1, 2], rtol=1e-6)
    baseline = jnp.broadcast_to(xs.mean(1, keepdims=True), xs.shape)
    parts = integrated_gradients(f, xs, baseline, steps=256)
    np.testing.assert_allclose(parts.sum(-1), f(xs) - f(baseline), atol=1e-4)
