"""`rnnlab speedup` and `rnnlab bench`: a benchmark with a progress bar, its table and picture."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tyro.conf import subcommand

from rnnlab.bench import (
    accuracy,
    language_model,
    layer,
    libraries,
    malloc,
    newton_convergence,
    scaling,
    scan,
    speedup,
    streaming,
)
from rnnlab.plotting import save_figure
from rnnlab.records import Record
from rnnlab.tables import show

INTERRUPTED = 130


@dataclass(frozen=True)
class Bench:
    """The other benchmarks; docs/benchmarks.md says what each measures."""

    benchmark: (
        Annotated[scan.Scan, subcommand("scan")]
        | Annotated[layer.Layer, subcommand("layer")]
        | Annotated[libraries.Peers, subcommand("peers")]
        | Annotated[scaling.Growth, subcommand("growth")]
        | Annotated[streaming.Streaming, subcommand("streaming")]
        | Annotated[newton_convergence.Newton, subcommand("newton")]
        | Annotated[malloc.Allocator, subcommand("allocator")]
        | Annotated[accuracy.Accuracy, subcommand("accuracy")]
        | Annotated[language_model.LanguageModel, subcommand("lm")]
    )


def run(config: Any) -> int:
    """Measures with a progress bar, then shows and draws the rows, also after an interrupt.

    Returns the exit code. Raises ValueError where an option is out of range.
    """
    config.validate()
    module = _MODULES[type(config)]
    measured: list[Record] = []
    code = 0
    try:
        for row in _with_progress(module, config):
            measured.append(row)
    except KeyboardInterrupt as stop:
        code = getattr(stop, "exit_code", INTERRUPTED)
        print("rnnlab: interrupted; the rows measured so far are kept", file=sys.stderr)
    if measured:
        show(module.table(measured))
        print("Written:", ", ".join(map(str, _written(config.out, measured))))
    return code


_MODULES = {
    speedup.Speedup: speedup,
    scan.Scan: scan,
    layer.Layer: layer,
    libraries.Peers: libraries,
    scaling.Growth: scaling,
    streaming.Streaming: streaming,
    newton_convergence.Newton: newton_convergence,
    malloc.Allocator: malloc,
    accuracy.Accuracy: accuracy,
    language_model.LanguageModel: language_model,
}


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

        def advance(text: str) -> None:
            progress.update(task, advance=1, description=text)

        yield from module.run(config, advance)


def _written(out: Path, measured: list[Record]) -> list[Path]:
    """The results' files, a picture drawn among them where there is one for these rows."""
    from rnnlab.bench import plots  # when there is something to draw: it takes most of a second

    name = measured[0]["benchmark"]
    written = [out / f"{name}.jsonl"]
    if name in plots.FIGURES:
        written.append(out / f"{name}.png")
        save_figure(plots.FIGURES[name](measured), written[-1])
    return written
