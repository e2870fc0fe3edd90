"""Settings, experiment and data of a run that exists, read from its directory."""

from dataclasses import replace
from pathlib import Path
from typing import Any

from rnnlab.atomic_io import read_json
from rnnlab.errors import CheckpointError
from rnnlab.legacy_names import current_record
from rnnlab.models.config import ModelConfig, settings_class
from rnnlab.parallel.mesh import MeshConfig
from rnnlab.records import Record
from rnnlab.runs import serialization
from rnnlab.runs.experiment import Experiment
from rnnlab.runs.references import find_task, references, resolve
from rnnlab.runs.run_dir import RunDirectory
from rnnlab.tasks.data import Task, TaskData
from rnnlab.train.config import TrainConfig

CHOSEN_SETTINGS = "chosen_settings"
"""The key in `environment.json` of settings that the task chose from the data."""

MESH = "mesh"
"""The key in `config.json` of the mesh, which it has only where there are several devices."""


def model_settings(settings: Record) -> Record:
    """Returns a run's settings without its mesh, which a resumed run may change."""
    return {name: value for name, value in settings.items() if name != MESH}


def read_settings(path: Path) -> tuple[RunDirectory, Record]:
    """Returns a run's directory and its settings. Executes no user's code.

    Raises:
      CheckpointError: there is no run.
      ValueError: its settings cannot be read.
    """
    run_dir = RunDirectory.open(path)
    where = run_dir.config
    try:
        settings = read_json(where)
    except ValueError as error:
        raise ValueError(f"{error}; restore it from a backup") from None
    if not isinstance(settings, dict):
        raise ValueError(f"{where} must hold a JSON object; restore it from a backup")
    try:
        settings = current_record(settings)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    for name in ("train", "model", "task", "experiment", "preset", "grid"):
        if name not in settings:
            raise ValueError(f"{where} has no {name}; restore it from a backup")
    return run_dir, settings


def load_run(path: Path) -> tuple[RunDirectory, Record, Experiment]:
    """Returns a run's directory, its settings as they are stored, and as an experiment.

    The files of a user's cell or task are executed.

    Raises:
      CheckpointError: there is no run, or a user's file that it needs is missing or has changed.
      ValueError: its settings cannot be read.
    """
    run_dir, settings = read_settings(path)
    where = str(run_dir.config)
    resolved = check_references(run_dir, settings)
    experiment = Experiment(
        _load_task(str(resolved["task"]), resolved.get("data"), where),
        load_model_config(resolved.get("model"), f"{where}: model"),
        serialization.load(TrainConfig, resolved.get("train"), f"{where}: train"),
        serialization.load(MeshConfig, resolved.get(MESH, {}), f"{where}: mesh"),
    )
    return run_dir, settings, experiment


def check_references(run_dir: RunDirectory, settings: Record) -> Record:
    """Returns the settings with references to users' files that exist, without executing them.

    Raises:
      CheckpointError: a file is missing or has changed.
    """
    sources = run_dir.read_environment().get("sources", {}) if references(settings) else {}
    return resolve(settings, sources)


def load_model_config(settings: Any, where: str) -> ModelConfig:
    """Returns the configuration of a model from its stored settings.

    Raises:
      ValueError: a setting is unknown or of another type; names `where`.
    """
    cell = settings.get("cell") if isinstance(settings, dict) else None
    try:
        kind = settings_class(cell if isinstance(cell, str) else ModelConfig.cell)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return ModelConfig.from_settings(vars(serialization.load(kind, settings, where)))


def _load_task(name: str, stored: object, where: str) -> Task:
    """Returns a run's task from its stored settings."""
    try:
        kind = find_task(name)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return serialization.load(kind, stored, f"{where}: data")


def load_data(experiment: Experiment[Task]) -> TaskData:
    """Returns the data of an experiment, whose task may be a user's class."""
    data = experiment.data.load(experiment.train.seed)
    if not isinstance(data, TaskData):
        raise ValueError(
            f"{type(experiment.data).__name__}.load must return a TaskData, got {data!r:.80}; "
            "change the method"
        )
    return data


def load_same_data(run_dir: RunDirectory, experiment: Experiment[Task]) -> TaskData:
    """Returns the data of a run, which must be the data that it began with.

    Settings that the task chose from the data at the start of the run, such as a normalization, are
    not chosen again: the rule of the choice may have changed since.

    Raises:
      CheckpointError: the data has changed.
      ValueError: the stored settings cannot be read.
    """
    known = run_dir.read_environment()
    if chosen := known.get(CHOSEN_SETTINGS):
        where = f"{run_dir.environment}: {CHOSEN_SETTINGS}"
        if not isinstance(chosen, dict):
            raise ValueError(f"{where} must be a JSON object, got {chosen!r:.80}; correct it")
        stored = serialization.dump(experiment.data) | chosen
        task = serialization.load(type(experiment.data), stored, where)
        experiment = replace(experiment, data=task)
    data = load_data(experiment)
    digest = known["data_fingerprint"]
    if data.fingerprint != digest:
        raise CheckpointError(
            f"the data of {run_dir.path} has changed: its fingerprint is {data.fingerprint[:16]}, "
            f"it was {digest[:16]}; restore the data, or start a new run"
        )
    return data
