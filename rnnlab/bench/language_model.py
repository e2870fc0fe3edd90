"""A language model's training update: rnnlab's minGRU, and the published one in PyTorch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx

from rnnlab.bench.base import (
    RATIO_QUARTILES,
    Benchmark,
    Column,
    OnProgress,
    key_column,
    ratio_column,
)
from rnnlab.bench.timing import TimedProgram, compare_to_reference, time_interleaved
from rnnlab.bench.torch_programs import available
from rnnlab.models.config import ModelConfig
from rnnlab.records import Record
from rnnlab.tables import device_label
from rnnlab.tasks.batch import Batch
from rnnlab.train.config import TrainConfig
from rnnlab.train.step import initial_state, make_train_step

TRAIN_CONFIG = TrainConfig(learning_rate=2e-3, weight_decay=0.01, optimizer="adamw")


@dataclass(frozen=True)
class LanguageModelBenchmark(Benchmark):
    """Times whole updates of a minGRU language model: rnnlab's and, if torch is installed, the
    paper's log-space model of the same sizes, in interleaved rounds on the CPU.

    Writes OUT/rows.jsonl and prints the table.

    Attributes:
      batch_size: examples in a batch.
      length: characters in an example.
      width: width of the residual stream.
      depth: number of blocks.
      expansion: width of the cell relative to that of the residual stream.
      vocab_size: number of symbols, at least 2.
      repeats: timed rounds.
      out: output directory. Records are appended to those that are there.
    """

    batch_size: int = 32
    length: int = 128
    width: int = 128
    depth: int = 2
    expansion: int = 2
    vocab_size: int = 103
    repeats: int = 15
    out: Path = Path("runs/language-model")

    name = "language-model"
    device = "cpu"
    columns = (
        key_column("implementation"),
        Column("update, ms", lambda r: f"{1e3 * r['seconds']:.1f}"),
        Column("tokens/s", lambda r: f"{r['tokens_per_second']:,.0f}"),
        ratio_column("relative to rnnlab"),
        RATIO_QUARTILES,
    )

    def validate(self) -> None:
        super().validate()
        if self.vocab_size < 2:
            raise ValueError(f"vocab_size must be >= 2, got {self.vocab_size}")

    def cases(self) -> Sequence[ModelConfig]:
        return [
            ModelConfig(width=self.width, depth=self.depth, expansion=self.expansion, dropout=0.1)
        ]

    def steps_of(self, case: ModelConfig) -> int:
        return 2

    def measure(
        self, case: ModelConfig, device: jax.Device, on_progress: OnProgress
    ) -> Iterator[Record]:
        on_progress("rnnlab")
        with jax.default_device(device):
            programs = {"rnnlab": update_program(self, case)}
        on_progress("torch, log space")
        if available("mingru", "cpu"):
            from rnnlab.bench.torch_language_model import torch_train_step

            peer = torch_train_step(case, TRAIN_CONFIG, self.vocab_size, _batch(self))
            programs["torch, log space"] = peer
        seconds = time_interleaved(list(programs.values()), self.repeats)
        for (name, program), times in zip(programs.items(), seconds, strict=True):
            measured = compare_to_reference(program, times, seconds[0])
            yield {
                "implementation": name,
                "batch_size": self.batch_size,
                "length": self.length,
                "width": self.width,
                "depth": self.depth,
                "expansion": self.expansion,
                "dtype": "float32",
                "repeats": self.repeats,
                **measured,
                "tokens_per_second": self.batch_size * self.length / measured["seconds"],
            }

    @classmethod
    def conclusion(cls, measured: Sequence[Record]) -> str:
        own, *peers = measured
        speed = f"rnnlab trains on {own['tokens_per_second']:,.0f} tokens per second."
        times = (
            f"The model in {peer['implementation']}, takes {peer['ratio']:.2f} times as long."
            for peer in peers
        )
        return " ".join([speed, *times])

    @classmethod
    def title(cls, measured: Sequence[Record]) -> str:
        r = measured[0]
        return (
            f"minGRU language model on {device_label(r)}; batch {r['batch_size']}, length "
            f"{r['length']}, {r['depth']} blocks of width {r['width']}, expansion "
            f"{r['expansion']}, {r['dtype']}"
        )


def update_program(config: LanguageModelBenchmark, model_config: ModelConfig) -> TimedProgram:
    """The update that `rnnlab run` makes."""
    vocab_size = config.vocab_size
    model = model_config.build(vocab_size, vocab_size=vocab_size, rngs=nnx.Rngs(0))
    step = make_train_step(nnx.graphdef(model), "categorical", TRAIN_CONFIG)
    state = initial_state(model, TRAIN_CONFIG)
    batches = jax.device_put(jax.tree.map(lambda x: x[None], _batch(config)))

    def launch() -> tuple[Any, Any]:
        nonlocal state
        state, metrics = step(state, batches)
        return state.params, metrics

    return TimedProgram(launch)


def _batch(config: LanguageModelBenchmark) -> Batch:
    shape = (config.batch_size, config.length + 1)
    ids = np.random.default_rng(0).integers(config.vocab_size, size=shape, dtype=np.int32)
    return Batch(ids[:, :-1], np.ascontiguousarray(ids[:, 1:]))
