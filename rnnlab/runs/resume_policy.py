"""Options for resuming a run: which environment changes are allowed and how it is interrupted."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnnlab.errors import CheckpointError
from rnnlab.runs.signals import StopSignal

REPRODUCIBILITY_PACKAGES = ("rnnlab", "jax", "jaxlib", "flax", "optax", "numpy")
"""Packages whose versions may change the bits of a result."""


@dataclass(frozen=True)
class ResumePolicy:
    """Permissions of a process that trains a run.

    The defaults reject every change that could alter its result.

    Attributes:
      is_resume: whether the run existed before.
      from_step: go back to this step and archive later ones; None is the newest.
      strict: raise if the newest checkpoint is corrupt instead of resuming from an earlier one.
      allow_device_change: resume on another processor or accelerator.
      allow_cores_change: resume with another number of CPU cores, which changes the bits.
      allow_other_mesh: resume on another mesh or number of processes, which changes the bits.
      allow_versions_change: resume with other versions of `REPRODUCIBILITY_PACKAGES`.
      stop_signal: receives signals; the default does so for the length of the training.
      held_locks: run directories whose lock the caller holds.
    """

    is_resume: bool = False
    from_step: int | None = None
    strict: bool = False
    allow_device_change: bool = False
    allow_cores_change: bool = False
    allow_versions_change: bool = False
    allow_other_mesh: bool = False
    stop_signal: StopSignal = field(default_factory=StopSignal)
    held_locks: frozenset[Path] = frozenset()

    def require_same_environment(self, stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        """Checks that the result will have the bits of an uninterrupted run.

        Args:
          stored, now: metadata of the checkpoint and of this process.

        Raises:
          CheckpointError: device, cores, processes, mesh or versions differ and the policy does not
            allow it.
        """
        known, current = _device(stored), _device(now)
        if known != current and not self.allow_device_change:
            raise CheckpointError(
                f"the device must be {known}, on which the run was trained, got {current}, which "
                "changes the bits of its result; resume there, or use `rnnlab resume` with "
                "--allow-device-change"
            )
        cores = stored.get("cores")
        if cores != now["cores"] and not self.allow_cores_change:
            raise CheckpointError(
                f"the number of CPU cores must be {cores}, with which the run was trained, got "
                f"{now['cores']}, which changes the bits of its result; set NPROC={cores}, or use "
                "`rnnlab resume` with --allow-cores-change"
            )
        known, current = _layout(stored), _layout(now)
        if known != current and not self.allow_other_mesh:
            raise CheckpointError(
                f"the run must have {known}, with which it was trained, got {current}, which "
                "changes the bits of its result; start it so, or use `rnnlab resume` with "
                "--allow-other-mesh"
            )
        for name in REPRODUCIBILITY_PACKAGES:
            known, current = stored.get("versions", {}).get(name), now["versions"].get(name)
            if known != current and not self.allow_versions_change:
                raise CheckpointError(
                    f"{name} must be {known}, with which the run was trained, got {current}, which "
                    "may change the bits of its result; install that version, or use "
                    "`rnnlab resume` with --allow-versions-change"
                )


def _device(metadata: Mapping[str, Any]) -> str:
    """Returns the accelerator's name, or the processor's: JAX calls every processor `cpu`."""
    device = metadata.get("device", "cpu")
    return metadata.get("processor") if device == "cpu" else device


def _layout(metadata: Mapping[str, Any]) -> str:
    """Returns the number of processes and the mesh; earlier checkpoints have neither."""
    count = metadata.get("processes", 1)
    axes = [
        f"{name} {size}"
        for name, size in metadata.get("mesh", {}).items()
        if size not in (1, False)
    ]
    processes = f"{count} process{'es' if count > 1 else ''}"
    return f"{processes} and {'the mesh ' + ' x '.join(axes) if axes else 'no mesh'}"
