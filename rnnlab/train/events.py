"""TensorBoard event files, where the extra `tensorboard` is installed."""

import importlib.util
from pathlib import Path

from rnnlab.rows import Row


class Events:
    """Writes every number of a row of metrics as a scalar; nothing without tensorboardX."""

    def __init__(self, folder: Path):
        self._folder, self._writer = folder, None
        self._there = importlib.util.find_spec("tensorboardX") is not None

    def log(self, row: Row) -> None:
        """A row as `rnnlab.train.folder.RunFolder.log` takes it; a set's name leads its metrics."""
        if not self._there:
            return
        if self._writer is None:
            from tensorboardX import SummaryWriter

            self._writer = SummaryWriter(str(self._folder))
        prefix = f"{row['set']}/" if "set" in row else ""
        for name, value in row.items():
            if name != "step" and isinstance(value, (int, float)):
                self._writer.add_scalar(prefix + name, value, row["step"])

    def close(self) -> None:
        """Writes what is left."""
        if self._writer is not None:
            self._writer.close()
