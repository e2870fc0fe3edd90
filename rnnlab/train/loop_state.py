"""The state of the training loop between two updates, in addition to the training state."""

from typing import NamedTuple

import numpy as np

from rnnlab.train.divergence import LossHistory


class LoopState(NamedTuple):
    """The loop's own memory: arrays, so that a checkpoint stores them.

    Attributes:
      best_value: best value of the first metric so far; infinitely bad before the first evaluation.
      best_step: training step of `best_value`.
      evals_since_best: evaluations since `best_value` last improved.
      last_eval_step: training step of the last evaluation; -1 before the first.
      seconds: running time so far, summed over the processes that trained the run.
      loss_history: recent losses and skipped updates, from which divergence is detected.
    """

    best_value: np.ndarray
    best_step: np.ndarray
    evals_since_best: np.ndarray
    last_eval_step: np.ndarray
    seconds: np.ndarray
    loss_history: LossHistory

    @classmethod
    def initial(cls, worst_value: float) -> "LoopState":
        """Returns the state before the first evaluation."""
        return cls(*map(np.array, (worst_value, 0, 0, -1, 0.0)), LossHistory.empty())

    def after_evaluation(self, step: int, value: float, sign: float) -> tuple["LoopState", bool]:
        """Returns the state after an evaluation, and whether the step is the best so far.

        Args:
          step: the step that was evaluated.
          value: its value of the first metric.
          sign: -1 where higher values are better, else 1.
        """
        previous = float(self.best_value)
        # Of equal steps the last is the best: on a small set accuracies tie long before training
        # is done. It does not count as an improvement.
        is_best = sign * value <= sign * previous
        improved = is_best and value != previous
        since_best = 0 if improved else int(self.evals_since_best) + 1
        after = self._replace(evals_since_best=np.array(since_best), last_eval_step=np.array(step))
        if is_best:
            after = after._replace(best_value=np.array(value), best_step=np.array(step))
        return after, is_best
