"""The training loop: updates, evaluations and early stopping. Callbacks keep what it produces."""

import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import Array

from rnnlab.errors import TrainingDivergedError
from rnnlab.models import SequenceModel
from rnnlab.parallel.mesh import MeshConfig
from rnnlab.parallel.placement import Placement
from rnnlab.parallel.processes import process_count
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.data import TaskData
from rnnlab.train.callbacks import LoopCallbacks, TrainingStopped
from rnnlab.train.config import TrainConfig
from rnnlab.train.diagnostics import GradientMonitor, make_gate_saturation
from rnnlab.train.divergence import check_divergence
from rnnlab.train.evaluate import evaluate, make_decode, make_predict
from rnnlab.train.loop_state import LoopState
from rnnlab.train.metrics import higher_is_better
from rnnlab.train.optimizer import schedule
from rnnlab.train.prefetch import prefetch_batches, validate_batch
from rnnlab.train.step import TrainState, initial_state, make_train_step, reduce_lr_on_plateau
from rnnlab.train.throughput import ThroughputMeter


class TrainingLoop:
    """The compiled programs of a training and the state that they advance.

    Attributes:
      state: parameters, optimizer and random key: all that decides the next update.
      progress: best value, early stopping, running time and loss history.
      validation_split: name of the evaluation set that chooses the best step.
      metric: name of the metric that chooses it.
      is_pruned: whether the reporter ended the training after an evaluation.
      placement: the mesh and the shardings of its arrays; None on one device.
    """

    state: TrainState
    progress: LoopState

    def __init__(
        self,
        model: SequenceModel,
        data: TaskData,
        config: TrainConfig,
        callbacks: LoopCallbacks | None = None,
        mesh: MeshConfig | None = None,
    ):
        self.placement = None
        if mesh is not None and mesh.num_devices > 1:
            self.placement = Placement(mesh, nnx.state(model, nnx.Param))
            data = divided_data(data, self.placement)
        self.data, self.config = data, config
        self.callbacks = callbacks or LoopCallbacks()
        self.metric = data.selection_metric or data.metrics[0]
        self.validation_split = next(iter(data.eval_sets))
        graphdef = nnx.graphdef(model)
        self.predict = make_predict(graphdef, self.placement)
        self.decode = make_decode(graphdef, data.decoding, self.placement)
        self.train_step = make_train_step(
            graphdef, data.loss, config, data.loss_options, self.placement
        )
        self._gate_saturation = make_gate_saturation(graphdef, self.placement)
        self._gradient_monitor = GradientMonitor()
        self.is_pruned = False
        self.throughput = ThroughputMeter()
        self.first_batch = data.train_batch(0)
        validate_batch(data, self.first_batch)
        carry = model.initial_carry(self.first_batch.inputs.shape[:1]) if data.stateful else ()
        self.higher_is_better = higher_is_better(self.metric)
        self.worst_value = -np.inf if self.higher_is_better else np.inf
        state = initial_state(model, config, carry, self.placement)
        self.restore(state, LoopState.initial(self.worst_value))

    @property
    def tree(self) -> dict[str, Any]:
        """All that a checkpoint stores."""
        return {"state": self.state, "progress": self.progress}

    def restore(self, state: TrainState, progress: LoopState) -> None:
        """Continues from a stored state instead of the initial one."""
        self.state, self.progress = state, progress
        self._unread: tuple[int, dict[str, Array]] | None = None
        self._saved_step = int(state.step)
        self._clock_start = time.perf_counter() - float(progress.seconds)

    def run(self) -> None:
        """Trains to the last step, or until `patience` evaluations bring no better value.

        It also ends where the reporter's `on_evaluation` returns True.

        Raises:
          TrainingStopped: `should_stop` returned True; the state is saved.
          TrainingDivergedError: losses or gradients are NaN or Inf, or the loss has diverged.
          ValueError: the data does not fit the model.
        """
        data, config, start = self.data, self.config, int(self.state.step)
        self._stop_if_requested()
        # Before the first update, and where a stop came between an update and its evaluation.
        evaluated = int(self.progress.last_eval_step) == start
        if self._is_due(start, config.eval_every) and not evaluated:
            self._evaluate()
        stream = prefetch_batches(
            data,
            config.grad_accum_steps,
            start,
            config.steps,
            self._stop_while_waiting,
            shardings=self.placement and partial(self.placement.batch, stacked=True),
        )
        for step, batches in enumerate(stream, start + 1):
            if self.is_pruned or self._out_of_patience():
                break
            before, self._unread = self._unread, None
            self.state, metrics = self.train_step(self.state, batches)
            self._unread = step, metrics
            # Waits for the update before, while this one is queued; more would fill memory.
            self._read_update(before)
            self.throughput.add(_num_tokens(batches))
            if self._is_due(step, config.log_every):
                self._read_last_update()
                self.throughput.stop()
                self._log_update(step, metrics)
                self.throughput.start()
            if self._is_due(step, config.eval_every):
                self._read_last_update()
                self._evaluate()
                self.throughput.start()
            self._stop_if_requested()

    def measure(
        self, params: Any, name: str, poll: Callable[[], None] = lambda: None
    ) -> dict[str, float]:
        """Returns the metrics on an evaluation set.

        Args:
          params: the parameters of the model.
          name: of the evaluation set.
          poll: as of `rnnlab.train.evaluate.evaluate`.
        """
        batches = self.data.eval_sets[name]()
        return evaluate(self.predict, params, self.data, batches, poll, decode=self.decode)

    def _is_due(self, step: int, every: int) -> bool:
        return step % every == 0 or step == self.config.steps

    def _out_of_patience(self) -> bool:
        patience = self.config.patience
        return patience is not None and int(self.progress.evals_since_best) >= patience

    def _stop_if_requested(self) -> None:
        if self.callbacks.should_stop():
            self._read_last_update()
            step = int(self.state.step)
            if step:
                self._save(best=False)
                self.callbacks.reporter.log(f"saved step {step}")
            raise TrainingStopped

    def _stop_while_waiting(self) -> None:
        # Processes wait for their data for different times, and decide together at the next update.
        if process_count() == 1:
            self._stop_if_requested()

    def _read_last_update(self) -> None:
        """Waits for the last update and reports it, if it has not been read yet."""
        update, self._unread = self._unread, None
        self._read_update(update)

    def _read_update(self, update: tuple[int, dict[str, Array]] | None) -> None:
        """Waits for an update, checks it and reports its loss."""
        if update is not None:
            step, metrics = update
            loss = self._check_update(step, metrics)
            report = {"loss": loss, "tokens_per_second": self.throughput.last}
            self.callbacks.reporter.on_update(step, report)

    def _check_update(self, step: int, metrics: dict[str, Array]) -> float:
        """Returns the loss of an update; warns if it was skipped, raises if training has failed."""
        names = "loss", "gradient_norm", "update_applied"
        loss, norm, applied = (x.item() for x in jax.device_get([metrics.pop(n) for n in names]))
        metrics |= {"loss": loss, "gradient_norm": norm}
        before = self.progress.loss_history
        try:
            history = check_divergence(
                before, step, loss, norm, applied, self.config.max_consecutive_skips
            )
        except TrainingDivergedError as error:
            updates_applied = step - 1 - int(before.total_skips)
            rate = float(schedule(self.config)(updates_applied) * self.state.plateau.scale)
            # A loss that has risen may have done so before the last save.
            good_step = int(self.progress.best_step) if applied else self._saved_step
            raise TrainingDivergedError(
                f"{error}, the learning rate {rate:.3g}; the last good checkpoint is step "
                f"{good_step}; start a new run with a lower train.learning_rate or "
                "train.grad_clip_norm"
            ) from None
        skips = int(history.total_skips)
        if not applied and (skips <= 10 or skips % 100 == 0):
            self.callbacks.reporter.log(
                f"rnnlab: warning: the update of step {step} is skipped: loss {loss:.4g}, gradient "
                f"norm {norm:.4g}; skipped so far: {skips}"
            )
        self.progress = self.progress._replace(loss_history=history)
        return loss

    def _log_update(self, step: int, metrics: dict[str, Array]) -> None:
        values = {name: float(x) for name, x in jax.device_get(metrics).items()}
        for line in self._gradient_monitor(step, values):
            self.callbacks.reporter.log(f"rnnlab: warning: {line}")
        skipped = int(self.progress.loss_history.total_skips)
        more = {"skipped": skipped, "tokens_per_second": self.throughput.last}
        self.callbacks.write_record({"step": step, "seconds": self._seconds(), **values, **more})

    def _evaluate(self) -> None:
        """Measures the validation split, updates the best value, reduces the rate, and saves."""
        step, params = int(self.state.step), self.state.params
        measured = self.measure(params, self.validation_split, self._stop_if_requested)
        saturation = jax.device_get(self._gate_saturation(params, self.first_batch))
        record = {"step": step, "set": self.validation_split, "seconds": self._seconds()}
        fractions = {name: float(fraction) for name, fraction in saturation.items()}
        self.callbacks.write_record({**record, **measured, **fractions})
        value, sign = measured[self.metric], -1.0 if self.higher_is_better else 1.0
        self.progress, is_best = self.progress.after_evaluation(step, value, sign)
        self.state = reduce_lr_on_plateau(self.config, self.state, sign * value)
        self._save(best=is_best)
        text = ", ".join(f"{name} {value:.4f}" for name, value in measured.items())
        best = " (best)" if is_best else ""
        self.callbacks.reporter.log(
            f"step {step}: {self.validation_split} {text}{best}; saved step {step}"
        )
        if step:  # an untrained model shows nothing about its settings
            self.is_pruned = self.callbacks.reporter.on_evaluation(step, float(value))

    def _save(self, *, best: bool) -> None:
        self.progress = self.progress._replace(seconds=np.array(self._seconds()))
        self._saved_step = int(self.state.step)
        self.callbacks.save_checkpoint(self._saved_step, self.tree, best=best)

    def _seconds(self) -> float:
        return time.perf_counter() - self._clock_start


def _num_tokens(batches: Batch) -> int:
    """Returns the number of real time steps, without padding.

    Each of several processes counts its own part of the mask, as a sample of all.
    """
    mask = batches.mask
    if mask is None:
        return int(np.prod(batches.inputs.shape[:3]))
    if isinstance(mask, np.ndarray) or mask.is_fully_addressable:
        return int(np.sum(mask))
    parts = [np.asarray(shard.data) for shard in mask.addressable_shards]
    return int(sum(map(np.sum, parts)) / sum(part.size for part in parts) * mask.size)


def divided_data(data: TaskData, placement: Placement) -> TaskData:
    """Returns data whose training batches the mesh divides: the same examples, with padding.

    Raises:
      ValueError: the data has fields that a mesh axis does not divide, or a batch is of another
        size than a multiple of the data axis; the latter when the batch is made.
    """

    def train_batch(n: int) -> Batch:
        batch = data.train_batch(n)
        placement.config.require_batch_size(len(batch.inputs))
        return placement.pad_time(batch)

    def rows(n: int, rows: slice) -> Batch:
        return placement.pad_time(data.rows(n, rows))

    return replace(data, train_batch=train_batch, rows=data.rows and rows)
