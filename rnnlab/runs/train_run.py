"""Train one run in its directory: from its last checkpoint to its result."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import jax
import numpy as np

from rnnlab.errors import InsufficientResourcesError, TrainingDivergedError
from rnnlab.models import SequenceModel
from rnnlab.parallel import watch
from rnnlab.parallel.agreement import agreed, from_first_process, largest
from rnnlab.parallel.mesh import MeshConfig
from rnnlab.parallel.processes import is_first_process
from rnnlab.records import Record
from rnnlab.runs.checkpoints.store import CheckpointStore
from rnnlab.runs.resources import require_memory
from rnnlab.runs.resume import recover_best, restore_for_resume
from rnnlab.runs.resume_policy import ResumePolicy
from rnnlab.runs.run_dir import RunDirectory
from rnnlab.runs.signals import StopSignal
from rnnlab.runs.tensorboard import TensorBoardWriter
from rnnlab.tasks.data import TaskData
from rnnlab.train.callbacks import LoopCallbacks, Reporter, TrainingStopped
from rnnlab.train.config import TrainConfig
from rnnlab.train.evaluate import at_wanted_recall
from rnnlab.train.loop import TrainingLoop
from rnnlab.train.step import update_memory


def train_run(
    run_dir: RunDirectory,
    metadata: Record,
    model: SequenceModel,
    data: TaskData,
    config: TrainConfig,
    reporter: Reporter | None = None,
    policy: ResumePolicy | None = None,
    mesh: MeshConfig | None = None,
) -> Record:
    """Trains from the directory's newest checkpoint, or from step 0, to the last step.

    Args:
      run_dir: the run's directory, whose lock is held.
      metadata: what the run's states belong to, stored with each: settings, data, versions, cores.
      model: the model, with its initial parameters.
      data: what it is trained and evaluated on.
      config: how it is trained.
      reporter: shows progress; by default nothing is shown.
      policy: which checkpoint a resumed run starts from and what may differ.
      mesh: the devices that it is trained on; None: the default device.

    Returns:
      The outcome: metrics of the best step on every evaluation set, when it was reached, speed in
      real tokens without padding, and the curve of the first metric. If the reporter ended the
      training, also "pruned", which is True.

    Raises:
      StopRequested: a signal came; the state is on disk.
      CheckpointError: the run cannot be resumed from any checkpoint.
      TrainingDivergedError: losses or gradients are NaN or Inf, or the loss has diverged.
      InsufficientResourcesError: the disk or the memory is full.
      ValueError: the data does not fit the model.
    """
    reporter, policy = reporter or Reporter(), policy or ResumePolicy()
    stop_signal = policy.stop_signal
    store = CheckpointStore(
        run_dir.path, metadata, lambda line: reporter.log(f"rnnlab: warning: {line}")
    )
    events = TensorBoardWriter(run_dir.events)

    def write_record(record: Record) -> None:
        if is_first_process():
            run_dir.append_metrics(record)
            events.write(record)

    callbacks = _watched(LoopCallbacks(reporter, write_record, store.save), stop_signal)
    try:
        loop = TrainingLoop(model, data, config, callbacks, mesh)
        _restore(loop, run_dir, store, policy)
        reporter.log(reporter.title)
        # On leaving, `deferred` raises StopRequested if a signal has come.
        with stop_signal, stop_signal.deferred(), suppress(TrainingStopped):
            _require_memory(loop)
            watch.expect_progress(True)
            loop.run()
        return _result(loop, run_dir, store)
    except TrainingDivergedError as error:
        raise TrainingDivergedError(f"{run_dir.path}: {error}") from None
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise InsufficientResourcesError(
            f"out of memory: {str(error).splitlines()[0]}; lower data.batch_size, data.length or "
            "model.width"
        ) from error
    finally:
        watch.expect_progress(False)
        events.close()


def _watched(callbacks: LoopCallbacks, stop_signal: StopSignal) -> LoopCallbacks:
    """Returns callbacks that also report every step of the training to the watch of the processes.

    They stop the training at a signal: of several processes all at the same step, if one has
    received it.
    """
    reporter = callbacks.reporter

    def on_update(step: int, metrics: Record) -> None:
        watch.progress(step)
        reporter.on_update(step, metrics)

    def on_evaluation(step: int, value: float) -> bool:
        return agreed(reporter.on_evaluation(step, value))

    def should_stop() -> bool:
        watch.progress()
        number = largest(stop_signal.number or 0)
        if number and not stop_signal.is_set():
            stop_signal.adopt(number)
        return bool(number)

    def save_checkpoint(*arguments: Any, **options: Any) -> None:
        callbacks.save_checkpoint(*arguments, **options)
        watch.progress()

    return replace(
        callbacks,
        reporter=replace(reporter, on_update=on_update, on_evaluation=on_evaluation),
        should_stop=should_stop,
        save_checkpoint=save_checkpoint,
    )


def _restore(
    loop: TrainingLoop, run_dir: RunDirectory, store: CheckpointStore, policy: ResumePolicy
) -> None:
    """Gives the loop the state that the run continues from."""
    log = loop.callbacks.reporter.log
    checkpoint = restore_for_resume(run_dir, store, loop.tree, policy, log)
    if checkpoint is None:
        return
    log(f"resuming from step {checkpoint.step} of {loop.config.steps}")
    state, progress = checkpoint.tree["state"], checkpoint.tree["progress"]
    if not recover_best(store, checkpoint.step, progress, log):
        worst, never = np.array(loop.worst_value), np.array(-1)
        progress = progress._replace(best_value=worst, last_eval_step=never)
    loop.restore(state, progress)


def _require_memory(loop: TrainingLoop) -> None:
    """Raises if an update cannot fit into memory, as estimated by its compiled program."""
    count = loop.config.grad_accum_steps
    size = update_memory(loop.train_step, loop.state, loop.first_batch, count, loop.placement)
    if size is None:
        return
    if loop.placement is not None:
        size *= loop.placement.devices_per_memory
    examples, time_steps = loop.first_batch.inputs.shape[:2]
    what = f"an update over {count * examples:,} examples of {time_steps:,} time steps"
    require_memory(size, what, "data.batch_size, data.length or model.width")


def _result(loop: TrainingLoop, run_dir: RunDirectory, store: CheckpointStore) -> Record:
    """Evaluates the best step on every evaluation set and collects the outcome."""
    data, progress = loop.data, loop.progress
    params = _best_params(loop, store)
    metrics = {name: loop.measure(params, name) for name in data.eval_sets}
    metrics[list(metrics)[-1]] |= at_wanted_recall(loop.predict, params, data)
    # A step at which a run was stopped and resumed is recorded twice.
    evaluations = {
        record["step"]: record
        for record in from_first_process(run_dir.read_metrics, "the metrics")
        if record.get("set") == loop.validation_split
    }
    best_step = int(progress.best_step)
    curve = [
        [step, round(record["seconds"], 2), record.get(data.metrics[0])]
        for step, record in evaluations.items()
    ]
    return {
        "metrics": metrics,
        "baselines": {
            name: dict(values) if isinstance(values, Mapping) else {data.metrics[0]: values}
            for name, values in data.baselines().items()
        },
        "best_step": best_step,
        "seconds_to_best": evaluations.get(best_step, {}).get("seconds"),
        "steps": int(loop.state.step),
        "skipped": int(progress.loss_history.total_skips),
        "seconds": float(progress.seconds),
        "tokens_per_second": loop.throughput.median,
        "curve": curve,
        **({"signatures": dict(data.signatures)} if data.signatures else {}),
        **({"pruned": True} if loop.is_pruned else {}),
    }


def _best_params(loop: TrainingLoop, store: CheckpointStore) -> Any:
    """Returns the parameters of the best step, from disk where it is not the last."""
    if not np.isfinite(loop.progress.best_value):
        raise TrainingDivergedError(
            f"{loop.metric} must be finite at one evaluation at least, and is NaN or Inf at all of "
            "them; start a new run with a lower train.learning_rate or train.grad_clip_norm"
        )
    best_step = int(loop.progress.best_step)
    if best_step == int(loop.state.step):
        return loop.state.params
    return store.restore(best_step, loop.tree).tree["state"].params
