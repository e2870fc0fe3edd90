"""Run an experiment, resume a run, and load the model of a trained one."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
from flax import nnx

from rnnlab.atomic_io import write_json
from rnnlab.models import SequenceModel
from rnnlab.models.config import count_parameters, state_bytes
from rnnlab.parallel.agreement import from_first_process, require_same
from rnnlab.parallel.mesh import MeshConfig
from rnnlab.parallel.placement import Placement
from rnnlab.parallel.processes import is_first_process, process_count
from rnnlab.provenance import environment, git_revision
from rnnlab.records import Record
from rnnlab.runs import serialization
from rnnlab.runs.experiment import Experiment as Experiment
from rnnlab.runs.experiment import Preset as Preset
from rnnlab.runs.lock import lock_run
from rnnlab.runs.references import find_sources, task_name
from rnnlab.runs.resources import require_memory, require_writable
from rnnlab.runs.resume import load_best_params
from rnnlab.runs.resume_policy import ResumePolicy
from rnnlab.runs.run_dir import RunDirectory, validate_run_name
from rnnlab.runs.stored_run import (
    CHOSEN_SETTINGS,
    MESH,
    load_data,
    load_same_data,
    model_settings,
)
from rnnlab.runs.stored_run import check_references as check_references
from rnnlab.runs.stored_run import load_model_config as load_model_config
from rnnlab.runs.stored_run import load_run as load_run
from rnnlab.runs.stored_run import read_settings as read_settings
from rnnlab.runs.train_run import train_run
from rnnlab.tasks.data import Task, TaskData
from rnnlab.train.callbacks import Reporter
from rnnlab.train.optimizer import recurrent_regularizer

METADATA_KEYS = ("device", "processor", "cores", "python", "versions")


def run(
    path: Path | str,
    experiment: Experiment,
    reporter: Reporter | None = None,
    policy: ResumePolicy | None = None,
    *,
    name: str | None = None,
    preset: str = "custom",
    grid: Mapping[str, Any] | None = None,
    mesh: MeshConfig | None = None,
) -> Record:
    """Trains an experiment in a run directory, or resumes it if this run is there already.

    Args:
      path: the run directory.
      experiment: the settings.
      reporter: receives the progress; None prints a line per evaluation.
      policy: stop signal and held locks; also what a resumed run may change.
      name: name of the experiment in tables; None is that of the task.
      preset: name of its preset in tables.
      grid: the settings that vary between the runs of the experiment, by name.
      mesh: the devices to train on; None: those of the experiment, by default one.

    Returns:
      The result, which is also written to `result.json`.

    Raises:
      RunLockedError: another process writes to the directory.
      InsufficientResourcesError: the directory is not writable, or memory does not suffice.
      ValueError: the settings do not fit the data, or the directory holds another run.
    """
    path, reporter = Path(path), _reporter(reporter)
    if mesh is not None:
        experiment = replace(experiment, mesh=mesh)
    settings = {
        "experiment": name or type(experiment.data).__name__.lower(),
        "preset": preset,
        "grid": {k: serialization.dump(v) for k, v in (grid or {}).items()},
        "task": task_name(experiment.data),
        "data": serialization.dump(experiment.data),
        "model": serialization.dump(experiment.model.settings()),
        "train": serialization.dump(experiment.train),
    }
    if experiment.mesh != MeshConfig():
        settings[MESH] = serialization.dump(experiment.mesh)
    validate_run_name(path.name)
    policy = policy or ResumePolicy()
    exists = from_first_process(RunDirectory(path).config.exists, "the look for the run")
    if exists and load_run(path)[2] == experiment:
        return resume(path, reporter, policy)
    data = load_data(experiment)
    model = build_model(experiment, data, on_mesh=True)
    provenance = environment(jax.devices()[0])
    provenance |= {"commit": git_revision(), "data_fingerprint": data.fingerprint}
    if sources := find_sources(settings):
        provenance["sources"] = sources
    if data.chosen_settings:
        provenance[CHOSEN_SETTINGS] = serialization.dump(data.chosen_settings)
    from_first_process(lambda: require_writable(path.parent))
    with lock_run(path, policy.held_locks):
        from_first_process(
            lambda: RunDirectory.create(path, settings, provenance) and None, "the run directory"
        )
        run_dir = RunDirectory(path)
        for note in data.notes:
            reporter.log_note(note)
        return _train_and_record(run_dir, settings, experiment, model, data, reporter, policy)


def resume(
    path: Path | str,
    reporter: Reporter | None = None,
    policy: ResumePolicy | None = None,
    *,
    mesh: MeshConfig | None = None,
) -> Record:
    """Resumes a run from its latest checkpoint. Returns its result.

    Args:
      path: the run directory.
      reporter: receives the progress; None prints a line per evaluation.
      policy: stop signal and held locks, and what may change.
      mesh: the devices to train on; None: the mesh that the run was started with. Another one needs
        `allow_other_mesh` of the policy.

    Raises:
      RunLockedError: another process writes to the directory.
      CheckpointError: there is no run, its data or a user's file that it needs has changed, or no
        checkpoint of it can be resumed from.
      ValueError: its settings cannot be read.
    """
    path, reporter = Path(path), _reporter(reporter)
    policy = replace(policy or ResumePolicy(), is_resume=True)
    run_dir, settings, experiment = load_run(path)
    if mesh is not None:
        experiment = replace(experiment, mesh=mesh)
    is_finished = from_first_process(run_dir.result.exists, "the look for a result")
    if is_finished and policy.from_step is None:
        return run_dir.read_result()
    with lock_run(path, policy.held_locks):
        data = load_same_data(run_dir, experiment)
        model = build_model(experiment, data, on_mesh=True)
        return _train_and_record(run_dir, settings, experiment, model, data, reporter, policy)


def build_model(experiment: Experiment, data: TaskData, *, on_mesh: bool = False) -> SequenceModel:
    """Builds the experiment's model, with the initial parameters of its seed.

    Args:
      experiment: the settings.
      data: the data of its task.
      on_mesh: whether the parameters are divided over the experiment's mesh, of which no device
        ever holds more than its part; False: they are on the default device.

    Raises:
      InsufficientResourcesError: memory does not suffice.
      ValueError: the settings do not fit each other or the data.
    """
    if data.autoregressive and experiment.model.bidirectional:
        raise ValueError(
            "bidirectional must be False for a task whose targets are later inputs, got True; "
            "remove --model.bidirectional"
        )

    if on_mesh and process_count() > 1 and experiment.mesh.num_devices == 1:
        raise ValueError(
            f"the mesh must have devices of all {process_count()} processes, got one device; raise "
            "--mesh.data"
        )

    def make() -> SequenceModel:
        return experiment.model.build(
            data.out_features,
            vocab_size=data.vocab_size,
            in_features=data.in_features,
            num_variables=data.num_variables,
            source_vocab_size=data.source_vocab_size,
            source_features=data.source_features,
            word_sizes=data.word_sizes,
            loss=data.loss,
            rngs=nnx.Rngs(experiment.train.seed),
        )

    abstract = nnx.eval_shape(make)
    size = sum(math.prod(x.shape) * x.dtype.itemsize for x in jax.tree.leaves(abstract))
    held, placement = size, None
    if on_mesh and experiment.mesh.num_devices > 1:
        shapes = nnx.state(abstract, nnx.Param)
        placement = Placement(experiment.mesh, shapes)
        held = placement.shard_bytes(shapes) * placement.devices_per_memory
    # The parameters, their gradient and the two moments of the optimizer.
    require_memory(4 * held, f"training a model of {size:,} bytes", "model.width or model.depth")
    if placement is None:
        model = make()
    else:
        graphdef = nnx.graphdef(abstract)
        shardings = placement.parameters(nnx.state(abstract))
        state = jax.jit(lambda: nnx.state(make()), out_shardings=shardings)()
        model = nnx.merge(graphdef, state)
    if experiment.train.recurrent_l1 or experiment.train.recurrent_l2:
        # Fail before the training if the model has no recurrent kernels.
        weights = experiment.train.recurrent_l1, experiment.train.recurrent_l2
        recurrent_regularizer(nnx.state(model), *weights)
    return model


def load_trained_model(path: Path, *, strict: bool = False) -> tuple[SequenceModel, TaskData]:
    """Returns a run's model with the parameters of its best step, in evaluation mode, and its data.

    If the best checkpoint is corrupt, the latest valid one is used with a warning; with `strict`
    that is an error.

    Raises:
      CheckpointError: there is no run, or no valid checkpoint in it.
    """
    run_dir, settings, experiment = load_run(path)
    data = load_same_data(run_dir, experiment)
    model = build_model(experiment, data)
    batch_size = data.train_batch(0).inputs.shape[0]
    carry = model.initial_carry((batch_size,)) if data.stateful else ()
    metadata = _metadata(settings, data, experiment.mesh)
    params = load_best_params(run_dir, metadata, model, experiment.train, carry, strict=strict)
    model = nnx.merge(nnx.graphdef(model), params)
    model.eval()
    return model, data


def _train_and_record(
    run_dir: RunDirectory,
    settings: Record,
    experiment: Experiment[Task],
    model: SequenceModel,
    data: TaskData,
    reporter: Reporter,
    policy: ResumePolicy,
) -> Record:
    """Trains a run and writes its result."""
    sizes = {"parameters": count_parameters(model), "state_bytes": state_bytes(model)}
    title = (
        f"{run_dir.path}: {experiment.model.cell}, {sizes['parameters']:,} parameters, "
        f"{sizes['state_bytes']:,} bytes of state per stream"
    )
    reporter = replace(reporter, title=title)
    metadata = _metadata(settings, data, experiment.mesh)
    # Programs that differ would wait for each other forever.
    require_same("the settings", settings)
    require_same("the mesh", metadata[MESH])
    require_same("the fingerprint of the data", data.fingerprint)
    require_same("the versions", metadata["versions"])
    outcome = train_run(
        run_dir, metadata, model, data, experiment.train, reporter, policy, experiment.mesh
    )
    result = {
        **settings,
        "cell": settings["model"].get("cell", experiment.model.cell),
        "seed": experiment.train.seed,
        **sizes,
        **outcome,
        "metric": data.metrics[0],
        **run_dir.read_environment(),
    }
    from_first_process(lambda: write_json(run_dir.result, result), "the result")
    return result


def _reporter(reporter: Reporter | None) -> Reporter:
    """Returns the reporter of this process: of several only the first one reports."""
    return (reporter or Reporter(log=print)) if is_first_process() else Reporter()


def _metadata(settings: Record, data: TaskData, mesh: MeshConfig) -> Record:
    """Returns what the checkpoints of a run must match to be resumed from.

    The mesh is not among the settings there: `ResumePolicy` decides whether it may differ.
    """
    now = environment(jax.devices()[0])
    kept = {name: now[name] for name in METADATA_KEYS}
    own = {
        "data_fingerprint": data.fingerprint,
        "processes": process_count(),
        MESH: serialization.dump(mesh),
    }
    return {"config": model_settings(settings), **own, **kept}
