"""A language model's training step: rnnlab's minGRU, and the published one in PyTorch."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from rnnlab import records
from rnnlab.bench.timing import Prepared, compare_to_bound, time_interleaved
from rnnlab.bench.torch_programs import available
from rnnlab.models.config import ModelConfig
from rnnlab.tables import Table, machine
from rnnlab.tasks.batch import Batch
from rnnlab.train.config import TrainConfig
from rnnlab.train.step import initial_state, make_train_step

SETTINGS = TrainConfig(learning_rate=2e-3, weight_decay=0.01, optimizer="adamw")


@dataclass(frozen=True)
class LanguageModel:
    """Times whole updates of a minGRU language model: rnnlab's, and where torch is installed the
    paper's log-space model of the same sizes, in turns. Writes OUT/lm.jsonl.

    Attributes:
      batch_size: rows a batch.
      length: characters a row.
      width: width of the residual stream.
      depth: blocks.
      expansion: width of the cell over that of the stream.
      vocab_size: symbols.
      repeats: timed rounds.
      out: folder for the results. Rows are added to those that are there.
    """

    batch_size: int = 32
    length: int = 128
    width: int = 128
    depth: int = 2
    expansion: int = 2
    vocab_size: int = 103
    repeats: int = 15
    out: Path = Path("runs/lm")

    def validate(self) -> None:
        """Raises ValueError at the first option that is out of range."""
        for name in ("batch_size", "length", "width", "depth", "expansion", "repeats"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; at least 1 is needed")
        if self.vocab_size < 2:
            raise ValueError(f"vocab_size is {self.vocab_size}; at least 2 is needed")


def run(
    config: LanguageModel, advance: Callable[[str], None] = lambda text: None
) -> Iterator[records.Record]:
    """Measures and yields rows, each written to OUT/lm.jsonl before it is yielded."""
    config.validate()
    device = jax.devices("cpu")[0]
    architecture = ModelConfig(
        width=config.width, depth=config.depth, expansion=config.expansion, dropout=0.1
    )
    advance("rnnlab")
    with jax.default_device(device):
        programs = {"rnnlab": update_program(config, architecture)}
    advance("torch, log space")
    if available("cpu"):
        from rnnlab.bench.torch_language_model import torch_train_step

        peer = torch_train_step(architecture, SETTINGS, config.vocab_size, _batch(config))
        programs["torch, log space"] = peer
    seconds = time_interleaved([program.call for program in programs.values()], config.repeats)
    for (name, program), taken in zip(programs.items(), seconds, strict=True):
        measured = compare_to_bound(program, taken, seconds[0])
        row = {
            "benchmark": "lm",
            **records.environment(device),
            "implementation": name,
            "batch_size": config.batch_size,
            "length": config.length,
            "width": config.width,
            "depth": config.depth,
            "expansion": config.expansion,
            "dtype": "float32",
            "seed": 0,
            "repeats": config.repeats,
            **measured,
            "tokens_per_second": config.batch_size * config.length / measured["seconds"],
        }
        records.append(config.out / "lm.jsonl", row)
        yield row


def steps(config: LanguageModel) -> int:
    """How often `run` calls `advance`."""
    return 2


def table(measured: list[records.Record]) -> Table:
    headings = ("implementation", "update, ms", "tokens/s", "× rnnlab", "quartiles")
    lines = [
        (
            r["implementation"],
            f"{1e3 * r['seconds']:.1f}",
            f"{r['tokens_per_second']:,.0f}",
            f"{r['ratio']:.2f}",
            f"{r['ratio_q1']:.2f} to {r['ratio_q3']:.2f}",
        )
        for r in measured
    ]
    r = measured[0]
    title = (
        f"minGRU language model on {machine(r)}; batch {r['batch_size']}, length {r['length']}, "
        f"{r['depth']} blocks of width {r['width']}, expansion {r['expansion']}, {r['dtype']}"
    )
    return Table(title, headings, lines, frozenset())


def update_program(config: LanguageModel, architecture: ModelConfig) -> Prepared:
    """The update that `rnnlab run` makes."""
    vocab_size = config.vocab_size
    model = architecture.build(vocab_size, vocab_size=vocab_size, rngs=nnx.Rngs(0))
    step = make_train_step(nnx.graphdef(model), "categorical", SETTINGS)
    state = initial_state(model, SETTINGS)
    batches = jax.device_put(jax.tree.map(lambda x: x[None], _batch(config)))

    def call() -> None:
        nonlocal state
        state, metrics = step(state, batches)
        jax.block_until_ready((state.params, metrics))

    return Prepared(call)


def _batch(config: LanguageModel) -> Batch:
    shape = (config.batch_size, config.length + 1)
    ids = np.random.default_rng(0).integers(config.vocab_size, size=shape, dtype=np.int32)
    return Batch(ids[:, :-1], np.ascontiguousarray(ids[:, 1:]))
