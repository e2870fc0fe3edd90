"""Run an experiment, resume a run, and load the model of a trained one."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from rnnlab.runs import serialization
from rnnlab.models.legacy_settings import current_model_settings
from rnnlab.models.config import ModelConfig, count_parameters, settings_class, state_bytes
from rnnlab.errors import CheckpointError
from rnnlab.atomic_io import read_json, write_json
from rnnlab.legacy_names import current_record
from rnnlab.models import SequenceModel
from rnnlab.provenance import environment, git_revision
from rnnlab.records import Record
from rnnlab.runs.train_run import train_run
from rnnlab.tasks import TASKS
from rnnlab.tasks.data import TaskData, Task
from rnnlab.tasks.stored_settings import current_settings
from rnnlab.runs.experiment import Experiment as Experiment
from rnnlab.runs.experiment import Preset as Preset
from rnnlab.runs.run_dir import RunDirectory, validate_run_name
from rnnlab.runs.lock import lock_run
from rnnlab.train.optimizer import recurrent_regularizer
from rnnlab.train.callbacks import Reporter
from rnnlab.runs.resources import require_memory, require_writable
from rnnlab.train.config import TrainConfig
from rnnlab.runs.resume import load_best_params
from rnnlab.runs.resume_policy import ResumePolicy


def run(
    path: Path,
    name: str,
    preset: str,
    experiment: Experiment,
    varied: Mapping[str, Any],
    display: Reporter,
    sitting: ResumePolicy | None = None,
) -> Record:
    """Trains an experiment in a folder, on from where it is if this run is there already.

    Returns and keeps its result.

    Raises:
      BusyError: another process writes in the folder.
      ResourceError: the folder cannot be written to, or the model does not fit into memory.
      ValueError: the task is none of `TASKS`, the settings do not fit, or the folder holds another
        run.
    """
    task = type(experiment.data).__name__
    if task not in TASKS:
        raise ValueError(f"data is a {task}; a run can be read again with a task of TASKS alone")
    settings = {
        "experiment": name,
        "preset": preset,
        "grid": {k: serialization.dump(v) for k, v in varied.items()},
        "task": task,
        "data": serialization.dump(experiment.data),
        "model": serialization.dump(experiment.model.settings()),
        "train": serialization.dump(experiment.train),
    }
    validate_run_name(path.name)
    sitting = sitting or ResumePolicy()
    if RunDirectory(path).config.exists() and load_run(path)[2] == experiment:
        return resume(path, display, sitting)
    data = experiment.data.load(experiment.train.seed)
    model = build(experiment, data)
    around = environment(jax.devices()[0])
    around |= {"commit": git_revision(), "data_fingerprint": data.fingerprint}
    require_writable(path.parent)
    with lock_run(path, sitting.held_locks):
        folder = RunDirectory.create(path, settings, around)
        return _trained(folder, settings, experiment, model, data, display, sitting)


def resume(path: Path, display: Reporter, sitting: ResumePolicy | None = None) -> Record:
    """Goes on with a run from its newest checkpoint. Returns its result.

    Raises:
      BusyError: another process writes in the folder.
      CheckpointError: there is no run, its data is another than it was, or no checkpoint of it can
        be gone on from.
      ValueError: its settings cannot be read.
    """
    sitting = replace(sitting or ResumePolicy(), is_resume=True)
    folder, settings, experiment = load_run(path)
    if folder.result.exists() and sitting.from_step is None:
        return folder.read_result()
    with lock_run(path, sitting.held_locks):
        data = _same_data(folder, experiment)
        model = build(experiment, data)
        return _trained(folder, settings, experiment, model, data, display, sitting)


def load_run(path: Path) -> tuple[RunDirectory, Record, Experiment]:
    """A run's folder, its settings as they are stored, and as an experiment."""
    folder = RunDirectory.open(path)
    where = str(folder.config)
    try:
        settings = read_json(folder.config)
    except ValueError as error:
        raise ValueError(f"{error}; bring it back from a copy") from None
    settings = current_record(settings) if isinstance(settings, dict) else settings
    if not isinstance(settings, dict) or str(settings.get("task")) not in TASKS:
        raise ValueError(f"{where} names no task; one of {', '.join(TASKS)} is needed")
    for name in ("experiment", "preset", "grid"):
        if name not in settings:
            raise ValueError(f"{where} has no {name}; bring it back from a copy")
    experiment = Experiment(
        _load_task(settings["task"], settings.get("data"), f"{where}: data"),
        load_model_config(settings.get("model"), f"{where}: model"),
        serialization.load(TrainConfig, settings.get("train"), f"{where}: train"),
    )
    return folder, settings, experiment


def _load_task(name: str, stored: object, where: str) -> Task:
    """A run's task, whose settings may have been stored under former names."""
    settings = current_settings(name, stored) if isinstance(stored, dict) else stored
    return serialization.load(TASKS[name], settings, where)


def load_model_config(settings: Any, where: str) -> ModelConfig:
    """Returns the model's configuration from its stored settings."""
    settings = current_model_settings(settings) if isinstance(settings, dict) else settings
    cell = settings.get("cell") if isinstance(settings, dict) else None
    kind = settings_class(cell if isinstance(cell, str) else ModelConfig.cell)
    return ModelConfig.from_settings(vars(serialization.load(kind, settings, where)))


def build(experiment: Experiment, data: TaskData) -> SequenceModel:
    """The experiment's model, with the parameters that its seed gives.

    Raises:
      ResourceError: it does not fit into memory.
      ValueError: the settings do not fit each other or the data.
    """
    if data.autoregressive and experiment.model.bidirectional:
        raise ValueError(
            "bidirectional is True for a task whose targets are later inputs, which the model "
            "would read; leave it out"
        )

    def make() -> SequenceModel:
        return experiment.model.build(
            data.out_features,
            vocab_size=data.vocab_size,
            in_features=data.in_features,
            rngs=nnx.Rngs(experiment.train.seed),
        )

    size = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(nnx.eval_shape(make)))
    # The parameters, their gradient and the optimiser's two moments.
    require_memory(4 * size, f"training a model of {size:,} bytes", "model.width or model.depth")
    model = make()
    if experiment.train.recurrent_l1 or experiment.train.recurrent_l2:
        weights = experiment.train.recurrent_l1, experiment.train.recurrent_l2
        recurrent_regularizer(nnx.state(model), *weights)
    return model


def load_trained_model(path: Path, *, strict: bool = False) -> tuple[SequenceModel, TaskData]:
    """A run's model with the parameters of its best step, and its data.

    Where the best step is damaged the newest sound one is taken, with a warning, or with `strict`
    an error.

    Raises:
      CheckpointError: there is no run, or no sound checkpoint in it.
    """
    folder, settings, experiment = load_run(path)
    data = _same_data(folder, experiment)
    model = build(experiment, data)
    batch_size = data.train_batch(0).inputs.shape[0]
    carry = model.initial_carry((batch_size,)) if data.stateful else ()
    about = _about(settings, data)
    params = load_best_params(folder, about, model, experiment.train, carry, strict=strict)
    return nnx.merge(nnx.graphdef(model), params), data


def _same_data(folder: RunDirectory, experiment: Experiment[Task]) -> TaskData:
    """The data of a run, which must be what it was when the run began."""
    data = experiment.data.load(experiment.train.seed)
    known = folder.read_environment().get("data_fingerprint", "")
    if data.fingerprint != known:
        raise CheckpointError(
            f"the data of {folder.path} has changed: its fingerprint is {data.fingerprint[:16]}, "
            f"it was {known[:16]}; bring the old data back, or start a new run"
        )
    return data


def _trained(
    folder: RunDirectory,
    settings: Record,
    experiment: Experiment[Task],
    model: SequenceModel,
    data: TaskData,
    display: Reporter,
    sitting: ResumePolicy,
) -> Record:
    """Trains a run and writes its result."""
    sizes = {"parameters": count_parameters(model), "state_bytes": state_bytes(model)}
    title = (
        f"{folder.path}: {experiment.model.cell}, {sizes['parameters']:,} parameters, "
        f"{sizes['state_bytes']:,} bytes of state a stream"
    )
    display = replace(display, title=title)
    about = _about(settings, data)
    outcome = train_run(folder, about, model, data, experiment.train, display, sitting)
    result = {
        **settings,
        "cell": experiment.model.cell,
        "seed": experiment.train.seed,
        **sizes,
        **outcome,
        "metric": data.metrics[0],
        **folder.read_environment(),
    }
    write_json(folder.result, result)
    return result


def _about(settings: Record, data: TaskData) -> Record:
    """What the states of a run belong to."""
    around = environment(jax.devices()[0])
    kept = {name: around[name] for name in ("device", "processor", "cores", "python", "versions")}
    return {"config": settings, "data_fingerprint": data.fingerprint, **kept}
