"""The `rnnlab` command."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, subcommand

from rnnlab.bench import accuracy, layer, scan, speedup
from rnnlab.bench.report import show, speedup_table
from rnnlab.bench.rows import Row

USAGE = 2
INTERRUPTED = 130


@dataclass(frozen=True)
class Bench:
    """The other benchmarks: scan, layer, accuracy."""

    benchmark: (
        Annotated[scan.Scan, subcommand("scan")]
        | Annotated[layer.Layer, subcommand("layer")]
        | Annotated[accuracy.Accuracy, subcommand("accuracy")]
    )


Command = Annotated[speedup.Speedup, subcommand("speedup")] | Annotated[Bench, subcommand("bench")]


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line. Returns its exit code: 0, 2 for a bad argument, 130 if interrupted."""
    try:
        command = tyro.cli(
            Command,
            prog="rnnlab",
            description="The lab bench for recurrent sequence models in JAX.",
            args=arguments,
            config=(OmitArgPrefixes, OmitSubcommandPrefixes),
        )
        if isinstance(command, speedup.Speedup):
            return _run(speedup, command, speedup_table, _save_speedup)
        return _bench(command.benchmark)
    except ValueError as error:
        print(f"rnnlab: error: {error}", file=sys.stderr)
        return USAGE


def _bench(config: scan.Scan | layer.Layer | accuracy.Accuracy) -> int:
    if isinstance(config, scan.Scan):
        return _run(scan, config, scan.table, _save_scan)
    module = layer if isinstance(config, layer.Layer) else accuracy
    return _run(module, config, module.table)


def _run(
    module: Any,
    config: Any,
    table: Callable[[list[Row]], Any],
    save: Callable[[list[Row], Path], Path] | None = None,
) -> int:
    """Measures with a progress bar, then shows and draws the rows, also after an interrupt."""
    config.validate()
    measured: list[Row] = []
    code = 0
    try:
        for row in _with_progress(module, config):
            measured.append(row)
    except KeyboardInterrupt:
        code = INTERRUPTED
        print("rnnlab: interrupted; the rows measured so far are kept", file=sys.stderr)
    if measured:
        show(table(measured))
        written = [config.out / f"{measured[0]['benchmark']}.jsonl"]
        if save is not None:
            written.append(save(measured, config.out))
        print("Written:", ", ".join(map(str, written)))
    return code


def _with_progress(module: Any, config: Any) -> Iterator[Row]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=module.steps(config))

        def advance(text: str) -> None:
            progress.update(task, advance=1, description=text)

        yield from module.run(config, advance)


# Drawing is imported when there is something to draw: it takes most of a second.


def _save_speedup(measured: list[Row], out: Path) -> Path:
    from rnnlab.bench.plots import save, speedup_figure

    path = out / "speedup.png"
    save(speedup_figure(measured), path)
    return path


def _save_scan(measured: list[Row], out: Path) -> Path:
    from rnnlab.bench.plots import save, scan_figure

    path = out / "scan.png"
    save(scan_figure(measured), path)
    return path


if __name__ == "__main__":
    sys.exit(main())
