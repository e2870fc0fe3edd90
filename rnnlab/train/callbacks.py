"""Callbacks of the training loop: to show, to keep and to stop."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rnnlab.records import Record


class TrainingStopped(Exception):
    """`should_stop` returned True, and the state is saved."""


@dataclass(frozen=True)
class Reporter:
    """The receiver of the training loop's reports. By default nothing is shown.

    Attributes:
      on_update: called after each update with its number, its loss and the tokens per second.
      log: called with a line for the reader.
      on_evaluation: called after each evaluation of a trained state with its update and its value
        of the metric that chooses the best step; True ends the training as pruned.
      title: the first line, logged when the state is ready.
      known_notes: notes on the data that were logged already, which the runs of a command share.
    """

    on_update: Callable[[int, Record], None] = lambda step, metrics: None
    log: Callable[[str], None] = lambda line: None
    on_evaluation: Callable[[int, float], bool] = lambda step, value: False
    title: str = ""
    known_notes: set[str] = field(default_factory=set, compare=False)

    def log_note(self, note: str) -> None:
        """Logs a note on the data, unless a run before this one has logged it."""
        if note not in self.known_notes:
            self.known_notes.add(note)
            self.log(note)


def _discard(*_: Any, **__: Any) -> None:
    """Keeps nothing."""


@dataclass(frozen=True)
class LoopCallbacks:
    """The callbacks of the loop. By default nothing is kept or shown, and nothing stops it.

    Attributes:
      reporter: shows updates and lines.
      write_record: called with each record of metrics, of an update or of an evaluation.
      save_checkpoint: called as `save_checkpoint(step, tree, best=...)`; `best` is whether the
        step is the best so far.
      should_stop: called between updates, between the batches of an evaluation and while a batch
        is awaited.
    """

    reporter: Reporter = Reporter()
    write_record: Callable[[Record], None] = _discard
    save_checkpoint: Callable[..., None] = _discard
    should_stop: Callable[[], bool] = lambda: False
