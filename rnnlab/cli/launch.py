"""`rnnlab launch`: a command as jobs on this machine or a cluster, with a table while they run."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rnnlab import errors
from rnnlab.cli import search as search_command
from rnnlab.cli.commands import Launch, Run, Search
from rnnlab.cli.parser import Parsed
from rnnlab.cli.run import plan_runs, report_runs, runs_directory
from rnnlab.console import make_console
from rnnlab.jobs.launch import DONE, FAILED, RUNNING, Job, Launcher, Resources
from rnnlab.runs.api import load_run
from rnnlab.runs.grid import run_directory, run_name
from rnnlab.runs.run_dir import RunDirectory
from rnnlab.runs.signals import StopRequested

JOBS_FOLDER = "jobs"


def launch(command: Launch, inner: Parsed, words: Sequence[str]) -> int:
    """Launches the jobs of a command and waits for them. Returns the exit code.

    Raises:
      ValueError: an option or the command is invalid, or the cluster rejects a job.
      StopRequested: a signal came. Jobs on this machine have saved their state and ended.
    """
    if inner.asks_for_help:
        raise ValueError("launch needs a command that it can run, got --help; remove --help")
    if isinstance(inner.command, Run):
        return _launch_runs(command, inner, words)
    if isinstance(inner.command, Search):
        return _launch_search(command, inner)
    now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
    jobs = _run(command, Path("runs") / JOBS_FOLDER / now, {words[0]: words})
    return _exit_code(jobs)


def _launch_runs(command: Launch, inner: Parsed, words: Sequence[str]) -> int:
    """Launches one job per combination of settings, and shows their results."""
    run = inner.command
    planned = plan_runs(run, inner.flags)
    out = runs_directory(run)
    folders = {run_name(settings): run_directory(out, settings) for _, settings in planned}
    given = words if run.out is not None else [*words, "--out", str(out)]
    commands = {}
    for experiment, settings in planned:
        name = run_name(settings)
        run_dir = RunDirectory(folders[name])
        if not (run_dir.result.exists() and load_run(run_dir.path)[2] == experiment):
            commands[name] = given if run.only is not None else [*given, "--only", name]
    jobs = _run(command, out / JOBS_FOLDER, commands)
    finished = [path for path in folders.values() if RunDirectory(path).result.exists()]
    if finished:
        measured = [RunDirectory(path).read_result() for path in finished]
        report_runs(measured, finished, out, run.results or out / "results.jsonl")
    return _exit_code(jobs)


def _launch_search(command: Launch, inner: Parsed) -> int:
    """Launches one job per worker of a search, and shows its trials."""
    search, opened = search_command.prepare(inner.command, inner.flags)
    words = search_command.worker_command(search, inner.flags)
    commands = {f"worker-{number}": words for number in range(search.workers)}
    command = replace(command, parallel=command.parallel or search.workers)
    jobs = _run(command, search.out / JOBS_FOLDER, commands)
    search_command.report(opened)
    return _exit_code(jobs)


def _run(command: Launch, folder: Path, commands: Mapping[str, Sequence[str]]) -> list[Job]:
    """Runs commands as jobs, with a table of their states."""
    options = {}
    for text in command.slurm:
        name, equals, value = text.partition("=")
        if not (name and equals):
            raise ValueError(f"--slurm must be NAME=VALUE, as in account=me, got {text!r}")
        options[name.lstrip("-")] = value
    resources = Resources(
        command.cluster,
        nodes=command.nodes,
        tasks_per_node=command.tasks_per_node,
        time=command.time,
        partition=command.partition,
        gpus_per_node=command.gpus_per_node,
        cpus_per_task=command.cpus_per_task,
        memory=command.memory,
        setup=command.setup,
        options=options,
    )
    launcher = Launcher(folder, resources, retries=command.retries, parallel=command.parallel)
    seen: list[Job] = []
    try:
        with _display(folder) as show:

            def remember(jobs: Sequence[Job]) -> None:
                seen[:] = jobs
                show(jobs)

            jobs = launcher.run(commands, remember)
    except StopRequested as stop:
        running = [job.id for job in seen if job.state == RUNNING]
        if command.cluster == "slurm" and running:
            what = f"the jobs continue, `scancel {' '.join(running)}` ends them"
        else:
            what = "the jobs have saved and ended"
        stop.args = (f"{stop}; {what}; the same command with the same --out waits for the rest",)
        raise
    for job in jobs:
        if job.state == FAILED:
            code = "without an exit code" if job.code is None else f"with exit code {job.code}"
            attempts = "1 attempt" if job.attempts == 1 else f"{job.attempts} attempts"
            line = f"rnnlab: warning: job {job.name} failed {code} after {attempts}"
            print(f"{line}: {job.last_line()}; see {job.handle.paths.stderr}", file=sys.stderr)
    return jobs


def _exit_code(jobs: Sequence[Job]) -> int:
    """Returns 0, or the exit code of the first job that failed."""
    failed = [job for job in jobs if job.state == FAILED]
    if not failed:
        return 0
    code = failed[0].code
    return code if code is not None and code > 0 else errors.RESOURCES


@contextmanager
def _display(folder: Path) -> Iterator[Callable[[Sequence[Job]], None]]:
    """Yields a function that shows the jobs: as a table in a terminal, else changes of state."""
    from rich.live import Live

    console = make_console(stderr=True, highlight=False, emoji=False)
    if console.is_terminal:
        with Live(console=console, auto_refresh=False, transient=True) as live:
            yield lambda jobs: live.update(_table(jobs), refresh=True)
        return
    known: dict[str, tuple[str, int]] = {}
    console.print(f"The output of the jobs is in {folder}", markup=False, soft_wrap=True)

    def show(jobs: Sequence[Job]) -> None:
        for job in jobs:
            if known.get(job.name) != (job.state, job.attempts):
                known[job.name] = (job.state, job.attempts)
                count = sum(one.state == DONE for one in jobs)
                again = f", attempt {job.attempts}" if job.attempts > 1 else ""
                line = f"{job.name}: {job.state}{again}; {count} of {len(jobs)} done"
                console.print(line, markup=False, soft_wrap=True)

    yield show


def _table(jobs: Sequence[Job]):
    """Returns the jobs as a table of rich."""
    from rich.table import Table
    from rich.text import Text

    table = Table("job", "id", "state", "attempt", "last line")
    for job in jobs:
        line = job.last_line() if job.state in (RUNNING, FAILED) else ""
        cells = job.name, job.id, job.state, str(job.attempts or ""), line
        table.add_row(*map(Text, cells))
    return table
