"""The mesh of devices that a training runs on: its settings, its axes and what must divide them."""

from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np
from jax.sharding import AxisType, Mesh

DATA, TIME, MODEL = "data", "time", "model"
AXES = (DATA, TIME, MODEL)
"""Names of the mesh axes: examples, time steps, features."""


@dataclass(frozen=True)
class MeshConfig:
    """The number of devices along each axis of the mesh that a run is trained on.

    The product of the axes is the number of devices. The same seed gives the same batches and the
    same initial parameters whatever the mesh; sums over devices round differently, so the bits of a
    result belong to its mesh. Each device draws its own dropout masks.

    Attributes:
      data: devices over which the examples of a batch are divided.
      time: devices over which the time steps of a sequence are divided.
      model: devices over which the features of the matrices are divided.
      fsdp: whether parameters and optimizer state are divided over the data axis, too, so that no
        device holds all of them.

    Raises:
      ValueError: an axis is less than 1, or fsdp is set for one device along data.

    >>> MeshConfig(data=4, time=2).num_devices
    8
    """

    data: int = 1
    time: int = 1
    model: int = 1
    fsdp: bool = False

    def __post_init__(self) -> None:
        for name, size in zip(AXES, self.shape, strict=True):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise ValueError(
                    f"mesh.{name} must be an integer >= 1, got {size!r}; change --mesh.{name}"
                )
        if self.fsdp and self.data == 1:
            raise ValueError(
                "mesh.data must be >= 2 with mesh.fsdp, which divides the parameters over it, got "
                "1; raise --mesh.data or remove --mesh.fsdp"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Devices along data, time and model."""
        return self.data, self.time, self.model

    @property
    def num_devices(self) -> int:
        """Number of devices of the mesh."""
        return self.data * self.time * self.model

    @property
    def axes(self) -> tuple[str, ...]:
        """Names of the axes with more than one device; XLA keeps the collectives of the others."""
        return tuple(name for name, size in zip(AXES, self.shape, strict=True) if size > 1)

    @property
    def manual_axes(self) -> tuple[str, ...]:
        """Those of `axes` over which the loss runs as one program per device."""
        return tuple(name for name in self.axes if name != MODEL)

    def make_mesh(self, devices: Sequence[jax.Device] | None = None) -> Mesh:
        """Returns the mesh of the first devices, with the axes that have more than one device.

        Args:
          devices: the devices to choose from; None: all devices of all processes.

        Raises:
          ValueError: there are too few devices, or a process would have none of the mesh.
        """
        devices = list(jax.devices() if devices is None else devices)
        product = " x ".join(f"{name} {n}" for name, n in zip(AXES, self.shape, strict=True))
        if self.num_devices > len(devices):
            platform = devices[0].platform
            advice = f", or add --devices {self.num_devices}" if platform == "cpu" else ""
            raise ValueError(
                f"the mesh must have at most {len(devices)} devices, those of this run, got "
                f"{product} = {self.num_devices}; lower an axis of --mesh{advice}"
            )
        processes = {device.process_index for device in devices}
        chosen = devices[: self.num_devices]
        if {device.process_index for device in chosen} != processes:
            raise ValueError(
                f"the mesh must have devices of all {len(processes)} processes, got {product} = "
                f"{self.num_devices} of {len(devices)} devices; raise an axis of --mesh"
            )
        sizes = [size for size in self.shape if size > 1]
        return Mesh(
            np.array(chosen).reshape(sizes), self.axes, axis_types=(AxisType.Auto,) * len(sizes)
        )

    def require_batch_size(self, batch_size: int) -> None:
        """Raises unless a training batch can be divided over the data axis.

        >>> MeshConfig(data=4).require_batch_size(6)
        Traceback (most recent call last):
        ValueError: the batch size must be a multiple of mesh.data, 4, got 6; ...
        """
        if batch_size % self.data:
            raise ValueError(
                f"the batch size must be a multiple of mesh.data, {self.data}, got {batch_size}; "
                "change --data.batch-size or --mesh.data"
            )

    def padded_length(self, length: int) -> int:
        """Returns the length that a batch is padded to, with `mask` False in the padding.

        >>> MeshConfig(time=4).padded_length(10)
        12
        """
        return -(-length // self.time) * self.time
