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

from rnnlab import errors
from rnnlab.allocator import keep_pages
from rnnlab.bench import (
    accuracy,
    allocator,
    growth,
    language_model,
    layer,
    newton,
    peers,
    scan,
    speedup,
    streaming,
)
from rnnlab.commands.compare import Compare, compare
from rnnlab.commands.inspect import Inspect, inspect
from rnnlab.commands.listing import List, list_experiments
from rnnlab.commands.run import Resume, Run, parse, resume_run, run_experiment
from rnnlab.commands.sample import Sample, sample
from rnnlab.experiment import load_module
from rnnlab.rows import Row
from rnnlab.tables import show

INTERRUPTED = 130
KEEP_PAGES = "--keep-pages"
DESCRIPTION = f"""The lab bench for recurrent sequence models in JAX.

{KEEP_PAGES}, with any command, keeps freed memory for the next step instead of giving it back to
the system: on a CPU under Linux steps take less time, and the process as much memory as it ever
needed at once. docs/performance.md has the measurements.
"""


@dataclass(frozen=True)
class Bench:
    """The other benchmarks; docs/benchmarks.md says what each measures."""

    benchmark: (
        Annotated[scan.Scan, subcommand("scan")]
        | Annotated[layer.Layer, subcommand("layer")]
        | Annotated[peers.Peers, subcommand("peers")]
        | Annotated[growth.Growth, subcommand("growth")]
        | Annotated[streaming.Streaming, subcommand("streaming")]
        | Annotated[newton.Newton, subcommand("newton")]
        | Annotated[allocator.Allocator, subcommand("allocator")]
        | Annotated[accuracy.Accuracy, subcommand("accuracy")]
        | Annotated[language_model.LanguageModel, subcommand("lm")]
    )


Command = (
    Annotated[speedup.Speedup, subcommand("speedup")]
    | Annotated[Bench, subcommand("bench")]
    | Annotated[List, subcommand("list")]
    | Annotated[Run, subcommand("run")]
    | Annotated[Resume, subcommand("resume")]
    | Annotated[Compare, subcommand("compare")]
    | Annotated[Sample, subcommand("sample")]
    | Annotated[Inspect, subcommand("inspect")]
)

COMMANDS: dict[type, Callable[[Any], int]] = {
    List: list_experiments,
    Resume: resume_run,
    Compare: compare,
    Sample: sample,
    Inspect: inspect,
}


def main(arguments: list[str] | None = None) -> int:
    """Runs the command line. Returns its exit code: 0, `rnnlab.errors`', or 130 if interrupted."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if KEEP_PAGES in arguments:
            arguments.remove(KEEP_PAGES)
            if not keep_pages():
                raise ValueError(f"{KEEP_PAGES} needs glibc, which this system does not use")
        if arguments[:1] == ["run"] and len(arguments) > 1:
            return _run_experiment(arguments)
        command = _parsed(arguments)
        if type(command) in COMMANDS:
            return COMMANDS[type(command)](command)
        return run(command.benchmark if isinstance(command, Bench) else command)
    except (ValueError, OSError) as error:
        print(f"rnnlab: error: {_one_line(error)}", file=sys.stderr)
        return errors.code(error)
    except KeyboardInterrupt:
        print("rnnlab: interrupted; `rnnlab resume RUN` goes on with a run", file=sys.stderr)
        return INTERRUPTED


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _parsed(arguments: list[str], **options: Any) -> Any:
    return tyro.cli(
        Command,
        prog="rnnlab",
        description=DESCRIPTION,
        args=arguments,
        config=(OmitArgPrefixes, OmitSubcommandPrefixes),
        **options,
    )


def _run_experiment(arguments: list[str]) -> int:
    """`rnnlab run`, whose flags are those of the experiment that it names."""
    asked = {"-h", "--help"} & set(arguments)
    if asked and not arguments[1].startswith("-"):
        presets = load_module(Path(arguments[1])).PRESETS
        parse(next(iter(presets.values())).experiment, ["--help"])
    command, flags = _parsed(arguments, return_unknown_args=True)
    return run_experiment(command, flags)


def run(config: Any) -> int:
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
    peers.Peers: peers,
    growth.Growth: growth,
    streaming.Streaming: streaming,
    newton.Newton: newton,
    allocator.Allocator: allocator,
    accuracy.Accuracy: accuracy,
    language_model.LanguageModel: language_model,
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
