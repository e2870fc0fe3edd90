"""The progress bar of a run, with loss, speed and time left, and one line per evaluation.

Where stderr is not a terminal, a line with the loss every `SECONDS_PER_LINE` replaces the bar.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from rnnlab.console import make_console
from rnnlab.records import Record
from rnnlab.train.callbacks import Reporter

SECONDS_PER_LINE = 30
"""Least time between two lines with the loss, in seconds."""


@contextmanager
def progress_display(title: str, steps: int) -> Iterator[Reporter]:
    """Yields a reporter that draws the progress of a run on stderr."""
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[text]}", markup=False),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = make_console(stderr=True, highlight=False, emoji=False)
    # Not to a file, where a bar would only leave blank lines.
    options = {"transient": True, "disable": not console.is_terminal}
    with Progress(*columns, console=console, **options) as progress:
        task = progress.add_task(title, total=steps, text="")

        def log(line: str) -> None:
            progress.console.print(line, markup=False, soft_wrap=True)

        shown = time.monotonic()

        def on_update(step: int, metrics: Record) -> None:
            nonlocal shown
            text = f"loss {metrics['loss']:.4f}"
            if metrics["tokens_per_second"]:
                text += f", {metrics['tokens_per_second']:,.0f} tokens/s"
            progress.update(task, completed=step, text=text)
            if not console.is_terminal and time.monotonic() - shown >= SECONDS_PER_LINE:
                shown = time.monotonic()
                log(f"step {step} of {steps}: {text}")

        yield Reporter(on_update, log)
