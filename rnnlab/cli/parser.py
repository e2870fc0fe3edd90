"""Parse the command line into a command and execute it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, make_dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from platform import python_version
from typing import Annotated, Any, NamedTuple, Union

from tyro.conf import OmitArgPrefixes, OmitSubcommandPrefixes, subcommand

import rnnlab
from rnnlab.cli import arguments as tyro_arguments
from rnnlab.cli import suggestions
from rnnlab.cli.benchmarks import ALIASES, BENCHMARKS, SPEEDUP
from rnnlab.cli.commands import (
    COMMANDS,
    HANDLERS,
    Inspect,
    Launch,
    Predict,
    Resume,
    Run,
    Sample,
    Search,
    load,
)
from rnnlab.cli.deploy_commands import Bundle, Prune, Quantize
from rnnlab.runs.locate import find_run
from rnnlab.runs.signals import StopSignal

DESCRIPTION = """A research toolkit for recurrent sequence models in JAX.

`rnnlab --version` shows the version. `rnnlab completion bash` (or zsh, tcsh) prints a script that
completes commands and options in the shell.

With any command, --wide prints every column of a table, --debug shows the traceback of an error,
and --malloc-keep-memory keeps freed memory for the next step instead of returning it to the
system: on a CPU under Linux steps take less time, and the process holds as much memory as it ever
needed. Commands that train (run, resume, bench language-model) do so by default;
--no-malloc-keep-memory turns it off. See docs/performance.md for the measurements.
"""


COMPLETION = "completion"
LAUNCH, SEPARATOR = "launch", "--"
HELP_FLAGS = {"-h", "--help"}


class Parsed(NamedTuple):
    """A command; where it trains an experiment also its flags, and whether to show its help.

    `launch` has the words of the command that it launches instead of flags.
    """

    command: Any
    flags: Sequence[str] = ()
    asks_for_help: bool = False


@dataclass(frozen=True)
class Session:
    """The arguments that the handler of a command receives from `main`.

    Attributes:
      stop_signal: records SIGINT and SIGTERM.
      held_locks: run directories whose lock this process holds.
    """

    stop_signal: StopSignal
    held_locks: frozenset[Path] = frozenset()


def parse(arguments: Sequence[str]) -> Parsed:
    """Returns the command that the arguments describe. Only benchmarks import JAX.

    Raises:
      ValueError: an argument is unknown, missing or invalid.
    """
    arguments = list(arguments) or ["--help"]
    if arguments == ["--version"]:
        print(_version())
        raise SystemExit(0)
    if arguments[:1] == [COMPLETION]:
        if len(arguments) != 2:
            raise ValueError(f"{COMPLETION} needs one shell, as in `rnnlab {COMPLETION} bash`")
        arguments[:1] = ["--tyro-print-completion"]
    if arguments[:1] == ["bench"] and len(arguments) > 1:
        arguments[1] = ALIASES.get(arguments[1], arguments[1])
        _require_known(arguments[1], BENCHMARKS, "a benchmark", "rnnlab bench --help")
    _require_known(arguments[0], [*COMMANDS, "speedup", "bench"], "a command", "rnnlab --help")
    options = {
        "prog": "rnnlab",
        "description": DESCRIPTION,
        "config": (OmitArgPrefixes, OmitSubcommandPrefixes),
    }
    launched: list[str] = []
    if arguments[0] == LAUNCH and not HELP_FLAGS & set(arguments):
        arguments, launched = _split_launch(arguments)
    kind = _command_type(arguments)
    if arguments[0] not in ("run", "search") or len(arguments) == 1:
        return Parsed(_locate_run(tyro_arguments.read(kind, arguments, **options)), launched)
    # The help of an experiment's file lists its settings, which are known when it is loaded.
    asks_for_help = not arguments[1].startswith("-") and not HELP_FLAGS.isdisjoint(arguments)
    if asks_for_help:
        arguments = [word for word in arguments if word not in HELP_FLAGS]
    read = tyro_arguments.read(kind, arguments, return_unknown_args=True, **options)
    return Parsed(*read, asks_for_help)


def _split_launch(arguments: list[str]) -> tuple[list[str], list[str]]:
    """Returns the arguments of `launch`, and the words of the command after `--`."""
    if SEPARATOR not in arguments[:-1]:
        raise ValueError(
            f"{LAUNCH} needs a command after --, as in `rnnlab {LAUNCH} -- run char_lm`; add one"
        )
    place = arguments.index(SEPARATOR)
    words = arguments[place + 1 :]
    if words[0] == LAUNCH:
        raise ValueError(f"{LAUNCH} must launch another command, got {LAUNCH}; remove one")
    return arguments[:place], words


def _require_known(word: str, known: Iterable[str], what: str, help_command: str) -> None:
    """Raises ValueError if a word that should name a command does not."""
    known = list(known)
    if word in known or word.startswith("-"):
        return
    closest = suggestions.similar(word, known)
    advice = f"did you mean {closest}?" if closest else f"they are {', '.join(known)}."
    raise ValueError(f"{word!r} is not {what}; {advice} See `{help_command}`")


def _locate_run(command: Any) -> Any:
    """Returns `resume` with the run's directory in place of a directory that contains only it."""
    if isinstance(command, Resume):
        return replace(command, folder=find_run(command.folder))
    return command


def _version() -> str:
    """Returns the version of rnnlab and of what its numbers depend on; JAX is not imported."""
    packages = [
        f"rnnlab {rnnlab.__version__}",
        *(f"{name} {version(name)}" for name in ("jax", "flax")),
    ]
    return ", ".join([*packages, f"Python {python_version()}"])


def dispatch(parsed: Parsed, session: Session) -> int:
    """Executes a command. Returns the exit code."""
    command = parsed.command
    with session.stop_signal.deferred():  # an interrupted import of a compiled module is final
        handler = load(HANDLERS.get(type(command), "rnnlab.cli.bench:run"))
    if isinstance(command, Run | Search):
        if parsed.asks_for_help:
            load("rnnlab.cli.run:print_help")(command, parsed.flags)
        return handler(command, parsed.flags, session)
    if isinstance(command, Launch):
        return handler(command, parse(parsed.flags), parsed.flags)
    if isinstance(command, Resume):
        return handler(command, session)
    if isinstance(command, Predict | Sample | Inspect | Bundle | Quantize | Prune):
        command = replace(command, folder=load("rnnlab.cli.best_run:choose_run")(command.folder))
    return handler(getattr(command, "benchmark", command))


def _command_type(arguments: Sequence[str]) -> Any:
    """Returns the union of all commands, for tyro.

    A command that the arguments do not name is an empty class with a summary, which is all that
    the list of commands shows of it: benchmarks import JAX.
    """
    completion = any(word.startswith("--tyro") for word in arguments[:1])

    def choose(summary: str, load_class: Callable[[], type], *names: str) -> type:
        if completion or tuple(arguments[: len(names)]) == names:
            return load_class()
        return _described(make_dataclass("Summary", []), summary)

    benchmarks = {
        name: choose(summary, partial(load, target), "bench", name)
        for name, (target, summary) in BENCHMARKS.items()
    }
    bench = make_dataclass("Bench", [("benchmark", _union(benchmarks))])
    target, summary = SPEEDUP
    commands = {
        "speedup": choose(summary, partial(load, target), "speedup"),
        "bench": _described(bench, "Run another benchmark; docs/benchmarks.md describes them."),
    }
    for name, kind in COMMANDS.items():
        commands[name] = choose(kind.__doc__.splitlines()[0], lambda kind=kind: kind, name)
    return _union(commands)


def _union(kinds: Mapping[str, type]) -> Any:
    return Union[tuple(Annotated[kind, subcommand(name)] for name, kind in kinds.items())]  # noqa: UP007


def _described(kind: type, description: str) -> type:
    kind.__doc__ = description
    return kind
