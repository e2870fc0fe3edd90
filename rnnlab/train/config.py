"""The settings of a training run."""

import math
from dataclasses import dataclass
from typing import Literal

INT32_MAX, MAX_FLOAT32 = 2**31 - 1, 3e38
"""Larger integers overflow int32; larger numbers are infinite in float32."""


@dataclass(frozen=True)
class TrainConfig:
    """The settings of a training run.

    Attributes:
      steps: number of updates.
      seed: seed of the parameters, of the order of the data and of dropout.
      optimizer: adamw, adam or rmsprop.
      learning_rate: highest learning rate.
      schedule: constant; cosine, down to end_lr_fraction of the highest rate; or plateau, which
        halves the rate after plateau_patience evaluations without a better value.
      warmup_steps: updates over which the learning rate grows from 0.
      end_lr_fraction: learning rate at the end of the cosine, as a fraction of the highest.
      plateau_patience: evaluations that schedule plateau waits.
      weight_decay: decoupled weight decay (adamw), on matrices only.
      weight_decay_gates: whether weight decay applies to the gates and candidates of minimal cells.
      beta1: decay rate of the mean of gradients.
      beta2: decay rate of the mean of squared gradients.
      grad_clip_norm: largest global norm of a gradient; None does not clip.
      recurrent_l1: weight of the sum of the recurrent kernels' absolute values in the loss.
      recurrent_l2: weight of the sum of the recurrent kernels' squares in the loss.
      grad_accum_steps: batches per update, over which gradients are averaged.
      eval_every: updates between two evaluations, each of which saves a checkpoint.
      patience: evaluations without a better value after which training stops; None never stops.
      log_every: updates between two records of metrics.
      spike_factor: skip an update whose loss or gradient norm exceeds this multiple of the median
        of the last 128; None skips only updates that are NaN or Inf.
      max_consecutive_skips: consecutive updates that may be skipped; one more stops the run.

    Raises:
      ValueError: a setting is out of range.
    """

    steps: int = 1000
    seed: int = 0
    optimizer: Literal["adamw", "adam", "rmsprop"] = "adamw"
    learning_rate: float = 1e-3
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    warmup_steps: int = 0
    end_lr_fraction: float = 0.0
    plateau_patience: int = 5
    weight_decay: float = 0.0
    weight_decay_gates: bool = True
    beta1: float = 0.9
    beta2: float = 0.999
    grad_clip_norm: float | None = 1.0
    recurrent_l1: float = 0.0
    recurrent_l2: float = 0.0
    grad_accum_steps: int = 1
    eval_every: int = 100
    patience: int | None = None
    log_every: int = 10
    spike_factor: float | None = None
    max_consecutive_skips: int = 10

    def __post_init__(self) -> None:
        for name in ("steps", "grad_accum_steps", "eval_every", "log_every", "plateau_patience"):
            self._require(name, getattr(self, name) >= 1, "must be >= 1")
        counts = ("warmup_steps", "seed", "max_consecutive_skips")
        weights = ("weight_decay", "recurrent_l1", "recurrent_l2", "end_lr_fraction")
        for name in (*counts, *weights):
            self._require(name, getattr(self, name) >= 0, "must be >= 0")
        self._require("seed", self.seed < 2**32, "must be < 2**32")
        for name in ("learning_rate", "grad_clip_norm", "patience", "spike_factor"):
            value = getattr(self, name)
            valid = value is None or 0 < value < math.inf
            self._require(name, valid, "must be a finite number > 0")
        for name, value in vars(self).items():
            largest = INT32_MAX if isinstance(value, int) else MAX_FLOAT32
            if name != "seed" and isinstance(value, int | float):
                self._require(name, value <= largest, f"must be <= {largest}")
        for name in ("beta1", "beta2"):
            self._require(name, 0 <= getattr(self, name) < 1, "must be in [0, 1)")
        if self.weight_decay and self.optimizer != "adamw":
            raise ValueError(
                f"weight_decay must be 0 with optimizer {self.optimizer!r}, got "
                f"{self.weight_decay}; choose optimizer 'adamw', or set weight_decay to 0"
            )

    def _require(self, name: str, valid: bool, what: str) -> None:
        if not valid:
            flag = f"--train.{name.replace('_', '-')}"
            raise ValueError(f"{name} {what}, got {getattr(self, name)}; change {flag}")
