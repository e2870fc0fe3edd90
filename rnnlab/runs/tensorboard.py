"""TensorBoard event files: a copy of the metrics, where the extra `tensorboard` is installed."""

import importlib.util
import math
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rnnlab.records import Record


class TensorBoardWriter:
    """Writes the finite numbers of metrics records as scalars; does nothing without tensorboardX.

    The event file is only a copy: where it cannot be written, one warning reports it.
    """

    def __init__(self, events_dir: Path):
        self._events_dir, self._writer = events_dir, None
        self._enabled = importlib.util.find_spec("tensorboardX") is not None

    def write(self, record: Record) -> None:
        """Writes a record of metrics; the name of an evaluation set prefixes its metrics."""
        if not self._enabled:
            return
        with _without_torch():
            from tensorboardX.event_file_writer import EventsWriter
            from tensorboardX.proto.event_pb2 import Event
            from tensorboardX.summary import scalar

        prefix = f"{record['set']}/" if "set" in record else ""
        try:
            if self._writer is None:
                self._events_dir.mkdir(parents=True, exist_ok=True)
                self._writer = EventsWriter(str(self._events_dir / "events"))
            for name, value in record.items():
                is_number = isinstance(value, int | float) and math.isfinite(value)
                if name != "step" and is_number:
                    summary = scalar(prefix + name, value)
                    now = time.time()
                    event = Event(wall_time=now, step=record["step"], summary=summary)
                    self._writer.write_event(event)
            self._writer.flush()
        except OSError as error:
            self._enabled = False
            warnings.warn(f"{self._events_dir} receives no more events: {error}", stacklevel=2)

    def close(self) -> None:
        """Closes the file; every record is written before."""
        if self._writer is not None and self._enabled:
            self._writer.close()


@contextmanager
def _without_torch() -> Iterator[None]:
    """Hides torch from an import: tensorboardX would load it, and nothing here uses it."""
    hidden = "torch" not in sys.modules
    if hidden:
        sys.modules["torch"] = None
    try:
        yield
    finally:
        if hidden:
            del sys.modules["torch"]
