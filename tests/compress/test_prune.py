"""Pruned models: exact removal of units, planted units, errors, and what is built again."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.compress import fine_tune, prune, pruned_config, tuning_config
from rnnlab.compress.elimination import Moments, backward_elimination, refit
from rnnlab.compress.units import copy_of, keep_units
from rnnlab.models import ModelConfig
from rnnlab.models.parameters import named_parameters, with_parameters
from rnnlab.models.saving import load_model, save
from rnnlab.registry import find_cell
from rnnlab.tasks.batch import Batch
from rnnlab.testing import assert_close


def build(cell="mingru", **options):
    config = ModelConfig(cell, width=6, depth=2, conv_kernel_size=2, mlp_expansion=2, **options)
    return config, config.build(4, in_features=3, rngs=nnx.Rngs(0))


def batches(count=4):
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(count, 3, 20, 3)).astype(np.float32)
    mask = np.arange(20) < np.array([20, 7, 13])[:, None]
    return [Batch(np.where(mask[..., None], x, np.nan), None, mask) for x in xs]


def outputs_of(model, batch):
    return model(None, jnp.asarray(batch.inputs))[1]


def outputs(model, batch):
    return model(None, jnp.asarray(batch.inputs), mask=jnp.asarray(batch.mask))[1]


@pytest.mark.parametrize("cell", ["mingru", "minlstm"])
def test_removed_units_leave_the_trajectories_of_all_others_unchanged(cell, getkey):
    options = {"gap_decay": True, "learn_initial_state": True, "rngs": nnx.Rngs(0)}
    whole = find_cell(cell).load()(3, 8, **options)
    xs, gaps = jax.random.normal(getkey(), (2, 30, 3)), jnp.ones((2, 30))
    small, kept = copy_of(whole), np.array([0, 3, 4, 7])
    keep_units(small, kept)
    assert_close(small(xs, gaps=gaps)[1], whole(xs, gaps=gaps)[1][..., kept], 1e-6)
    assert whole.features == 8


@pytest.mark.parametrize("planted", ["copy", "constant"])
@pytest.mark.parametrize("bidirectional", [False, True])
def test_planted_unit_is_removed_first_and_changes_nothing(planted, bidirectional):
    _, model = build(bidirectional=bidirectional)
    parameters = named_parameters(model)
    for name, x in parameters.items():
        if ".cell." in name and planted == "copy":
            parameters[name] = x.at[..., 5].set(x[..., 2])
        elif ".cell." in name:  # the gate is closed, so that the state stays 0
            value = -200.0 if name.endswith("update_bias") else 0.0
            parameters[name] = x.at[..., 5].set(value)
    model = with_parameters(model, parameters)
    small = prune(model, batches(), 1 / 12)
    for layer, whole in zip(small.body.layers, model.body.layers, strict=True):
        cells = [layer.cell.forward, layer.cell.backward] if bidirectional else [layer.cell]
        assert {cell.features for cell in cells} == {11}
        assert whole.project.kernel.shape[0] == 12 * len(cells)
    batch = batches(1)[0]
    assert_close(outputs(small, batch), outputs(model, batch), 1e-6)


def test_moments_of_samples_equal_those_of_numpy():
    x = np.random.default_rng(0).normal(2, 1, (50, 3))
    t = x @ np.ones((3, 2)) + 1
    found = Moments.of([(x[:20], t[:20]), (x[20:], t[20:])])
    np.testing.assert_allclose(found.covariance, np.cov(x.T, ddof=0), atol=1e-12)
    np.testing.assert_allclose(found.x_mean, x.mean(0))
    weights, bias = refit(found, [0, 1, 2])
    np.testing.assert_allclose(weights, 1, atol=1e-6)
    np.testing.assert_allclose(bias, 1, atol=1e-6)


def test_backward_elimination_costs_equal_regressions_without_each_unit():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(200, 6)) @ rng.normal(size=(6, 6))
    t = x @ rng.normal(size=(6, 2)) + rng.normal(size=(200, 2))
    moments = Moments.of([(x, t)])

    def error(kept):
        weights, bias = refit(moments, kept)
        return np.square(t - x[:, kept] @ weights - bias).sum(-1).mean()

    removed, costs = backward_elimination(moments, [range(6)], 3)
    kept = list(range(6))
    for unit, cost in zip(removed, costs, strict=True):
        errors = {k: error([i for i in kept if i != k]) for k in kept}
        assert unit == min(errors, key=errors.get)
        assert cost == pytest.approx(errors[unit] - error(kept), rel=1e-4)
        kept.remove(unit)


def test_backward_elimination_removes_as_many_of_each_group():
    x = np.random.default_rng(0).normal(size=(100, 6)) * np.array([9, 9, 9, 1, 1, 1])
    removed, _ = backward_elimination(Moments.of([(x, x)]), [range(3), range(3, 6)], 2)
    assert sorted(k // 3 for k in removed) == [0, 0, 1, 1]


@pytest.mark.usefixtures("implicit_promotion")
def test_pruned_trained_model_keeps_its_loss_better_than_by_magnitude(trained):
    before = trained.loss(trained.model)
    kinds = {"refit": True, "magnitude": False, "random": False}
    changes = {
        kind: trained.loss(
            prune(trained.model, trained.batches, 0.25, criterion=kind, repair=repair)
        )
        - before
        for kind, repair in kinds.items()
    }
    assert changes["refit"] < 0.06
    assert changes["refit"] < 0.5 * min(changes["magnitude"], changes["random"])
    small = prune(trained.model, trained.batches, 0.5)
    tuned = fine_tune(small, trained.data, tuning_config(trained.config, 20))
    assert trained.loss(tuned) < trained.loss(small)


def test_prune_of_stateful_batches_equals_prune_of_the_whole_sequences():
    _, model = build()
    whole = Batch(np.random.default_rng(1).normal(size=(3, 24, 3)).astype(np.float32), None)
    windows = [Batch(x, None) for x in np.split(whole.inputs, 4, 1)]
    expected = outputs_of(prune(model, [whole], 0.25), whole)
    found = outputs_of(prune(model, windows, 0.25, stateful=True), whole)
    assert_close(found, expected, 1e-5)
    from_initial_states = outputs_of(prune(model, windows, 0.25), whole)
    assert abs(from_initial_states - expected).max() > 1e-3


def test_pruned_model_is_built_again_from_its_settings_and_from_a_file(tmp_path):
    config, model = build("minlstm+gru")
    small = prune(model, batches(1), 0.3)
    assert pruned_config(config, small).cell_features == (8, 12)
    rebuilt = pruned_config(config, small).build(4, in_features=3, rngs=nnx.Rngs(1))
    rebuilt = with_parameters(rebuilt, named_parameters(small))
    save(tmp_path / "small.npz", small)
    for again in (rebuilt, load_model(tmp_path / "small.npz")):
        np.testing.assert_array_equal(outputs(again, batches(1)[0]), outputs(small, batches(1)[0]))


def test_prune_of_no_share_is_the_model(trained):
    _, model = build()
    for criterion, repair in itertools.product(("refit", "random"), (False, True)):
        same = prune(model, batches(1), 0.0, criterion=criterion, repair=repair)
        assert_close(outputs(same, batches(1)[0]), outputs(model, batches(1)[0]), 1e-5)


@pytest.mark.parametrize(
    ("cell", "share", "message"),
    [
        ("mingru", 1.0, r"share must be in \[0, 1\), got 1.0"),
        ("mingru", 0.99, "share must leave one of 12 units"),
        ("gru", 0.25, "must have a block with a minimal cell"),
    ],
)
def test_prune_invalid_arguments_raise(cell, share, message):
    with pytest.raises(ValueError, match=message):
        prune(build(cell)[1], batches(1), share)


def test_prune_of_batches_without_time_steps_raises():
    empty = [batch._replace(mask=batch.mask & False) for batch in batches(1)]
    with pytest.raises(ValueError, match="batches must have a time step"):
        prune(build()[1], empty, 0.25)
