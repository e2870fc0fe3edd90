"""`rnnlab speedup` and `rnnlab bench`: run a benchmark with a progress bar, table and figure."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from rnnlab.plotting import save_figure
from rnnlab.records import Record
from rnnlab.tables import show

INTERRUPTED = 130


def run(config: Any) -> int:
    """Measures with a progress bar, then shows and draws the records, also after an interrupt.

    Returns the exit code. Raises ValueError if an option is out of range.
    """
    config.validate()
    module = sys.modules[type(config).__module__]
    measured: list[Record] = []
    code = 0
    try:
        for record in _with_progress(module, config):
            measured.append(record)
    except KeyboardInterrupt as stop:
        code = getattr(stop, "exit_code", INTERRUPTED)
        print("rnnlab: interrupted; the records measured so far are kept", file=sys.stderr)
    if measured:
        show(module.table(measured))
        print("Written:", ", ".join(map(str, _written(config.out, measured))))
    return code


def _with_progress(module: Any, config: Any) -> Iterator[Record]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    options = {"transient": True, "disable": not console.is_terminal}
    with Progress(*columns, console=console, **options) as progress:
        task = progress.add_task("", total=module.steps(config))

        def on_progress(text: str) -> None:
            progress.update(task, advance=1, description=text)

        yield from module.run(config, on_progress)


def _written(out: Path, measured: list[Record]) -> list[Path]:
    """Draws the figure of the records, if they have one. Returns the files of the results."""
    from rnnlab.bench import plots  # only if there is something to draw: the import takes a second

    name = measured[0]["benchmark"]
    written = [out / f"{name}.jsonl"]
    if name in plots.FIGURES:
        written.append(out / f"{name}.png")
        save_figure(plots.FIGURES[name](measured), written[-1])
    return written
