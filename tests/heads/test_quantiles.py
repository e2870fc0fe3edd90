"""The quantile head: its levels never cross, and its loss is minimal at the true quantiles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rnnlab.heads import Quantiles

HEAD = Quantiles(2, (0.1, 0.5, 0.9))


def test_quantiles_of_any_outputs_increase():
    outputs = jax.random.normal(jax.random.key(0), (4, 5, HEAD.out_features)) * 20
    quantiles = HEAD.named(outputs)["quantiles"]
    assert quantiles.shape == (4, 5, 2, 3)
    assert (jnp.diff(quantiles, axis=-1) >= 0).all()


def test_quantile_loss_matches_a_plain_loop():
    rng = np.random.default_rng(0)
    outputs = rng.normal(size=(3, 4, 6)).astype(np.float32)
    targets = rng.normal(size=(3, 4, 2)).astype(np.float32)
    targets[0, 1, 0] = np.nan
    mask = np.arange(4) < np.array([[4], [2], [3]])
    quantiles = np.asarray(HEAD.named(outputs)["quantiles"])
    terms = [
        2 * max(q * (y - value), (q - 1) * (y - value))
        for at in np.ndindex(3, 4, 2)
        if mask[at[:2]] and not np.isnan(y := targets[at])
        for q, value in zip(HEAD.levels, quantiles[at], strict=True)
    ]
    found = float(HEAD.loss(outputs, targets, mask))
    assert found == pytest.approx(np.mean(terms), rel=1e-5)


def test_quantile_loss_is_the_absolute_error_at_the_median():
    head = Quantiles(1, (0.5,))
    assert float(head.loss(jnp.array([[1.0]]), jnp.array([[4.0]]))) == 3.0


def test_quantile_loss_is_minimal_at_the_quantiles_of_the_targets():
    head = Quantiles(1, (0.25,))
    targets = jnp.asarray(np.random.default_rng(1).normal(size=(4001, 1)), jnp.float32)
    grid = jnp.linspace(-1.5, 0.5, 201)
    losses = jax.vmap(lambda q: head.loss(jnp.full((4001, 1), q), targets))(grid)
    assert float(grid[losses.argmin()]) == pytest.approx(np.quantile(targets, 0.25), abs=0.02)


def test_quantile_loss_has_no_gradient_without_targets():
    slope = jax.grad(lambda x: HEAD.loss(x, jnp.full((1, 2), jnp.nan)))(jnp.ones((1, 6)))
    assert not slope.any()


@pytest.mark.parametrize("levels", [(), (0.5, 0.5), (0.0, 0.5), (0.9, 0.1)])
def test_quantiles_with_invalid_levels_are_an_error(levels):
    with pytest.raises(ValueError, match="levels must increase within"):
        Quantiles(1, levels)
