"""Heads of distributions against SciPy: likelihoods, quantiles and gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from rnnlab.heads import NegativeBinomial, Quantiles, StudentT

RNG = np.random.default_rng(0)
LEVELS = (0.025, 0.5, 0.975)


def student_t(p):
    return stats.t(p["freedom"], p["location"], p["scale"])


def negative_binomial(p):
    failures = 1 / p["dispersion"]
    return stats.nbinom(failures, failures / (failures + p["mean"]))


CASES = {
    "student_t": (StudentT(2), student_t, RNG.normal(size=(3, 4, 2)) * 3),
    "negative_binomial": (NegativeBinomial(2), negative_binomial, RNG.poisson(4, (3, 4, 2)) * 1.0),
}


@pytest.fixture(params=CASES)
def case(request):
    head, distribution, targets = CASES[request.param]
    outputs = RNG.normal(size=(3, 4, head.out_features)).astype(np.float32)
    named = {name: np.asarray(x, np.float64) for name, x in head.named(outputs).items()}
    return head, distribution(named), outputs, targets.astype(np.float32)


def test_loss_is_the_negative_log_likelihood(case):
    head, distribution, outputs, targets = case
    targets[0, 1, 0] = np.nan
    mask = np.arange(4) < np.array([[4], [2], [3]])
    known = ~np.isnan(targets) & mask[..., None]
    filled = np.where(known, targets, 0)
    log_p = getattr(distribution, "logpdf" if isinstance(head, StudentT) else "logpmf")(filled)
    found = float(head.loss(outputs, targets, mask))
    assert found == pytest.approx(-log_p[known].mean(), rel=2e-5)


def test_quantiles_are_those_of_the_distribution(case):
    head, distribution, outputs, _ = case
    found = head.quantiles(outputs, LEVELS)
    assert found.shape == (3, 4, 2, 3)
    for k, level in enumerate(LEVELS):
        np.testing.assert_allclose(found[..., k], distribution.ppf(level), rtol=1e-5)


def test_gradients_are_finite_for_any_outputs_and_0_without_targets(case):
    head, _, _, targets = case
    for size in (-80.0, 80.0):
        outputs = jnp.full((3, 4, head.out_features), size)
        assert jnp.isfinite(jax.grad(head.loss)(outputs, targets)).all()
    assert not jax.grad(head.loss)(outputs, np.full_like(targets, np.nan)).any()


def test_training_finds_the_distribution_of_the_data():
    counts = np.random.default_rng(1).negative_binomial(4, 0.4, (4000, 1)).astype(np.float32)
    head, outputs = NegativeBinomial(1), jnp.ones(2)

    def loss(outputs):
        return head.loss(jnp.broadcast_to(outputs[None], (4000, 2)), counts)

    step = jax.jit(lambda outputs: outputs - 0.5 * jax.grad(loss)(outputs))
    for _ in range(400):
        outputs = step(outputs)
    p = head.named(outputs)
    assert float(p["mean"][0]) == pytest.approx(6, rel=0.05)
    assert float(p["dispersion"][0]) == pytest.approx(1 / 4, rel=0.15)


def test_quantiles_of_a_level_that_was_not_trained_are_an_error():
    head = Quantiles(1, (0.1, 0.5))
    assert head.quantiles(np.zeros((1, 2)), (0.5,)).shape == (1, 1, 1)
    with pytest.raises(ValueError, match=r"levels must be among those that were trained"):
        head.quantiles(np.zeros((1, 2)), (0.9,))
