"""`--devices N`: several virtual devices of a CPU, made before JAX starts."""

import os

from rnnlab.cli.commands import Resume, Run

TIMEOUT_FLAG = "--xla_cpu_collective_call_terminate_timeout_seconds"
TIMEOUT_S = 300
"""XLA ends a process whose devices wait for each other this long; its default of 40 s is too short
on a machine that others use as well."""


def make_devices(command: object) -> None:
    """Makes the CPU devices that `run` or `resume` asks for; JAX must not have started.

    Raises:
      ValueError: the number is less than 1, or JAX has started.
    """
    if not isinstance(command, Run | Resume) or command.devices is None:
        return
    if command.devices < 1:
        raise ValueError(f"--devices must be >= 1, got {command.devices}; raise --devices")
    flags = os.environ.get("XLA_FLAGS", "")
    if TIMEOUT_FLAG not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {TIMEOUT_FLAG}={TIMEOUT_S}".strip()
    import jax

    try:
        jax.config.update("jax_num_cpu_devices", command.devices)
    except RuntimeError:
        raise ValueError(
            f"--devices must be set before JAX starts, got {command.devices} in a process in which "
            "it runs; start a new process"
        ) from None


def require_devices(devices: int | None) -> None:
    """Raises ValueError unless JAX runs on the virtual devices that were asked for."""
    if devices is None:
        return
    import jax

    platform = jax.default_backend()
    if platform != "cpu":
        raise ValueError(
            f"--devices is for CPUs, whose devices are virtual, got {devices} on {platform}; omit "
            "it, or set JAX_PLATFORMS=cpu"
        )
