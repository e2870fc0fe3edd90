"""The settings of a mesh: what they must be, and what they must divide."""

import jax
import pytest

from rnnlab.parallel.mesh import MeshConfig


def test_mesh_config_names_only_axes_of_several_devices():
    config = MeshConfig(data=2, model=3)
    assert (config.num_devices, config.axes, config.manual_axes) == (
        6,
        ("data", "model"),
        ("data",),
    )


@pytest.mark.parametrize("size", [0, -2, True, 1.5])
def test_mesh_config_of_invalid_axis_raises(size):
    with pytest.raises(ValueError, match=r"mesh\.time must be an integer >= 1"):
        MeshConfig(time=size)


def test_mesh_config_with_fsdp_on_one_device_raises():
    with pytest.raises(ValueError, match=r"mesh\.data must be >= 2 with mesh\.fsdp"):
        MeshConfig(time=4, fsdp=True)


def test_mesh_of_more_devices_than_there_are_raises():
    count = 2 * len(jax.devices())
    with pytest.raises(ValueError, match=f"got data {count} x time 1 x model 1 = {count}"):
        MeshConfig(data=count).make_mesh()


def test_batch_size_that_data_does_not_divide_raises():
    with pytest.raises(ValueError, match=r"a multiple of mesh\.data, 4, got 6"):
        MeshConfig(data=4).require_batch_size(6)


def test_length_is_padded_to_a_multiple_of_time():
    assert [MeshConfig(time=4).padded_length(n) for n in (0, 1, 8, 9)] == [0, 4, 8, 12]
