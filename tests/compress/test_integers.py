"""Weights as integers: packing, scales, and the axis of the output channels."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from rnnlab.bundle.encodings import BITS, Integers
from rnnlab.bundle.packing import from_rows, pack, to_rows, unpack
from rnnlab.compress import encode, leaf_encodings, rounded
from rnnlab.models import ModelConfig
from rnnlab.models.parameters import named_parameters
from rnnlab.registry import REGISTRY


def round_trip(x, encoding):
    arrays = encode("w", jnp.asarray(x), encoding)
    expected = encoding.stored("w", x.shape)
    assert {n: (str(v.dtype), v.shape) for n, v in arrays.items()} == expected
    return encoding.decode("w", x.shape, arrays)


def normal(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("bits", [6, 4])
def test_unpacked_integers_are_those_that_were_packed(bits):
    top = 2 ** (bits - 1)
    for count in (1, 2, 3, 4, 5, 64):
        rows = np.random.default_rng(count).integers(-top, top, (3, count), np.int8)
        packed = pack(rows, bits)
        assert packed.nbytes == 3 * math.ceil(count * bits / 8)
        np.testing.assert_array_equal(unpack(packed, bits, count), rows)


def test_packed_integers_start_in_the_lowest_bits():
    assert pack(np.array([[1, 2, 3, -1]], np.int8), 4).tobytes() == bytes([0x21, 0xF3])
    six = 1 | 2 << 6 | 3 << 12 | 0b111111 << 18
    assert pack(np.array([[1, 2, 3, -1]], np.int8), 6).tobytes() == six.to_bytes(3, "little")


@pytest.mark.parametrize("channel_axis", [0, -1])
def test_rows_by_channel_return_to_their_array(channel_axis):
    x = np.arange(24.0).reshape(2, 3, 4)
    rows = to_rows(x, channel_axis)
    assert rows.shape[0] == x.shape[channel_axis]
    np.testing.assert_array_equal(from_rows(rows, x.shape, channel_axis), x)


@pytest.mark.parametrize("channel_axis", [0, -1])
@pytest.mark.parametrize("bits", BITS)
def test_channel_of_small_weights_keeps_its_own_scale(bits, channel_axis):
    # With the scales along the other axis, the channel of weights near 1e-3 would be all zeros.
    sizes = np.array([1.0, 1e-3, 30.0], np.float32)
    x = normal(3, 40) * sizes[:, None]
    x = x if channel_axis == 0 else x.T
    found = round_trip(x, Integers(bits, 0, channel_axis))
    error = to_rows(found - x, channel_axis).std(1) / sizes
    assert error.max() < {8: 0.01, 6: 0.04, 4: 0.2}[bits]


def test_groups_have_their_own_scales_and_an_incomplete_last_one():
    x = np.concatenate([np.full(32, 1e-3), np.full(8, 5.0)]).astype(np.float32)[:, None]
    np.testing.assert_allclose(round_trip(x, Integers(4, 32)), x, rtol=1e-6)
    assert Integers(4, 32).stored("w", x.shape)["w.scales"].shape == (1, 2)


def test_group_of_more_than_all_inputs_is_all_of_them():
    x = normal(5, 3)
    np.testing.assert_array_equal(round_trip(x, Integers(4, 10**12)), round_trip(x, Integers(4)))


@pytest.mark.parametrize("shape", [(8,), (0, 8), (8, 0)])
def test_integers_of_a_parameter_without_channels_and_inputs_raise(shape):
    with pytest.raises(ValueError, match="two or more axes"):
        Integers(4).stored("bias", shape)


def test_representable_weights_are_stored_exactly():
    x = np.random.default_rng(0).integers(-7, 8, (64, 3)).astype(np.float32) / 4
    x[0] = 7 / 4
    x[:, 2] = 0
    np.testing.assert_array_equal(round_trip(x, Integers(4)), x)


def test_stored_values_of_stored_values_are_the_same():
    once = round_trip(normal(64, 8), Integers(4, 32))
    np.testing.assert_allclose(round_trip(once, Integers(4, 32)), once, rtol=1e-6)


def test_chosen_scales_have_a_smaller_squared_error_than_those_of_the_largest_weight():
    x = normal(256, 8)
    scales = np.abs(x).max(0) / 7
    unclipped = np.round(x / scales) * scales
    found = round_trip(x, Integers(4))
    assert np.square(found - x).sum() < 0.8 * np.square(unclipped - x).sum()


def test_rounded_weights_are_the_stored_ones_and_have_the_gradient_of_the_identity():
    x, encoding = normal(5, 40), Integers(4, 32, 0)
    np.testing.assert_allclose(rounded(x, encoding), round_trip(x, encoding), rtol=1e-6)
    weights = jnp.asarray(normal(5, 40))
    slope = jax.grad(lambda x: jnp.sum(weights * rounded(x, encoding)))(jnp.asarray(x))
    np.testing.assert_allclose(slope, weights)


@pytest.mark.parametrize(
    ("options", "message"),
    [((5,), "bits must be one of 8, 6, 4"), ((4, -1), "group"), ((4, 0, 1), "channel_axis")],
)
def test_integers_of_invalid_options_raise(options, message):
    with pytest.raises(ValueError, match=message):
        Integers(*options)


@pytest.mark.parametrize("cell", REGISTRY)
def test_channels_of_every_weight_are_its_outputs(cell):
    config = ModelConfig(cell, width=8, depth=1, readout="attention")
    model = nnx.eval_shape(lambda: config.build(5, vocab_size=7, rngs=nnx.Rngs(0)))
    shapes = {name: x.shape for name, x in named_parameters(model).items()}
    for name, encoding in leaf_encodings(model).items():
        channels = shapes[name][encoding.channel_axis]
        # An output has a bias, where the layer has biases; an embedding has a row per token.
        bias = name.removesuffix("kernel").removesuffix("recurrent_") + "bias"
        expected = 7 if name == "embedding" else shapes.get(bias, (channels,))[-1]
        assert channels == expected, name
    assert {"embedding", "head_kernel", "pooling.kernel"} < leaf_encodings(model).keys()
    plain = ("bias", "scale", "log_rate", "query", "skip")
    assert not [name for name in leaf_encodings(model) if name.endswith(plain)]
