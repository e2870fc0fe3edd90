"""Exceptions by kind, and the exit code of the command for each.

A plain ValueError is a wrong argument or setting. Every message is one line: what must hold, the
value found and one action.
"""

from collections.abc import Iterator
from contextlib import contextmanager

INTERNAL_ERROR, USAGE_ERROR, DATA, CHECKPOINT, RESOURCES, DIVERGED, LOCKED = range(1, 8)
PEER_LOST, STALLED = 8, 9
"""Exit codes. 0 is success, INTERNAL_ERROR is a bug in rnnlab, 130 and 143 are signals."""


class DataError(ValueError):
    """Data that cannot be read or has changed."""

    exit_code = DATA


class CheckpointError(ValueError):
    """A checkpoint that is missing, corrupt or of another model."""

    exit_code = CHECKPOINT


class CorruptCheckpointError(CheckpointError):
    """A checkpoint whose files differ from what was written."""


class BundleError(CheckpointError):
    """A bundle that is missing, incomplete, changed or of a later format."""


class TrainingDivergedError(ValueError):
    """A training whose losses or gradients are NaN or Inf, or whose loss has diverged."""

    exit_code = DIVERGED


class RunLockedError(ValueError):
    """A run's directory that another process writes to."""

    exit_code = LOCKED


class PeerLostError(ConnectionError):
    """Another process of the run has ended, or does not answer."""

    exit_code = PEER_LOST


class MissingPackageError(ValueError):
    """An optional package, of an extra of rnnlab, that is not installed."""


class MissingMethodError(NotImplementedError, ValueError):
    """A cell or layer without a method that its base class calls.

    It is a NotImplementedError by Python's convention for abstract methods, and a ValueError so
    that the command line reports it as an error of the user's file.
    """

    def __init__(self, module: object, method: str):
        super().__init__(
            f"{type(module).__name__} must define {method}, got a class without it; "
            "docs/guides/your-own-cell.md shows an example"
        )


class ForwardModeError(TypeError):
    """Forward-mode differentiation of a scan over time, which defines reverse mode only."""

    def __init__(self) -> None:
        super().__init__(
            "forward-mode differentiation (jax.jvp, jax.jacfwd, jax.hessian) of a scan over time "
            "is not defined; use reverse mode: jax.jacrev(f), or jax.jacrev(jax.grad(f)) for a "
            "Hessian"
        )


@contextmanager
def explain_forward_mode() -> Iterator[None]:
    """Raises ForwardModeError in place of JAX's error about forward mode.

    It cannot do so where `jax.jit` encloses the scan and the error comes after its trace.
    """
    try:
        yield
    except TypeError as error:
        if isinstance(error, ForwardModeError) or "forward-mode" not in str(error):
            raise
        raise ForwardModeError from None


class InsufficientResourcesError(OSError):
    """Too little free disk space or memory, or a place that cannot be read or written."""

    exit_code = RESOURCES


def code(error: Exception) -> int:
    """Returns the exit code for an exception.

    >>> code(RunLockedError("...")), code(ValueError("...")), code(OSError(28, "No space left"))
    (7, 2, 5)
    """
    return getattr(error, "exit_code", RESOURCES if isinstance(error, OSError) else USAGE_ERROR)
