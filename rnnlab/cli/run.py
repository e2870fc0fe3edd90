"""`rnnlab run` and `rnnlab resume`: train the runs of an experiment, one directory per run."""

import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rnnlab import records
from rnnlab.cli import suggestions
from rnnlab.cli.best_run import best_run
from rnnlab.cli.commands import Resume, Run, Search
from rnnlab.cli.compare import print_results, results_of, training_losses
from rnnlab.cli.experiment_flags import experiments, print_settings
from rnnlab.cli.parser import Session
from rnnlab.cli.progress_bar import progress_display
from rnnlab.cli.shipped import documented_command, shipped_experiments
from rnnlab.cli.virtual_devices import require_devices
from rnnlab.models.building import require_buildable
from rnnlab.parallel import watch
from rnnlab.parallel.agreement import from_first_process
from rnnlab.parallel.processes import is_first_process
from rnnlab.plotting import require_replaceable, save_figure
from rnnlab.records import Record
from rnnlab.runs import api
from rnnlab.runs.api import Experiment, Preset
from rnnlab.runs.grid import load_presets, run_directory, run_name
from rnnlab.runs.locate import link_latest
from rnnlab.runs.resources import require_writable
from rnnlab.runs.resume_policy import ResumePolicy
from rnnlab.runs.run_dir import RunDirectory, validate_run_name
from rnnlab.runs.signals import StopRequested
from rnnlab.train.callbacks import Reporter

CURVES_FILE = "curves.png"


def print_help(command: Run | Search, flags: Sequence[str]) -> None:
    """Prints the settings of an experiment's file and exits."""
    print_settings(find_preset(command), flags)


def run_experiment(command: Run, flags: Sequence[str], session: Session) -> int:
    """Trains every combination of settings that the command asks for. Returns the exit code.

    Raises:
      ValueError: the file, the preset, the value of a flag or the output directory is invalid.
    """
    require_devices(command.devices)
    planned = plan_runs(command, flags)
    name, out = command.file.stem, runs_directory(command)
    results, figure = command.results or out / "results.jsonl", out / CURVES_FILE
    existing = from_first_process(lambda: _existing_records(results))
    from_first_process(lambda: require_replaceable(figure))
    measured: list[Record] = []
    folders: list[Path] = []
    known_notes: set[str] = set()
    policy = ResumePolicy(stop_signal=session.stop_signal)
    for number, (experiment, settings) in enumerate(planned, 1):
        run_dir = run_directory(out, settings)
        title = f"{number}/{len(planned)} {run_dir.name}"
        with (
            _progress(title, experiment.train.steps) as reporter,
            _add_resume_hint(run_dir),
        ):
            reporter = replace(reporter, known_notes=known_notes)
            if command.out is None and is_first_process():
                reporter = _linking(reporter, out)
            result = api.run(
                run_dir,
                experiment,
                reporter,
                policy,
                name=name,
                preset=command.preset,
                grid=settings,
            )
        if result not in existing:
            from_first_process(lambda result=result: records.append(results, result))
        measured.append(result)
        folders.append(run_dir)
    if not is_first_process():
        return 0
    if command.only is not None:  # other processes draw the same figure
        print_results(measured)
        print(f"Written: {folders[0]} and {results}")
        return 0
    report_runs(measured, folders, out, results)
    return 0


def plan_runs(command: Run, flags: Sequence[str]) -> list[tuple[Experiment, dict[str, Any]]]:
    """Returns the experiments that a command trains, each with the settings that vary.

    Raises:
      ValueError: the file, the preset, or the value of a flag is invalid.
    """
    seeds = [] if command.seeds is None else ["--train.seed", command.seeds]
    planned = experiments(find_preset(command), [*flags, *seeds])
    names = [run_name(settings) for _, settings in planned]
    if len(set(names)) < len(names):
        raise ValueError(f"two runs are {max(names, key=names.count)}; name each value once")
    if command.only is not None:
        if command.only not in names:
            raise ValueError(f"--only must be one of {', '.join(names)}, got {command.only!r}")
        planned = [planned[names.index(command.only)]]
    for model in {experiment.model for experiment, _ in planned}:
        # Check all models before the first run is trained: only shapes, with placeholder features.
        require_buildable(model)
    return planned


def runs_directory(command: Run) -> Path:
    """Returns the directory of the runs of a command.

    Raises:
      ValueError: its name is not that of a directory.
    """
    now = from_first_process(lambda: datetime.now(UTC).strftime("%Y%m%d-%H%M%S"))
    out = command.out or Path("runs") / command.file.stem / now
    if not os.path.exists(out):  # False also where the name is too long for the system
        validate_run_name(out.name)
    return out


def report_runs(
    measured: Sequence[Record], folders: Sequence[Path], out: Path, results: Path
) -> None:
    """Prints the results of runs, and draws the curves of all runs in their directory."""
    print_results(measured)
    figure = out / CURVES_FILE
    is_drawn = _draw_curves(out, measured[0]["metric"], figure)
    curves = f" with its curves in {figure}," if is_drawn else ""
    print(f"Written: {out}{curves} and {results}")
    _print_next_command(measured, folders)


def resume_run(command: Resume, session: Session) -> int:
    """Resumes a run. Returns the exit code."""
    require_devices(command.devices)
    _, _, experiment = api.load_run(command.folder)
    flags = {name: getattr(command, f"mesh_{name}") for name in ("data", "time", "model", "fsdp")}
    mesh = replace(experiment.mesh, **{k: v for k, v in flags.items() if v is not None})
    out = _directory_of(command.folder)
    results = command.results or out / "results.jsonl"
    existing = from_first_process(lambda: _existing_records(results))
    policy = ResumePolicy(
        from_step=command.from_step,
        strict=command.strict,
        allow_device_change=command.allow_device_change,
        allow_cores_change=command.allow_cores_change,
        allow_versions_change=command.allow_versions_change,
        allow_other_mesh=command.allow_other_mesh,
        stop_signal=session.stop_signal,
        held_locks=session.held_locks,
    )
    title = command.folder.name
    with (
        _add_resume_hint(command.folder),
        _progress(title, experiment.train.steps) as reporter,
    ):
        result = api.resume(command.folder, reporter, policy, mesh=mesh)
    if result not in existing:
        from_first_process(lambda: records.append(results, result))
    if not is_first_process():
        return 0
    print_results([result])
    figure = out / CURVES_FILE
    is_drawn = _draw_curves(out, result["metric"], figure)
    print(f"Written: {command.folder}, {f'{figure} and ' if is_drawn else ''}{results}")
    _print_next_command([result], [command.folder])
    return 0


def _progress(title: str, steps: int) -> AbstractContextManager[Reporter]:
    """Returns the display of a run's progress, of several processes only in the first."""
    return progress_display(title, steps) if is_first_process() else nullcontext(Reporter())


def _directory_of(folder: Path) -> Path:
    """Returns the directory that contains a run, relative if the run's path is."""
    named, real = folder.parent, folder.resolve().parent
    return named if named.resolve() == real else real  # as of "." or of a link


def _print_next_command(results: Sequence[Record], folders: Sequence[Path]) -> None:
    """Prints how to predict with the best run, in one line that can be copied."""
    best = best_run(list(zip(results, folders, strict=True)))
    if best is not None:
        of = "" if len(results) == 1 else f", with the best run by {best.value}"
        print(f"Next{of}: {shlex.join(['rnnlab', 'predict', str(best.folder)])}")


def _draw_curves(out: Path, metric: str, figure: Path) -> bool:
    """Draws all finished runs in a directory that have a metric, also those of earlier commands.

    Returns whether it could: the files of another run may be corrupt, or the figure's file may be
    the user's own.
    """
    from rnnlab.cli.plot_runs import curves_figure  # imports matplotlib

    try:
        require_replaceable(figure)
        runs = [
            pair
            for folder in sorted(out.glob("*/result.json"))
            for pair in results_of(folder.parent)
        ]
        found = [(result, run) for result, run in runs if result["metric"] == metric]
        losses = [training_losses(run) for _, run in found]
    except ValueError as error:
        print(f"rnnlab: warning: no figure of the curves: {error}", file=sys.stderr)
        return False
    save_figure(curves_figure([result for result, _ in found], losses), figure)
    return True


def find_preset(command: Run | Search) -> Preset:
    """Returns the preset that a command names.

    Raises:
      ValueError: the file is not an experiment, or the preset is unknown.
    """
    presets = load_presets(_find_experiment(command.file))
    if command.preset not in presets:
        raise ValueError(
            f"preset must be one of {', '.join(map(repr, presets))}, got {command.preset!r}"
        )
    return presets[command.preset]


def _linking(reporter: Reporter, out: Path) -> Reporter:
    """Returns a reporter that makes runs/latest a link to `out` at the run's first line."""

    is_linked = False

    def log(line: str) -> None:
        nonlocal is_linked
        if not is_linked:
            link_latest(out)
            is_linked = True
        reporter.log(line)

    return replace(reporter, log=log)


def _find_experiment(file: Path) -> Path:
    """Returns the file of an experiment that is named by its path or as `rnnlab list` shows it.

    Raises:
      ValueError: there is no such file, but one of a similar name.
    """
    folder = shipped_experiments()
    named = folder / f"{file.name}.py"
    if os.path.exists(file) or not os.path.isdir(folder):
        return file
    if file.parent == Path() and named.is_file():
        return named
    for script in sorted(folder.parent.glob(f"*/{file.stem}.py")):
        if script.parent != folder and (own_command := documented_command(script)):
            raise ValueError(
                f"{file} is not an experiment that `rnnlab run` trains; its command is "
                f"`{own_command}`"
            )
    names = [path.stem for path in folder.glob("*.py")]
    if closest := suggestions.similar(file.stem, names):
        raise ValueError(f"{file} is not a file; did you mean `rnnlab run {closest}`?")
    return file


@contextmanager
def _add_resume_hint(run_dir: Path) -> Iterator[None]:
    watch.set_hint(_resume_hint(run_dir))
    try:
        yield
    except StopRequested as stop:
        if RunDirectory(run_dir).config.exists():
            stop.args = (f"{stop}; {_resume_hint(run_dir)}",)
        raise


def _resume_hint(run_dir: Path) -> str:
    return f"`rnnlab resume {run_dir}` resumes the run"


def _existing_records(results: Path) -> list[Record]:
    """Returns the records of the results file, read before any work: it may be invalid."""
    if not os.path.exists(results):
        require_writable(results.parent)
        return []
    return list(records.read(results))
