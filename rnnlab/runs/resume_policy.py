"""How a run is gone on with: what one sitting may pass over, and how it is stopped."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rnnlab.errors import CheckpointError
from rnnlab.runs.signals import StopSignal

DECIDING = ("rnnlab", "jax", "jaxlib", "flax", "optax", "numpy")
"""Packages whose versions decide the bits of a result."""


@dataclass(frozen=True)
class ResumePolicy:
    """One sitting of a run. The defaults refuse whatever could change its result.

    Attributes:
      resumed: whether the run was there before.
      from_step: goes back to this step, and moves later ones out of the way; None is the newest.
      strict: refuses a damaged newest step instead of going on from an earlier one.
      allow_other_device: goes on with another processor or accelerator.
      allow_other_cores: goes on with another number of cores, by which bits differ.
      allow_other_versions: goes on with other versions of the packages that decide the bits.
      interruption: where signals are noted; the default notes them for the length of the training.
      held: folders whose lock the caller holds.
    """

    resumed: bool = False
    from_step: int | None = None
    strict: bool = False
    allow_other_device: bool = False
    allow_other_cores: bool = False
    allow_other_versions: bool = False
    interruption: StopSignal = field(default_factory=StopSignal)
    held: frozenset[Path] = frozenset()

    def check(self, stored: Mapping[str, Any], now: Mapping[str, Any]) -> None:
        """Refuses to go on where the bits of the result would not be those of an unbroken run.

        Args:
          stored, now: `about` of the checkpoint and of this process.

        Raises:
          CheckpointError: device, cores or versions differ; names both.
        """
        known, have = _device(stored), _device(now)
        if known != have and not self.allow_other_device:
            raise CheckpointError(
                f"the run was trained on {known} and this is {have}, which changes the bits of its "
                "result; go on there, or by `rnnlab resume` with --allow-other-device"
            )
        if stored.get("cores") != now["cores"] and not self.allow_other_cores:
            raise CheckpointError(
                f"the run was trained on {stored.get('cores')!r} cores and this process has "
                f"{now['cores']}, which changes the bits of its result; set NPROC="
                f"{stored.get('cores')}, or go on by `rnnlab resume` with --allow-other-cores"
            )
        for name in DECIDING:
            known, have = stored.get("versions", {}).get(name), now["versions"].get(name)
            if known != have and not self.allow_other_versions:
                raise CheckpointError(
                    f"the run was trained with {name} {known} and this process has {have}, which "
                    "may change the bits of its result; install that version, or go on by "
                    "`rnnlab resume` with --allow-other-versions"
                )


def _device(about: Mapping[str, Any]) -> str:
    """What computes: an accelerator by its name, else the processor, which JAX calls `cpu`."""
    device = about.get("device", "cpu")
    return about.get("processor") if device == "cpu" else device
