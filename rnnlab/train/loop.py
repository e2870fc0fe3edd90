"""The loop: updates, evaluations, what is shown, what is kept."""

import time
from collections.abc import Mapping
from statistics import median
from typing import Any

import jax
import numpy as np
from flax import nnx
from jax import Array

from rnnlab.errors import InsufficientResourcesError, TrainingDivergedError
from rnnlab.models import SequenceModel
from rnnlab.records import Record
from rnnlab.runs.checkpoints.store import CheckpointStore
from rnnlab.runs.resources import need_memory
from rnnlab.runs.resume import best_is_kept, taken_up
from rnnlab.runs.resume_policy import ResumePolicy
from rnnlab.runs.run_dir import RunDirectory
from rnnlab.runs.tensorboard import TensorBoardWriter
from rnnlab.tasks.data import TaskData
from rnnlab.train.config import TrainConfig
from rnnlab.train.diagnostics import GradientMonitor, make_saturation
from rnnlab.train.divergence import watched
from rnnlab.train.evaluate import evaluate, make_predict
from rnnlab.train.loop_state import LoopState, Reporter
from rnnlab.train.metrics import METRICS
from rnnlab.train.optimizer import schedule
from rnnlab.train.prefetch import check, feed
from rnnlab.train.step import initial_state, make_train_step, observe


def train(
    folder: RunDirectory,
    about: Record,
    model: SequenceModel,
    data: TaskData,
    settings: TrainConfig,
    display: Reporter | None = None,
    sitting: ResumePolicy | None = None,
) -> Record:
    """Trains from the folder's newest checkpoint, or from the start, to the last step.

    `about` is what the run's states belong to, kept with each: settings, data, versions, cores.

    Returns the outcome: the metrics at the best step on every held-out set, when it was reached,
    speed in real tokens, not padding, and the curve of the first metric.

    Raises:
      Interrupted: a signal came; the state is on disk.
      CheckpointError: no checkpoint can be gone on from.
      DivergedError: losses or gradients are no numbers, or have grown without end.
      ResourceError: the disk or the memory is full.
      ValueError: the data does not fit the model.
    """
    display = display or Reporter()
    checkpoints = CheckpointStore(
        folder.path, about, lambda line: display.say(f"rnnlab: warning: {line}")
    )
    events = TensorBoardWriter(folder.events)
    try:
        run = _Run(
            folder, checkpoints, events, model, data, settings, display, sitting or ResumePolicy()
        )
        return run.finish()
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise InsufficientResourcesError(
            f"out of memory: {str(error).splitlines()[0]}; lower data.batch_size, data.length or "
            "model.width"
        ) from error
    finally:
        events.close()


class _Run:
    """One sitting of a run: the compiled programs and the state that they move."""

    def __init__(self, folder, checkpoints, events, model, data, settings, display, sitting):
        self.folder, self.checkpoints, self.events = folder, checkpoints, events
        self.data, self.settings, self.display = data, settings, display
        self.interruption = sitting.interruption
        self.metric = data.metrics[0]
        self.selection = next(iter(data.eval_sets))
        graphdef = nnx.graphdef(model)
        self.predict = make_predict(graphdef)
        self.saturation = make_saturation(graphdef)
        self.train_step = make_train_step(graphdef, data.loss, settings)
        self.first = data.train_batch(0)
        check(data, self.first)
        carry = model.initial_carry(self.first.inputs.shape[:1]) if data.stateful else ()
        self.state = initial_state(model, settings, carry)
        self.worst = -np.inf if METRICS[self.metric].higher_is_better else np.inf
        self.progress = LoopState.fresh(self.worst)
        restored = taken_up(folder, checkpoints, self._tree(), sitting, display.say)
        if restored is not None:
            self.state, self.progress = restored.tree["state"], restored.tree["progress"]
        kept = best_is_kept(checkpoints, int(self.state.step), self.progress, display.say)
        if not kept:
            worst, never = np.array(self.worst), np.array(-1)
            self.progress = self.progress._replace(best=worst, evaluated=never)
        self.watch = GradientMonitor()
        self.speeds: list[float] = []
        self.started = time.perf_counter() - float(self.progress.seconds)

    def finish(self) -> Record:
        """Runs to the last step and measures the best one on all held-out sets."""
        self.display.say(self.display.title)
        with self.interruption, self.interruption.deferred():
            self._need_memory()
            self.interruption.poll()
            self._updates()
        params = self._best_params()
        results = {
            name: evaluate(self.predict, params, self.data, batches())
            for name, batches in self.data.eval_sets.items()
        }
        # A step at which a run was stopped and resumed is there twice.
        logged = {r["step"]: r for r in self.folder.logged() if r.get("set") == self.selection}
        evaluations = list(logged.values())
        best_step = int(self.progress.best_step)
        return {
            "metrics": results,
            "floors": {
                name: dict(values) if isinstance(values, Mapping) else {self.metric: values}
                for name, values in self.data.baselines().items()
            },
            "best_step": best_step,
            "seconds_to_best": next(
                (r["seconds"] for r in evaluations if r["step"] == best_step), None
            ),
            "steps": int(self.state.step),
            "skipped": int(self.progress.health.skipped),
            "seconds": float(self.progress.seconds),
            "tokens_per_second": median(self.speeds) if self.speeds else None,
            "curve": [[r["step"], round(r["seconds"], 2), r.get(self.metric)] for r in evaluations],
        }

    def _need_memory(self) -> None:
        """Refuses an update that the memory cannot hold, by what its compiled program says."""
        count = self.settings.accumulation

        def stacked(x: np.ndarray) -> jax.ShapeDtypeStruct:
            return jax.ShapeDtypeStruct((count, *x.shape), jax.dtypes.canonicalize_dtype(x.dtype))

        # Compiled once: the updates find it.
        lowered = self.train_step.lower(self.state, jax.tree.map(stacked, self.first))
        sizes = lowered.compile().memory_analysis()
        if sizes is None:  # not every platform tells
            return
        needed = sizes.temp_size_in_bytes + sizes.argument_size_in_bytes
        rows, steps = self.first.inputs.shape[:2]
        what = f"an update over {count * rows:,} rows of {steps:,} steps"
        need_memory(needed, what, "data.batch_size, data.length or model.width")

    def _updates(self) -> None:
        settings = self.settings
        start = int(self.state.step)
        # Before the first update; and where a signal came between an update and its evaluation.
        due = start == 0 or start % settings.evaluate_every == 0 or start == settings.steps
        if due and int(self.progress.evaluated) != start:
            self._evaluate()
        # The first update is compiled, so that speed is measured from the second on.
        since, counted = None, 0
        for batches in feed(self.data, settings.accumulation, start, settings.steps, self._obey):
            if self._stopped_early():
                break
            self.state, metrics = self.train_step(self.state, batches)
            step = start = start + 1
            # One update is in flight while the next batch is made; no more, or memory would grow.
            loss = self._guard(step, metrics)
            mask = batches.mask
            counted += int(np.prod(batches.inputs.shape[:3]) if mask is None else np.sum(mask))
            self.display.advance(step, {"loss": loss, "tokens_per_second": self._speed()})
            if step % settings.log_every == 0 or step == settings.steps:
                now = time.perf_counter()
                if since is not None:
                    self.speeds.append(counted / (now - since))
                self._log(step, metrics)
                since, counted = time.perf_counter(), 0
            if step % settings.evaluate_every == 0 or step == settings.steps:
                self._evaluate()
                since, counted = time.perf_counter(), 0
            self._obey()

    def _obey(self) -> None:
        """Ends where a signal has come, with the state on the disk."""
        if self.interruption.number is not None:
            step = int(self.state.step)
            if step:
                self._save(best=False)
                self.display.say(f"committed {step}")
            self.interruption.poll()

    def _guard(self, step: int, metrics: dict[str, Array]) -> float:
        """The loss of an update; a warning where it was skipped, an end where training fails."""
        names = "loss", "gradient_norm", "taken"
        loss, norm, taken = (x.item() for x in jax.device_get([metrics.pop(n) for n in names]))
        metrics |= {"loss": loss, "gradient_norm": norm}
        limit, before = self.settings.skip_limit, self.progress.health
        try:
            health = watched(before, step, loss, norm, taken, limit)
        except TrainingDivergedError as error:
            taken_before = step - 1 - int(before.skipped)
            rate = float(schedule(self.settings)(taken_before) * self.state.plateau.scale)
            # A loss that has grown may have done so before the newest was saved.
            newest, best = self.checkpoints.steps()[-1], int(self.progress.best_step)
            raise TrainingDivergedError(
                f"{error}, the learning rate {rate:.3g}; the last good checkpoint is step "
                f"{best if taken else newest} of {self.folder.path}; lower train.learning_rate or "
                "train.clip_norm in a new run"
            ) from None
        skipped = int(health.skipped)
        if skipped > int(before.skipped) and (skipped <= 10 or skipped % 100 == 0):
            self.display.say(
                f"rnnlab: warning: step {step} is skipped: loss {loss:.4g}, gradient norm "
                f"{norm:.4g}; skipped so far: {skipped}"
            )
        self.progress = self.progress._replace(health=health)
        return loss

    def _stopped_early(self) -> bool:
        patience = self.settings.patience
        return patience is not None and int(self.progress.stale) >= patience

    def _speed(self) -> float | None:
        return self.speeds[-1] if self.speeds else None

    def _log(self, step: int, metrics: dict[str, Array]) -> None:
        values = {name: float(x) for name, x in jax.device_get(metrics).items()}
        for line in self.watch(step, values):
            self.display.say(f"rnnlab: warning: {line}")
        more = {"skipped": int(self.progress.health.skipped), "tokens_per_second": self._speed()}
        self._keep({"step": step, "seconds": self._seconds(), **values, **more})

    def _keep(self, row: Record) -> None:
        self.folder.log(row)
        self.events.log(row)

    def _evaluate(self) -> None:
        """Measures the selection set, notes whether it is the best yet, and saves."""
        step = int(self.state.step)
        params, batches = self.state.params, self.data.eval_sets[self.selection]()
        measured = evaluate(self.predict, params, self.data, batches, self._obey)
        saturation = jax.device_get(self.saturation(params, self.first))
        shares = {name: float(share) for name, share in saturation.items()}
        row = {"step": step, "set": self.selection, "seconds": self._seconds()}
        self._keep({**row, **measured, **shares})
        self._remember(step, measured[self.metric])
        best = " (best)" if int(self.progress.best_step) == step else ""
        text = ", ".join(f"{name} {value:.4f}" for name, value in measured.items())
        self.display.say(f"step {step}: {self.selection} {text}{best}; committed {step}")

    def _remember(self, step: int, value: float) -> None:
        sign = -1.0 if METRICS[self.metric].higher_is_better else 1.0
        before = float(self.progress.best)
        # Of equal steps the last is the best: on a small set accuracies tie long before training
        # is done. It does not count as progress.
        best = sign * value <= sign * before
        stale = 0 if best and value != before else int(self.progress.stale) + 1
        evaluated = np.array(int(self.state.step))
        self.progress = self.progress._replace(stale=np.array(stale), evaluated=evaluated)
        if best:
            best_value, best_step = np.array(value), np.array(step)
            self.progress = self.progress._replace(best=best_value, best_step=best_step)
        self.state = observe(self.settings, self.state, sign * value)
        self._save(best=best)

    def _save(self, *, best: bool) -> None:
        self.progress = self.progress._replace(seconds=np.array(self._seconds()))
        step = int(self.state.step)
        self.checkpoints.save(step, self._tree(), best=best)

    def _tree(self) -> dict[str, Any]:
        """All that a checkpoint holds."""
        return {"state": self.state, "progress": self.progress}

    def _best_params(self) -> Any:
        """The parameters of the best step, from disk."""
        if not np.isfinite(self.progress.best):
            raise TrainingDivergedError(
                f"{self.metric} was finite at no evaluation of {self.folder.path}; lower "
                "train.learning_rate or train.clip_norm in a new run"
            )
        best = int(self.progress.best_step)
        if best == int(self.state.step):
            return self.state.params
        return self.checkpoints.restore(best, self._tree()).tree["state"].params

    def _seconds(self) -> float:
        return time.perf_counter() - self.started
