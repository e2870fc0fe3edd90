"""`rnnlab search`: search the settings of an experiment, in one process or in several."""

import shlex
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from rnnlab.cli.commands import Search as SearchCommand
from rnnlab.cli.parser import Session
from rnnlab.cli.progress_bar import progress_display
from rnnlab.cli.run import find_preset
from rnnlab.cli.search_space import read_space
from rnnlab.cli.search_table import best_sentence, search_table, summary
from rnnlab.console import make_console
from rnnlab.optional import require_module
from rnnlab.plotting import require_replaceable, save_figure
from rnnlab.runs.resume_policy import ResumePolicy
from rnnlab.runs.run_dir import validate_run_name
from rnnlab.runs.signals import StopRequested
from rnnlab.searches.search import first_rung, open_search
from rnnlab.searches.training import Search, SearchResult
from rnnlab.searches.trial_files import TrialRecord
from rnnlab.tables import print_table, print_text

FIGURE_FILE = "search.png"
POLL_SECONDS = 0.2
"""Seconds between two looks at the workers."""


def search(command: SearchCommand, flags: Sequence[str], session: Session) -> int:
    """Trains the trials of a search. Returns the exit code.

    Raises:
      ValueError: the file, the space or a flag is invalid, the directory holds another search, or
        no trial has finished.
      StopRequested: a signal came; the running trials are saved.
    """
    command, opened = prepare(command, flags)
    try:
        if command.workers == 1:
            policy = ResumePolicy(stop_signal=session.stop_signal)
            opened.train(command.trials, progress_display, policy)
        else:
            _train_in_workers(command, flags, opened)
    except StopRequested as stop:
        again = shlex.join(["rnnlab", *command_words(replace(command, resume=True), flags)])
        stop.args = (f"{stop}; `{again}` continues the search",)
        raise
    report(opened)
    return 0


def prepare(command: SearchCommand, flags: Sequence[str]) -> tuple[SearchCommand, Search]:
    """Returns the command with its directory, and the search that it makes or continues.

    Raises:
      ValueError: the file, the space or a flag is invalid, or the directory holds another search.
    """
    require_module("optuna", "search")
    for name in ("trials", "workers"):
        if getattr(command, name) < 1:
            raise ValueError(f"{name} must be >= 1, got {getattr(command, name)}; raise --{name}")
    if command.prune_after is not None and not command.prune:
        raise ValueError("--prune-after needs --prune, got no --prune; add it")
    bases, axes = read_space(find_preset(command), flags, command.space)
    if command.out is None:
        if command.resume:
            raise ValueError("--resume needs --out DIR, the directory of the search; add it")
        now = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        command = replace(command, out=Path("runs") / command.file.stem / f"search-{now}")
    if not command.out.exists():
        validate_run_name(command.out.name)
    require_replaceable(command.out / FIGURE_FILE)
    opened = open_search(
        command.out,
        bases,
        axes,
        sampler_seed=command.sampler_seed,
        prune_after=first_rung(bases, command.prune_after) if command.prune else None,
        resume=command.resume,
        name=command.file.stem,
        preset=command.preset,
    )
    return command, opened


def report(opened: Search) -> SearchResult:
    """Prints the trials, the best first, and draws them.

    Raises:
      ValueError: no trial has finished.
    """
    from rnnlab.cli.plot_search import search_figure  # imports matplotlib

    result = opened.result()
    best = result.best
    print_table(search_table(result, opened))
    print_text(summary(result))
    print_text(best_sentence(result, opened))
    figure = result.folder / FIGURE_FILE
    save_figure(search_figure(result, opened), figure)
    print(f"Written: {result.folder}, with its trials in {figure}")
    print(f"Next: {shlex.join(['rnnlab', 'predict', str(result.run_directory(best))])}")
    return result


def command_words(command: SearchCommand, flags: Sequence[str]) -> list[str]:
    """Returns the words after `rnnlab` that give a command."""
    words = ["search", str(command.file), "--preset", command.preset]
    for space in command.space:
        words += ["--space", space]
    words += ["--trials", str(command.trials), "--sampler-seed", str(command.sampler_seed)]
    words += ["--workers", str(command.workers)] if command.workers > 1 else []
    words += ["--prune"] if command.prune else []
    if command.prune_after is not None:
        words += ["--prune-after", str(command.prune_after)]
    words += ["--out", str(command.out)] if command.out is not None else []
    return [*words, *(["--resume"] if command.resume else []), *flags]


def worker_command(command: SearchCommand, flags: Sequence[str]) -> list[str]:
    """Returns the words after `rnnlab` of a process that takes trials from a search."""
    return command_words(replace(command, workers=1, resume=True), flags)


def _train_in_workers(command: SearchCommand, flags: Sequence[str], opened: Search) -> None:
    """Starts the workers and shows the trials that end.

    Raises:
      ValueError: a worker failed; the others have ended.
      StopRequested: a signal came; the workers have saved their trials.
    """
    words = [sys.executable, "-m", "rnnlab.cli.main", *worker_command(command, flags)]
    workers: list[subprocess.Popen] = []
    logs = [command.out / f"worker-{number}.log" for number in range(command.workers)]
    known = {trial.number for trial in opened.study.trials() if trial.has_ended}
    console = make_console(stderr=True, highlight=False, emoji=False)
    try:
        for path in logs:
            with path.open("ab") as log:
                # In a session of its own: the terminal sends Ctrl-C to this process only, which
                # sends each worker one signal; a second one would end it before it has saved.
                options = {"stdin": subprocess.DEVNULL, "start_new_session": True}
                workers.append(subprocess.Popen(words, stdout=log, stderr=log, **options))
        console.print(f"{len(workers)} workers; their output is in {logs[0].parent}/worker-*.log")
        while True:
            running = any(worker.poll() is None for worker in workers)
            for trial in sorted(opened.study.trials(), key=lambda trial: trial.number):
                if trial.has_ended and trial.number not in known:
                    known.add(trial.number)
                    line = _trial_line(trial, len(known), command.trials, opened)
                    console.print(line, markup=False, soft_wrap=True)
            if not running:
                break
            time.sleep(POLL_SECONDS)
    finally:
        for worker in workers:
            if worker.poll() is None:
                worker.terminate()
        for worker in workers:
            worker.wait()
    for worker, path in zip(workers, logs, strict=True):
        if worker.returncode:
            lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
            raise ValueError(
                f"{path.stem} must end with exit code 0, got {worker.returncode}: "
                f"{lines[-1] if lines else 'no output'}; see {path}"
            )


def _trial_line(trial: TrialRecord, count: int, trials: int, opened: Search) -> str:
    """Returns a line about a trial that has ended."""
    study = opened.study
    value = "" if trial.value is None else f", {study.split} {study.metric} {trial.value:.4f}"
    best = study.trials()[0]
    mark = " (best)" if best.number == trial.number and best.value is not None else ""
    return f"{count} of {trials}: trial {trial.number} {trial.state}{value}{mark}"
