"""The command line: what its words are, and which function does what they ask for."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, subcommand

from rnnlab.bench.speedup import Speedup
from rnnlab.cli import arguments as words
from rnnlab.cli.bench import Bench, run
from rnnlab.cli.compare import Compare, compare
from rnnlab.cli.inspect import Inspect, inspect
from rnnlab.cli.list import List, list_experiments
from rnnlab.cli.run import Resume, Run, parse, resume_run, run_experiment
from rnnlab.cli.sample import Sample, sample
from rnnlab.cli.verify import Verify, verify
from rnnlab.malloc import keep_memory
from rnnlab.runs.grid import load_presets
from rnnlab.runs.signals import StopSignal

KEEP_PAGES = "--keep-pages"
DESCRIPTION = f"""The lab bench for recurrent sequence models in JAX.

{KEEP_PAGES}, with any command, keeps freed memory for the next step instead of giving it back to
the system: on a CPU under Linux steps take less time, and the process as much memory as it ever
needed at once. docs/performance.md has the measurements.

--debug, with any command, shows where in the code an error came from.
"""

Command = (
    Annotated[Speedup, subcommand("speedup")]
    | Annotated[Bench, subcommand("bench")]
    | Annotated[List, subcommand("list")]
    | Annotated[Run, subcommand("run")]
    | Annotated[Resume, subcommand("resume")]
    | Annotated[Verify, subcommand("verify")]
    | Annotated[Compare, subcommand("compare")]
    | Annotated[Sample, subcommand("sample")]
    | Annotated[Inspect, subcommand("inspect")]
)

COMMANDS: dict[type, Callable[[Any], int]] = {
    List: list_experiments,
    Verify: verify,
    Compare: compare,
    Sample: sample,
    Inspect: inspect,
}


def execute(
    arguments: Sequence[str], interruption: StopSignal, held: frozenset[Path] = frozenset()
) -> int:
    """Does what the arguments ask for. Returns the exit code.

    `interruption` notes signals, and `held` are the folders whose lock is held already.
    """
    arguments = list(arguments)
    if KEEP_PAGES in arguments:
        arguments.remove(KEEP_PAGES)
        if not keep_memory():
            raise ValueError(f"{KEEP_PAGES} needs glibc, which this system does not use")
    if arguments[:1] == ["run"] and len(arguments) > 1:
        if {"-h", "--help"} & set(arguments) and not arguments[1].startswith("-"):
            presets = load_presets(Path(arguments[1]))
            parse(next(iter(presets.values())).experiment, ["--help"])
        command, flags = parsed(arguments, return_unknown_args=True)
        return run_experiment(command, flags, interruption)
    command = parsed(arguments)
    if isinstance(command, Resume):
        return resume_run(command, interruption, held)
    if type(command) in COMMANDS:
        return COMMANDS[type(command)](command)
    return run(command.benchmark if isinstance(command, Bench) else command)


def parsed(arguments: Sequence[str], **options: Any) -> Any:
    """The command as its dataclass.

    Raises:
      ValueError: an argument is unknown, missing or refused.
    """
    return words.read(
        Command,
        arguments,
        prog="rnnlab",
        description=DESCRIPTION,
        config=(OmitArgPrefixes, OmitSubcommandPrefixes),
        **options,
    )
