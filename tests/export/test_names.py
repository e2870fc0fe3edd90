"""Names of inputs, outputs and carries of exported files."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab import LSTM, MinGRU, ModelConfig
from rnnlab.export import (
    flatten_carry,
    initial_values,
    input_fields,
    output_fields,
    unflatten_carry,
)


def model(**settings):
    config = ModelConfig(width=8, depth=2, **settings)
    return config.build(5, vocab_size=7, rngs=nnx.Rngs(0))


def test_fields_of_a_token_model_name_every_leaf_of_its_carry():
    lstm = model(cell="mingru+lstm", readout="attention")
    inputs, outputs = input_fields(lstm, "sequence"), output_fields(lstm, "sequence")
    leaves = jax.tree.leaves(lstm.initial_carry((3,)))
    assert (inputs[0].dtype, inputs[0].shape) == ("int32", ("batch", "time"))
    assert outputs[0].shape == ("batch", "time", 5)
    assert [f.name for f in inputs[1:]] == [f"carry.{k}" for k in range(len(leaves))]
    assert [f.name for f in outputs[1:]] == [f"next_carry.{k}" for k in range(len(leaves))]
    for field, leaf in zip(inputs[1:], leaves, strict=True):
        assert field.shape == ("batch", *leaf.shape[1:])
        assert field.dtype == leaf.dtype.name


def test_fields_of_a_step_with_flags_and_gaps_have_no_time_axis():
    cell = MinGRU(3, 4, gap_decay=True, rngs=nnx.Rngs(0))
    fields = {f.name: f.shape for f in input_fields(cell, "step", ("mask", "reset"))}
    assert list(fields) == ["inputs", "carry.0", "reset", "mask", "gaps"]
    assert fields["reset"] == fields["gaps"] == ("batch",)


def test_fields_of_an_unknown_flag_raise():
    with pytest.raises(ValueError, match=r"flags must be one of .*'padding'"):
        input_fields(model(), "step", ("padding",))


def test_unflattened_carry_equals_the_flattened_one():
    carry = model(cell="lstm", readout="mean").initial_carry((2,))
    carry = jax.tree.map(lambda x: x + 0.5, carry)
    back = unflatten_carry(
        model(cell="lstm", readout="mean"), flatten_carry(carry, "next_carry"), "next_carry"
    )
    assert jax.tree.structure(back) == jax.tree.structure(carry)
    assert all(map(jnp.array_equal, jax.tree.leaves(back), jax.tree.leaves(carry)))


def test_unflattened_carry_without_an_array_raises():
    with pytest.raises(ValueError, match=r"got none for carry\.1; add it"):
        unflatten_carry(LSTM(3, 4, rngs=nnx.Rngs(0)), {"carry.0": np.zeros((1, 4))})


def test_initial_values_of_a_learned_state_are_a_list():
    cell = MinGRU(3, 4, learn_initial_state=True, rngs=nnx.Rngs(0))
    values = initial_values(cell)["carry.0"]
    np.testing.assert_array_equal(np.float32(values), cell.carry[...])
