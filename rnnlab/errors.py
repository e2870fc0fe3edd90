"""What can go wrong by kind, and the exit code of the command for each.

A plain ValueError is a wrong argument or setting. Every message is one line: what, where, and what
to do.
"""

DEFECT, USAGE, DATA, CHECKPOINT, RESOURCES, DIVERGED, BUSY = range(1, 8)
"""Exit codes. 0 is success, a defect is rnnlab's own, 130 and 143 are signals."""


class DataError(ValueError):
    """Data that cannot be read, or is not what it was."""

    exit_code = DATA


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged, or of another model."""

    exit_code = CHECKPOINT


class CorruptCheckpointError(CheckpointError):
    """A checkpoint whose files are not what was written."""


class TrainingDivergedError(ValueError):
    """A training whose losses or gradients are no numbers, or have grown without end."""

    exit_code = DIVERGED


class RunLockedError(ValueError):
    """A run's folder in which another process writes."""

    exit_code = BUSY


class InsufficientResourcesError(OSError):
    """No room on the disk or in memory, or a place that cannot be read or written."""

    exit_code = RESOURCES


def code(error: Exception) -> int:
    """The exit code for an error.

    >>> code(RunLockedError("...")), code(ValueError("...")), code(OSError(28, "No space left"))
    (7, 2, 5)
    """
    return getattr(error, "exit_code", RESOURCES if isinstance(error, OSError) else USAGE)
