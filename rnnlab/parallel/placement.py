"""The shardings of a training's arrays: of its state and of its batches."""

from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from rnnlab.parallel.mesh import DATA, TIME, MeshConfig
from rnnlab.parallel.padding import pad_batch
from rnnlab.parallel.rules import names_of, parameter_specs
from rnnlab.tasks.batch import TIME_FIELDS, Batch


class Placement:
    """The mesh of a training and the shardings of its arrays.

    Attributes:
      config: the settings of the mesh.
      mesh: the mesh of `jax.Device`s, without axes of one device.
      parameter_shapes: the shapes of the model's parameters, with their structure.
      replicated: the sharding of an array that every device holds whole.
      examples: the sharding of an array whose first axis is that of the examples, as of carries.
      time_steps: the sharding of an array of examples and time steps, as of outputs.
    """

    def __init__(self, config: MeshConfig, params: Any):
        """Chooses the devices, and the axis of each parameter that they divide.

        Args:
          config: the settings of the mesh.
          params: the parameters of the model, arrays or their shapes.

        Raises:
          ValueError: there are too few devices.
        """
        self.config = config
        self.mesh = config.make_mesh()
        self.parameter_shapes = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params
        )
        self.replicated = self._sharding(PartitionSpec())
        self.examples = self._sharding(self._present(DATA))
        self.time_steps = self._sharding(self._present(DATA, TIME))
        self._specs = parameter_specs(params, config)

    def parameter_spec(self, names: tuple[str, ...], shape: tuple[int, ...]) -> PartitionSpec:
        """Returns the spec of a parameter, or of an optimizer's array that belongs to one.

        Args:
          names: the path of the array, which ends with that of its parameter.
          shape: its shape; an array of another shape than its parameter is on every device.
        """
        for k in range(len(names)):
            known, spec = self._specs.get(names[k:], ((), None))
            if spec is not None and known == tuple(shape):
                return spec
        return PartitionSpec()

    def parameters(self, tree: Any) -> Any:
        """Returns the shardings of parameters or of the state of an optimizer."""
        return jax.tree_util.tree_map_with_path(
            lambda path, x: self._sharding(self.parameter_spec(names_of(path), x.shape)), tree
        )

    def batch(self, batch: Batch, *, stacked: bool = False) -> Batch:
        """Returns the sharding of each array of a batch.

        Args:
          batch: arrays or their shapes.
          stacked: whether there is a leading axis over the batches of one update.
        """
        specs = self.batch_specs(batch, stacked=stacked)
        return jax.tree.map(self._sharding, specs, is_leaf=lambda x: isinstance(x, PartitionSpec))

    def with_shardings(self, batches: Batch) -> Batch:
        """Returns the shapes of the stacked batches of an update, with their shardings."""
        return jax.tree.map(
            lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
            batches,
            self.batch(batches, stacked=True),
        )

    def batch_specs(self, batch: Batch, *, stacked: bool = False) -> Batch:
        """Returns the spec of each array of a batch: see `batch`."""
        lead = (None,) if stacked else ()
        of_steps = PartitionSpec(*lead, *self._present(DATA, TIME))
        of_examples = PartitionSpec(*lead, *self._present(DATA))
        fields = {
            name: jax.tree.map(lambda _, n=name: of_steps if n in TIME_FIELDS else of_examples, x)
            for name, x in batch._asdict().items()
        }
        return Batch(**fields)

    def manual_spec(self, spec: PartitionSpec) -> PartitionSpec:
        """Returns the part of a spec that is over the axes that `jax.shard_map` divides."""
        manual = self.config.manual_axes
        return PartitionSpec(*(name if name in manual else None for name in spec))

    def pad_time(self, batch: Batch) -> Batch:
        """Returns a batch of host arrays whose length is a multiple of the time axis.

        Raises:
          ValueError: time is divided, and the batch has sequences that its axis does not divide.
        """
        if self.config.time > 1 and (batch.labels is not None or batch.source is not None):
            raise ValueError(
                "mesh.time must be 1 for data with label sequences or second sequences, whose time "
                f"axis is another one, got {self.config.time}; use --mesh.data"
            )
        length = self.config.padded_length(batch.inputs.shape[1])
        return pad_batch(batch, len(batch.inputs), length)

    def put(self, batch: Batch) -> Batch:
        """Returns one batch on the devices, with examples and time steps added: see `pad_batch`."""
        batch = self.pad_time(batch)
        examples = -(-len(batch.inputs) // self.config.data) * self.config.data
        batch = pad_batch(batch, examples, 0)
        return jax.tree.map(
            lambda x, sharding: jax.make_array_from_callback(
                x.shape, sharding, lambda index: _canonical(x[index])
            ),
            batch,
            self.batch(batch),
        )

    @property
    def devices_per_memory(self) -> int:
        """Number of devices that share a memory: those of this process on a CPU, else 1."""
        local = [d for d in self.mesh.devices.flat if d.process_index == jax.process_index()]
        return len(local) if local[0].platform == "cpu" else 1

    def shard_bytes(self, params: Any) -> int:
        """Returns the bytes of parameters that one device holds."""
        sizes = [
            int(np.prod(sharding.shard_shape(tuple(x.shape)))) * x.dtype.itemsize
            for x, sharding in zip(
                jax.tree.leaves(params), jax.tree.leaves(self.parameters(params)), strict=True
            )
        ]
        return sum(sizes)

    def _present(self, *names: str) -> PartitionSpec:
        axes = self.config.axes
        return PartitionSpec(*(name if name in axes else None for name in names))

    def _sharding(self, spec: PartitionSpec) -> NamedSharding:
        return NamedSharding(self.mesh, spec)


def _canonical(x: np.ndarray) -> np.ndarray:
    """Returns an array of the dtype that JAX uses for it."""
    return x.astype(jax.dtypes.canonicalize_dtype(x.dtype), copy=False)
