"""The mixture density of pen movements against SciPy in float64, its bounds and its samples."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

from rnnlab.heads import Mixture
from rnnlab.heads.base import Head
from rnnlab.heads.mixture import MAX_CORRELATION, MAX_LOG_SCALE

HEAD = Mixture(components=3, pen_states=3)
RNG = np.random.default_rng(0)


def parameters(outputs):
    """The parameters of one time step, by the definition, in float64."""
    x = np.asarray(outputs, np.float64)
    scale = np.exp(MAX_LOG_SCALE * np.tanh(x[9:15].reshape(3, 2) / MAX_LOG_SCALE))
    correlation = MAX_CORRELATION * np.tanh(x[15:18])
    return special.softmax(x[:3]), x[3:9].reshape(3, 2), scale, correlation, special.softmax(x[18:])


def nats_by_scipy(outputs, target):
    weight, mean, scale, correlation, pen = parameters(outputs)
    density = 0.0
    for k in range(3):
        covariance = np.diag(scale[k] ** 2)
        covariance[0, 1] = covariance[1, 0] = correlation[k] * scale[k].prod()
        density += weight[k] * stats.multivariate_normal(mean[k], covariance).pdf(target[:2])
    return -np.log(density), -np.log(pen[int(target[2])])


def random_case(*shape):
    outputs = RNG.normal(size=(*shape, HEAD.out_features))
    targets = np.concatenate(
        [RNG.normal(size=(*shape, 2)), RNG.integers(0, 3, (*shape, 1))], axis=-1
    )
    return outputs.astype(np.float32), targets.astype(np.float32)


def test_nats_are_those_of_scipy():
    outputs, targets = random_case(4, 5)
    movement, pen = HEAD.nats(outputs, targets)
    for at in np.ndindex(4, 5):
        wanted = nats_by_scipy(outputs[at], targets[at])
        np.testing.assert_allclose((movement[at], pen[at]), wanted, rtol=3e-5, atol=3e-6)


def test_loss_is_the_mean_over_points_that_count():
    outputs, targets = random_case(2, 4)
    targets[0, 1] = np.nan
    mask = np.array([[True, True, True, False], [True, True, True, True]])
    counted = mask & ~np.isnan(targets).any(-1)
    wanted = [
        sum(nats_by_scipy(outputs[at], targets[at])) for at in map(tuple, np.argwhere(counted))
    ]
    graded = jax.jit(jax.value_and_grad(lambda x: HEAD.loss(x, targets, mask)))
    value, gradient = map(np.asarray, graded(jnp.asarray(outputs)))
    assert float(value) == pytest.approx(np.mean(wanted), rel=3e-5)
    assert not gradient[~counted].any()
    assert gradient[counted].any(-1).all()


def test_loss_and_gradient_are_finite_for_any_outputs():
    _, targets = random_case(5, 3)
    sizes = jnp.array([-1e4, -80.0, 0.0, 80.0, 1e4])[:, None, None]
    outputs = jnp.broadcast_to(sizes, (5, 3, HEAD.out_features))
    value, gradient = jax.jit(jax.value_and_grad(lambda x: HEAD.loss(x, targets)))(outputs)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()


def test_named_outputs_are_in_their_ranges():
    named = HEAD.named(1e3 * jnp.asarray(random_case(6)[0]))
    assert np.abs(named["correlation"]).max() <= MAX_CORRELATION
    assert named["scale"].min() > 0
    np.testing.assert_allclose(named["weight"].sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(named["pen"].sum(-1), 1, rtol=1e-5)
    assert isinstance(HEAD, Head)


def test_samples_have_the_moments_of_the_mixture():
    outputs = np.array([0.5, -0.5, 0.0, 1, 0, -1, 2, 0, 0, 0.3, -0.2, 0, 0, 0.1, 0, 0.5, -0.5, 0])
    outputs = np.concatenate([outputs, [0.2, -0.4, 0.0]]).astype(np.float32)
    weight, mean, scale, correlation, pen = parameters(outputs)
    many = jnp.broadcast_to(outputs, (40_000, len(outputs)))
    drawn = np.asarray(jax.jit(HEAD.sample)(many, jax.random.key(0)))
    np.testing.assert_allclose(drawn[:, :2].mean(0), weight @ mean, atol=0.03)
    product = sum(
        w * (c * s.prod() + m.prod())
        for w, m, s, c in zip(weight, mean, scale, correlation, strict=True)
    )
    assert np.mean(drawn[:, 0] * drawn[:, 1]) == pytest.approx(product, abs=0.05)
    np.testing.assert_allclose(np.bincount(drawn[:, 2].astype(int)) / len(drawn), pen, atol=0.01)


def test_samples_at_temperature_0_are_the_best_component_and_state():
    outputs, _ = random_case(7)
    drawn = np.asarray(jax.jit(HEAD.sample)(outputs, jax.random.key(1), temperature=0.0))
    for row, found in zip(outputs, drawn, strict=True):
        weight, mean, _, _, pen = parameters(row)
        np.testing.assert_allclose(found[:2], mean[weight.argmax()], rtol=1e-6)
        assert found[2] == pen.argmax()


def test_quantiles_and_invalid_sizes_are_refused():
    with pytest.raises(ValueError, match="has movements in the plane; draw from it"):
        HEAD.quantiles(np.zeros(HEAD.out_features), (0.5,))
    with pytest.raises(ValueError, match="components"):
        Mixture(0)
    with pytest.raises(ValueError, match="pen_states must be an int >= 2, got 1"):
        Mixture(1, pen_states=1)
