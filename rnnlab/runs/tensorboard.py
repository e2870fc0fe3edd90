"""TensorBoard event files, where the extra `tensorboard` is installed: a copy of the metrics."""

import importlib.util
import math
import time
import warnings
from pathlib import Path

from rnnlab.records import Record


class TensorBoardWriter:
    """Writes every finite number of a row of metrics as a scalar; nothing without tensorboardX.

    A copy is no reason to stop: where it cannot be written, one warning says so.
    """

    def __init__(self, folder: Path):
        self._folder, self._writer = folder, None
        self._wanted = importlib.util.find_spec("tensorboardX") is not None

    def log(self, row: Record) -> None:
        """A row as `rnnlab.runs.run_dir.RunDirectory.log` takes it; a set's name leads its metrics."""
        if not self._wanted:
            return
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event
        from tensorboardX.summary import scalar

        prefix = f"{row['set']}/" if "set" in row else ""
        try:
            if self._writer is None:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._writer = EventsWriter(str(self._folder / "events"))
            for name, value in row.items():
                number = isinstance(value, int | float) and math.isfinite(value)
                if name != "step" and number:
                    summary = scalar(prefix + name, value)
                    now = time.time()
                    event = Event(wall_time=now, step=row["step"], summary=summary)
                    self._writer.write_event(event)
            self._writer.flush()
        except OSError as error:
            self._wanted = False
            warnings.warn(f"{self._folder} gets no more events: {error}", stacklevel=2)

    def close(self) -> None:
        """Ends the file; every row in it has been written before."""
        if self._writer is not None and self._wanted:
            self._writer.close()
