"""A progress bar over bytes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rnnlab.console import make_console

Update = Callable[[str, int, int | None], None]
"""Receives what is in progress, the bytes that are done, and those of all if they are known."""


@contextmanager
def byte_progress(name: str) -> Iterator[Update]:
    """Yields a function that draws a bar on stderr, if that is a terminal.

    A change of what is in progress starts a new bar.

    Args:
      name: what is in progress at first.
    """
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    console = make_console(stderr=True, highlight=False, emoji=False)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as progress:
        task, current = progress.add_task(name, total=None), None

        def update(what: str, done: int, total: int | None) -> None:
            nonlocal current
            if what != current:
                current = what
                progress.reset(task, total=total, description=what)
            progress.update(task, completed=done)

        yield update
