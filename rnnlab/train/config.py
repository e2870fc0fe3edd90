"""The settings of a training run."""

import math
from dataclasses import dataclass
from typing import Literal

LARGEST, MOST = 3e38, 2**31 - 1
"""Numbers beyond the first are infinite in float32; whole ones beyond the second are no int32."""


@dataclass(frozen=True)
class TrainConfig:
    """How a model is trained.

    Attributes:
      steps: number of updates.
      seed: of the parameters, the order of the data and dropout.
      optimizer: adamw, adam or rmsprop.
      learning_rate: its highest value.
      schedule: constant, cosine to final_rate of the highest value, or plateau: times 0.5
        after plateau_patience evaluations without a better value.
      warmup_steps: updates over which the rate grows from 0.
      final_rate: share of the rate at the end of the cosine.
      plateau_patience: evaluations that schedule plateau waits.
      weight_decay: decoupled (adamw), on matrices alone.
      decay_gates: whether it reaches the gates and candidates of minimal cells.
      beta1: decay of the gradient's mean.
      beta2: decay of its square's.
      clip_norm: largest global norm of a gradient; None leaves it as it is.
      l1: weight of the sum of the recurrent kernels' absolute values in the loss.
      l2: weight of the sum of their squares.
      accumulation: batches whose gradients' mean makes one update.
      evaluate_every: updates between two evaluations.
      patience: evaluations without a better value after which training stops; None never.
      log_every: updates between two lines of metrics.
      skip_spikes: skips an update whose loss or gradient norm is more than this many times the
        median of the last 128; None skips those alone that are not finite.
      skip_limit: updates in a row that may be skipped; one more ends the run.
    """

    steps: int = 1000
    seed: int = 0
    optimizer: Literal["adamw", "adam", "rmsprop"] = "adamw"
    learning_rate: float = 1e-3
    schedule: Literal["constant", "cosine", "plateau"] = "constant"
    warmup_steps: int = 0
    final_rate: float = 0.0
    plateau_patience: int = 5
    weight_decay: float = 0.0
    decay_gates: bool = True
    beta1: float = 0.9
    beta2: float = 0.999
    clip_norm: float | None = 1.0
    l1: float = 0.0
    l2: float = 0.0
    accumulation: int = 1
    evaluate_every: int = 100
    patience: int | None = None
    log_every: int = 10
    skip_spikes: float | None = None
    skip_limit: int = 10

    def __post_init__(self) -> None:
        for name in ("steps", "accumulation", "evaluate_every", "log_every", "plateau_patience"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; at least 1 is needed")
        counts = ("warmup_steps", "seed", "skip_limit")
        for name in (*counts, "weight_decay", "l1", "l2", "final_rate"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; at least 0 is needed")
        if self.seed >= 2**32:
            raise ValueError(f"seed is {self.seed}; a number below 2**32 is needed")
        for name in ("learning_rate", "clip_norm", "patience", "skip_spikes"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} is {value}; a finite number above 0 is needed")
        for name, value in vars(self).items():
            most = MOST if isinstance(value, int) else LARGEST
            if name != "seed" and isinstance(value, int | float) and value > most:
                raise ValueError(f"{name} is {value}; at most {most} is needed")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; a number in [0, 1) is needed")
        if self.weight_decay and self.optimizer != "adamw":
            raise ValueError(
                f"weight_decay is {self.weight_decay} with optimizer {self.optimizer!r}; only "
                "'adamw' decays: choose it, or set weight_decay to 0"
            )
