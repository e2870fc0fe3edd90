"""The loop: updates, evaluations, what is shown, what is kept."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jax import Array

from rnnlab.models import SequenceModel
from rnnlab.rows import Row
from rnnlab.tasks.data import Data
from rnnlab.train.checkpoints import Checkpoints
from rnnlab.train.evaluate import evaluate, make_predict
from rnnlab.train.events import Events
from rnnlab.train.feed import check, feed
from rnnlab.train.folder import RunFolder
from rnnlab.train.interrupt import Interrupted, Interruption
from rnnlab.train.metrics import METRICS
from rnnlab.train.monitor import GradientWatch, make_saturation
from rnnlab.train.settings import Training
from rnnlab.train.step import TrainState, initial_state, make_train_step, observe


class Progress(NamedTuple):
    """What the loop itself remembers between two steps: arrays, so that a checkpoint holds them.

    Attributes:
      best: the best value of the first metric so far; infinitely bad before the first evaluation.
      best_step: the step that it belongs to.
      stale: evaluations since the value was last improved on.
      evaluated: the step that was evaluated last, -1 before.
      seconds: running time so far, over all sittings.
    """

    best: np.ndarray
    best_step: np.ndarray
    stale: np.ndarray
    evaluated: np.ndarray
    seconds: np.ndarray


@dataclass(frozen=True)
class Display:
    """Where the loop reports to. By default nothing is shown.

    Attributes:
      advance: called after each update with its number and the latest metrics.
      say: called with a line for the reader.
    """

    advance: Callable[[int, Row], None] = lambda step, metrics: None
    say: Callable[[str], None] = lambda line: None


def train(
    folder: RunFolder,
    model: SequenceModel,
    data: Data,
    settings: Training,
    display: Display | None = None,
) -> Row:
    """Trains from the folder's newest checkpoint, or from the start, to the last step.

    Returns the outcome: the metrics at the best step on every held-out set, when it was reached,
    speed in real tokens, not padding, and the curve of the first metric.

    Raises:
      Interrupted: a signal came; the state is on disk.
      ValueError: the data does not fit the model, or a checkpoint does not fit either.
    """
    checkpoints, events = Checkpoints(folder.path), Events(folder.events)
    try:
        run = _Run(folder, checkpoints, events, model, data, settings, display or Display())
        return run.finish()
    finally:
        checkpoints.close()
        events.close()


class _Run:
    """One sitting of a run: the compiled programs and the state that they move."""

    def __init__(self, folder, checkpoints, events, model, data, settings, display):
        self.folder, self.checkpoints, self.events = folder, checkpoints, events
        self.data, self.settings, self.display = data, settings, display
        self.metric = data.metrics[0]
        self.selection = next(iter(data.heldout))
        graphdef = nnx.graphdef(model)
        self.predict = make_predict(graphdef)
        self.saturation = make_saturation(graphdef)
        self.train_step = make_train_step(graphdef, data.loss, settings)
        self.first = data.train(0)
        check(data, self.first)
        carry = model.initial_carry(self.first.inputs.shape[:1]) if data.stateful else ()
        self.state = initial_state(model, settings, carry)
        worst = -np.inf if METRICS[self.metric].higher_is_better else np.inf
        self.progress = Progress(*map(np.array, (worst, 0, 0, -1, 0.0)))
        latest = checkpoints.latest_step
        if latest is not None:
            self.state, self.progress = checkpoints.restore(latest, (self.state, self.progress))
            if np.isfinite(self.progress.best):
                checkpoints.mark_best(int(self.progress.best_step))
        self.watch = GradientWatch()
        self.speeds: list[float] = []
        self.started = time.perf_counter() - float(self.progress.seconds)

    def finish(self) -> Row:
        """Runs to the last step and measures the best one on all held-out sets."""
        with Interruption() as interruption:
            self._updates(interruption)
        params = self._best_params()
        results = {
            name: evaluate(self.predict, params, self.data, batches())
            for name, batches in self.data.heldout.items()
        }
        # A run that was killed between two checkpoints has logged some steps twice.
        logged = {r["step"]: r for r in self.folder.logged() if r.get("set") == self.selection}
        evaluations = list(logged.values())
        best_step = int(self.progress.best_step)
        return {
            "metrics": results,
            "floors": {
                name: dict(values) if isinstance(values, Mapping) else {self.metric: values}
                for name, values in self.data.floors().items()
            },
            "best_step": best_step,
            "seconds_to_best": next(r["seconds"] for r in evaluations if r["step"] == best_step),
            "steps": int(self.state.step),
            "seconds": float(self.progress.seconds),
            "tokens_per_second": median(self.speeds) if self.speeds else None,
            "curve": [[r["step"], round(r["seconds"], 2), r[self.metric]] for r in evaluations],
        }

    def _updates(self, interruption: Interruption) -> None:
        settings = self.settings
        start = int(self.state.step)
        # Before the first update; and where a signal came between an update and its evaluation.
        due = start == 0 or start % settings.evaluate_every == 0 or start == settings.steps
        if due and int(self.progress.evaluated) != start:
            self._evaluate(interruption)
        # The first update is compiled, so that speed is measured from the second on.
        since, counted = None, 0
        for batches in feed(self.data, settings.accumulation, start, settings.steps):
            if self._stopped_early():
                break
            self.state, metrics = self.train_step(self.state, batches)
            step = start = start + 1
            # One update is in flight while the next batch is made; no more, or memory would grow.
            loss = float(metrics["loss"])
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
                self._evaluate(interruption)
                since, counted = time.perf_counter(), 0
            if interruption.number is not None:
                self._save(best=False)
                raise Interrupted(interruption.number)

    def _stopped_early(self) -> bool:
        patience = self.settings.patience
        return patience is not None and int(self.progress.stale) >= patience

    def _speed(self) -> float | None:
        return self.speeds[-1] if self.speeds else None

    def _log(self, step: int, metrics: dict[str, Array]) -> None:
        values = {name: float(x) for name, x in jax.device_get(metrics).items()}
        for line in self.watch(step, values):
            self.display.say(f"warning: {line}")
        speed = {"tokens_per_second": self._speed()}
        self._keep({"step": step, "seconds": self._seconds(), **values, **speed})

    def _keep(self, row: Row) -> None:
        self.folder.log(row)
        self.events.log(row)

    def _evaluate(self, interruption: Interruption) -> None:
        """Measures the selection set, notes whether it is the best yet, and saves."""

        def between() -> None:
            if interruption.number is not None:
                raise Interrupted(interruption.number)

        step = int(self.state.step)
        params, batches = self.state.params, self.data.heldout[self.selection]()
        try:
            measured = evaluate(self.predict, params, self.data, batches, between)
        except Interrupted:
            if step:
                self._save(best=False)
            raise
        saturation = jax.device_get(self.saturation(params, self.first))
        shares = {name: float(share) for name, share in saturation.items()}
        self._remember(step, measured[self.metric])
        row = {"step": step, "set": self.selection, "seconds": self._seconds()}
        self._keep({**row, **measured, **shares})
        best = " (best)" if int(self.progress.best_step) == step else ""
        text = ", ".join(f"{name} {value:.4f}" for name, value in measured.items())
        self.display.say(f"step {step}: {self.selection} {text}{best}")

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
        self.checkpoints.save(step, (self.state, self.progress), best=best)

    def _best_params(self) -> Any:
        """The parameters of the best step, from disk."""
        if not np.isfinite(self.progress.best):
            raise ValueError(
                f"{self.metric} was finite at no evaluation of {self.folder.path}; lower the "
                "learning rate or clip_norm"
            )
        best = int(self.progress.best_step)
        if best == int(self.state.step):
            return self.state.params
        state, _ = self.checkpoints.restore(best, (self.state, self.progress))
        return state.params

    def _seconds(self) -> float:
        return time.perf_counter() - self.started


def load_best(folder: RunFolder, model: SequenceModel, settings: Training, carry: Any) -> Any:
    """The parameters of a run's best step. `carry` is () unless its data is stateful.

    Raises:
      ValueError: no checkpoint has been written, or it does not fit the model.
    """
    checkpoints = Checkpoints(folder.path)
    try:
        step = checkpoints.best_step()
        if step is None:
            raise ValueError(f"{folder.path} holds no checkpoint yet; train it first")
        progress = Progress(*map(np.array, (0.0, 0, 0, 0, 0.0)))
        state: TrainState = initial_state(model, settings, carry)
        return checkpoints.restore(step, (state, progress))[0].params
    finally:
        checkpoints.close()
