"""Quantized models: their loss, what stays float32, sensitivity, training of rounded weights."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.compress import (
    StraightThrough,
    fine_tune,
    leaf_encodings,
    quantize,
    sensitivity,
    tuning_config,
)
from rnnlab.models import ModelConfig
from rnnlab.models.parameters import named_parameters, with_parameters

LEAF = "body.layers.0.cell.recurrent_kernel"


def gru(**options):
    config = ModelConfig("gru", width=8, depth=1, conv_kernel_size=None, mlp_expansion=1, **options)
    return config.build(6, vocab_size=6, rngs=nnx.Rngs(0))


def test_quantized_loss_of_a_trained_model_is_that_of_float32(trained):
    before = trained.loss(trained.model)
    assert before < 1.0, "the model must have learned"
    changes = {bits: trained.loss(quantize(trained.model, bits).model) - before for bits in (8, 4)}
    assert abs(changes[8]) < 0.002
    assert changes[4] < 0.1


def test_quantized_weights_follow_patterns_and_the_rest_stays_float32():
    model = gru(tie_embeddings=True)
    found = quantize(model, 4, keep=["recurrent"], leaf_bits={"embedding": 8, "mlp": 6})
    assert {n.bits for k, n in found.encodings.items() if "mlp" in k} == {6}
    assert (found.encodings["embedding"].bits, found.encodings["embedding"].channel_axis) == (8, 0)
    before, after = named_parameters(model), named_parameters(found.model)
    np.testing.assert_array_equal(after[LEAF], before[LEAF])
    for name, encoding in found.encodings.items():
        np.testing.assert_array_equal(
            after[name], encoding.decode(name, after[name].shape, found.arrays)
        )
    kept = before.keys() - found.encodings.keys()
    assert all(found.arrays[name].dtype == np.float32 for name in kept)
    carry, _ = found.model(jnp.array([[1, 2]]))
    assert carry.body[0].cell.dtype == jnp.float32


def test_quantized_bytes_are_those_of_the_arrays():
    model = gru()
    sizes = {bits: quantize(model, bits).nbytes for bits in (8, 6, 4)}
    assert (
        sizes[8] > sizes[6] > sizes[4] > sum(x.size for x in named_parameters(model).values()) / 2
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"bits": 5}, "bits must be one of 8, 6, 4, got 5"),
        ({"group": -1}, "group must be an int >= 0"),
        ({"keep": ["haed"]}, "'haed' must be a part of a weight's name"),
        ({"leaf_bits": {"head": 3}}, "bits of 'head' must be one of 8, 6, 4, got 3"),
    ],
)
def test_quantize_invalid_options_raise(options, message):
    with pytest.raises(ValueError, match=message):
        quantize(gru(), **options)


def test_quantize_of_weights_that_are_not_finite_names_them():
    model = gru()
    model.head_kernel[...] *= jnp.nan
    with pytest.raises(ValueError, match="'head_kernel' must be finite"):
        quantize(model)
    assert "head_kernel" not in quantize(model, keep=["head"]).encodings


def test_sensitivity_is_largest_for_the_weight_that_the_loss_reads():
    model, weights = gru(), {}

    def loss(model):  # in the rounding error of one weight, next to a little of all others
        errors = {
            n: float(jnp.sum((x - weights.setdefault(n, x)) ** 2))
            for n, x in named_parameters(model).items()
        }
        return 100 * errors[LEAF] + sum(errors.values())

    found = sensitivity(model, loss, leaf_encodings(model, 4))
    assert max(found, key=found.get) == LEAF
    assert found.keys() == leaf_encodings(model, 4).keys()


def test_sensitivity_finds_a_planted_outlier(trained):
    """A weight of one large value has coarse steps for all others of its channel."""
    name = "body.layers.0.project.kernel"
    parameters = named_parameters(trained.model)
    scale = jnp.ones(parameters[name].shape[0]).at[0].set(500.0)
    # The unit that is read 500 times as much has a state that is 500 times smaller.
    planted = with_parameters(
        trained.model, {**parameters, name: parameters[name] * scale[:, None]}
    )
    found = sensitivity(planted, trained.loss, leaf_encodings(planted, 4, group=0))
    assert max(found, key=found.get) == name


@pytest.mark.usefixtures("implicit_promotion")
def test_training_with_rounded_weights_lowers_the_loss_of_the_stored_model(trained):
    encodings = leaf_encodings(trained.model, 4, group=0)
    before = trained.loss(quantize(trained.model, 4, group=0).model)
    config = tuning_config(trained.config, 40)
    tuned = fine_tune(trained.model, trained.data, config, encodings=encodings)
    after = trained.loss(quantize(tuned, 4, group=0).model)
    assert after < before - 0.01
    rounds = StraightThrough(tuned, encodings)
    rounds.eval()
    assert trained.loss(rounds) == pytest.approx(after, abs=1e-5)
