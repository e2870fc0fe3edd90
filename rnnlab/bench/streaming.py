"""Streaming: tokens per second of `step` in one compiled loop, and the size of the state."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from rnnlab.bench.base import Benchmark, Column, OnProgress, key_column
from rnnlab.bench.timing import (
    TimedProgram,
    compare_to_reference,
    compile_keys,
    compile_program,
    time_interleaved,
)
from rnnlab.models.config import ModelConfig, count_parameters
from rnnlab.records import Record
from rnnlab.registry import cell_entries, find_cell
from rnnlab.tables import device_label, format_range, format_ratio

VOCAB_SIZE = 256
MAX_REPEATED_TOKENS = 1_000
"""Tokens up to which a run is repeated, in the same rounds as its lower bound."""


@dataclass(frozen=True)
class StreamingBenchmark(Benchmark):
    """Times a language model that reads its own most likely token, one `step` after another.

    All time steps are one compiled loop, whose length is part of the program. The lower bound is a
    loop that reads all weights once per time step. Runs of more than a thousand tokens are timed
    once, without the lower bound. Writes OUT/rows.jsonl and prints the table.

    Attributes:
      cells: names of cells or layers, or FILE.py:CLASS; "+" joins those of one model.
      batches: parallel streams.
      lengths: tokens per stream.
      max_tokens: streams times tokens beyond which a combination is skipped.
      width, depth: of the model; its cells have twice that width.
      repeats: timed rounds.
      device: cpu, gpu, tpu, or auto for the one that JAX prefers.
      out: output directory. Records are appended to those that are there.
    """

    cells: tuple[str, ...] = tuple(cell_entries())
    batches: tuple[int, ...] = (1, 64)
    lengths: tuple[int, ...] = (1_000, 32_000, 1_000_000)
    max_tokens: int = 2_100_000
    width: int = 128
    depth: int = 2
    repeats: int = 7
    device: str = "auto"
    out: Path = Path("runs/streaming")

    name = "streaming"
    section_keys = ("cell",)
    columns = (
        key_column("cell", "model"),
        key_column("batch_size", "streams"),
        Column("tokens per stream", lambda r: f"{r['length']:,}"),
        Column("tokens/s", lambda r: f"{r['tokens_per_second']:,.0f}"),
        Column("µs per step", lambda r: f"{1e6 * r['seconds'] / r['length']:,.1f}"),
        Column(
            "relative to reading the weights",
            lambda r: "" if r["ratio"] is None else format_ratio(r["ratio"]),
        ),
        Column("state per stream, bytes", lambda r: f"{r['state_bytes']:,}"),
        Column("XLA temp memory, kB", lambda r: f"{r['temp_bytes'] / 1e3:,.1f}"),
        Column("compile, s", lambda r: f"{r['compile_seconds']:.1f}"),
    )

    def validate(self) -> None:
        super().validate()
        for cell in self.cells:
            for name in cell.split("+"):
                find_cell(name)

    def cases(self) -> Sequence[tuple[str, int, int]]:
        """Cell, streams and tokens per stream."""
        return [
            (cell, batch_size, length)
            for cell in self.cells
            for batch_size in self.batches
            for length in self.lengths
            if batch_size * length <= self.max_tokens
        ]

    def measure(
        self, case: tuple[str, int, int], device: jax.Device, on_progress: OnProgress
    ) -> Iterator[Record]:
        cell, batch_size, length = case
        on_progress(f"{cell}, {batch_size} × {length:,} tokens")
        config = ModelConfig(cell=cell, width=self.width, depth=self.depth)
        model = config.build(VOCAB_SIZE, vocab_size=VOCAB_SIZE, rngs=nnx.Rngs(0))
        graphdef, params = nnx.split(model)
        params, carry, tokens = jax.device_put(
            (params, model.initial_carry((batch_size,)), jnp.zeros(batch_size, jnp.int32)), device
        )
        loop = compile_program(_loop(graphdef, length), params, carry, tokens)
        if length <= MAX_REPEATED_TOKENS:
            bound = compile_program(_weight_read_loop(length), params)
            times = time_interleaved([loop, bound], self.repeats)
            measured = compare_to_reference(loop, *times)
        else:
            measured = _time_once(loop)
        end, _ = jax.eval_shape(_loop(graphdef, length), params, carry, tokens)
        yield {
            "cell": "+".join(_name(part) for part in cell.split("+")),
            "batch_size": batch_size,
            "length": length,
            "width": self.width,
            "depth": self.depth,
            "parameters": count_parameters(model),
            "weight_bytes": _bytes(params),
            "state_bytes": _bytes(end) // batch_size,
            "dtype": "float32",
            "repeats": self.repeats if length <= MAX_REPEATED_TOKENS else 1,
            **measured,
            "tokens_per_second": batch_size * length / measured["seconds"],
        }

    @classmethod
    def conclusion(cls, measured: Sequence[Record]) -> str:
        ratios, same_state = [], True
        for key in dict.fromkeys((r["cell"], r["batch_size"]) for r in measured):
            group = [r for r in measured if (r["cell"], r["batch_size"]) == key]
            times = [r["seconds"] / r["length"] for r in group]
            ratios.append(times[-1] / times[0])
            same_state &= len({r["state_bytes"] for r in group}) == 1
        state = "does not depend" if same_state else "depends"
        return (
            f"Per step, the longest streams take {format_range(ratios)} times as long as the "
            f"shortest. The size of the state {state} on the number of tokens."
        )

    @classmethod
    def title(cls, measured: Sequence[Record]) -> str:
        first = measured[0]
        return (
            f"width {first['width']}, depth {first['depth']}, vocabulary {VOCAB_SIZE}, on "
            f"{device_label(first)}; {first['dtype']}"
        )


def _name(cell: str) -> str:
    entry = find_cell(cell)
    return entry.label if entry.is_user_defined else cell


def _loop(graphdef: Any, length: int) -> Callable[..., tuple[Any, Array]]:
    """A program that reads `length` tokens, each the most likely after the one before.

    It returns the final state and the sum of the tokens: every token has an effect, and memory does
    not grow with their number.
    """

    def run(params, carry, tokens):
        model = nnx.merge(graphdef, params, copy=True)

        def body(_, at):
            carry, tokens, total = at
            carry, logits = model.step(carry, tokens)
            tokens = jnp.argmax(logits, -1).astype(jnp.int32)
            return carry, tokens, total + tokens

        carry, _, total = lax.fori_loop(0, length, body, (carry, tokens, tokens))
        return carry, total

    return run


def _weight_read_loop(length: int) -> Callable[[Any], Array]:
    """Reads every weight once per step, written so that XLA can neither skip nor hoist a read."""

    def run(params):
        def body(_, total):
            # The total is a factor of every product, so that no product is loop invariant. A
            # matrix-vector product reads a matrix fastest; a plain sum is much slower.
            kernels = [x.reshape(-1, x.shape[-1]) for x in jax.tree.leaves(params)]
            return 1e-9 * sum(jnp.max(jnp.full(len(x), total) @ x) for x in kernels)

        return lax.fori_loop(0, length, body, jnp.float32(1))

    return run


def _time_once(loop: TimedProgram) -> dict[str, Any]:
    """The keys of `compare_to_reference` from a single run, without a reference."""
    seconds = loop.run()
    unknown = ("reference_seconds", "ratio", "ratio_q1", "ratio_q3")
    times = dict.fromkeys(("seconds", "seconds_q1", "seconds_q3"), seconds)
    return {**compile_keys(loop), **times, **dict.fromkeys(unknown)}


def _bytes(tree: Any) -> int:
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
