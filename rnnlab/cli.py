"""The `rnnlab` command."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, subcommand

from rnnlab.bench import accuracy, layer, scan, speedup
from rnnlab.bench.report import show
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
        return run(command.benchmark if isinstance(command, Bench) else command)
    except ValueError as error:
        print(f"rnnlab: error: {error}", file=sys.stderr)
        return USAGE


def run(config: speedup.Speedup | scan.Scan | layer.Layer | accuracy.Accuracy) -> int:
    """Measures with a progress bar, then shows and draws the rows, also after an interrupt.

    Returns the exit code. Raises ValueError where an option is out of range.
    """
    config.validate()
    module = _MODULES[type(config)]
    measured: list[Row] = []
    code = 0
    try:
        for row in _with_progress(module, config):
            measured.append(row)
    except KeyboardInterrupt:
        code = INTERRUPTED
        print("rnnlab: interrupted; the rows measured so far are kept", file=sys.stderr)
    if measured:
        show(module.table(measured))
        print("Written:", ", ".join(map(str, _written(config.out, measured))))
    return code


_MODULES = {
    speedup.Speedup: speedup,
    scan.Scan: scan,
    layer.Layer: layer,
    accuracy.Accuracy: accuracy,
}


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


def _written(out: Path, measured: list[Row]) -> list[Path]:
    """The results' files, a picture drawn among them where there is one for these rows."""
    from rnnlab.bench import plots  # when there is something to draw: it takes most of a second

    name = measured[0]["benchmark"]
    written = [out / f"{name}.jsonl"]
    if name in plots.FIGURES:
        written.append(out / f"{name}.png")
        plots.save(plots.FIGURES[name](measured), written[-1])
    return written


if __name__ == "__main__":
    sys.exit(main())
