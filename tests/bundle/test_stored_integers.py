"""Bundles with integer weights whose description does not fit the stored arrays."""

import numpy as np
import pytest
from bundle.corruptions import refusal, set_key

from rnnlab.bundle import write_bundle
from rnnlab.bundle.encodings import Integers
from rnnlab.models.parameters import named_parameters

KERNEL = "body.layers.0.cell.update_kernel"
OPTIONS = {
    "bits": (5, "bits must be one of"),
    "bits ": (8, "array 'body.layers.0.cell.update_kernel.integers' must be int8 of shape"),
    "group": (-1, "group must be an int >= 0"),
    "group ": (1, "update_kernel.scales' must be float32 of shape"),
    "channel_axis": (1, "channel_axis must be one of"),
}


@pytest.fixture
def quantized(written, arrays, tmp_path):
    """A bundle of which one kernel is stored as integers of 4 bits."""
    encoding = Integers(bits=4, group=2)
    integers = np.arange(16, dtype=np.int8).reshape(4, 4) % 8
    stored = {name: x for name, x in arrays.items() if name != KERNEL}
    stored |= encoding.arrays(KERNEL, integers, np.ones((4, 2), np.float32))
    folder = tmp_path / "bundles" / "quantized"
    encodings = {KERNEL: encoding}
    return write_bundle(folder, written.description, stored, encodings=encodings).path


@pytest.mark.parametrize(("name", "value", "message"), [(k, *v) for k, v in OPTIONS.items()])
def test_options_of_an_encoding_must_fit_the_stored_arrays(quantized, name, value, message):
    set_key("parameters", KERNEL, "encoding", name.strip(), value=value)(quantized)
    assert message in refusal(quantized)


def test_group_of_more_than_all_inputs_needs_no_memory(written, arrays, tmp_path):
    encoding = Integers(bits=8, group=1 << 60)
    stored = {name: x for name, x in arrays.items() if name != KERNEL}
    stored |= encoding.arrays(KERNEL, np.ones((4, 4), np.int8), np.full((4, 1), 2, np.float32))
    encodings = {KERNEL: encoding}
    bundle = write_bundle(tmp_path / "m", written.description, stored, encodings=encodings)
    found = named_parameters(bundle.model())[KERNEL]
    np.testing.assert_array_equal(found, np.full((4, 4), 2, np.float32))
