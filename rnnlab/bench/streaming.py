"""Streaming: tokens a second through `step` in one compiled loop, and the state it carries."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax

from rnnlab import records
from rnnlab.bench.speedup import find_device
from rnnlab.bench.timing import Prepared, compare_to_bound, prepare, time_interleaved
from rnnlab.models.config import LAYERS, ModelConfig, count_parameters
from rnnlab.registry import cell_entries
from rnnlab.tables import Table, machine, times
from rnnlab.validation import require_one_of

VOCAB_SIZE = 256
SHORT = 1_000
"""Tokens up to which a run is repeated, in turns with its floor."""


@dataclass(frozen=True)
class Streaming:
    """Times a language model that reads its own most likely token, one `step` after another.

    All steps are one compiled loop, whose length is part of the program. The floor is a loop in
    which each step reads all the weights once and does nothing else with them. Runs of more than a
    thousand tokens are made once, and without the floor. Writes OUT/streaming.jsonl and prints the
    table.

    Attributes:
      cells: which models, by their architecture's cell.
      batches: streams at a time.
      lengths: tokens of each stream.
      most: streams times tokens at which a longer run is left out.
      width, depth: of the model; its cells have twice that width.
      repeats: timed rounds.
      device: cpu, gpu, tpu, or auto for the one that JAX prefers.
      out: folder for the results. Rows are added to those that are there.
    """

    cells: tuple[str, ...] = (*cell_entries(), "mamba")
    batches: tuple[int, ...] = (1, 64)
    lengths: tuple[int, ...] = (1_000, 32_000, 1_000_000)
    most: int = 2_100_000
    width: int = 128
    depth: int = 2
    repeats: int = 7
    device: str = "auto"
    out: Path = Path("runs/streaming")

    def validate(self) -> None:
        """Raises ValueError at the first option that is out of range."""
        for cell in self.cells:
            require_one_of("cells", cell, LAYERS)
        for name in ("batches", "lengths"):
            if not (values := getattr(self, name)) or min(values) < 1:
                raise ValueError(f"{name} is {values}; numbers of at least 1 are needed")
        for name in ("most", "width", "depth", "repeats"):
            if (value := getattr(self, name)) < 1:
                raise ValueError(f"{name} is {value}; at least 1 is needed")

    def runs(self) -> list[tuple[str, int, int]]:
        """Cell, streams and tokens of each run."""
        return [
            (cell, batch_size, length)
            for cell in self.cells
            for batch_size in self.batches
            for length in self.lengths
            if batch_size * length <= self.most
        ]


def run(
    config: Streaming, advance: Callable[[str], None] = lambda text: None
) -> Iterator[records.Record]:
    """Measures and yields rows, each written to OUT/streaming.jsonl before it is yielded."""
    config.validate()
    device = find_device(config.device)
    common = {"benchmark": "streaming", **records.environment(device)}
    for cell, batch_size, length in config.runs():
        advance(f"{cell}, {batch_size} × {length:,} tokens")
        architecture = ModelConfig(cell=cell, width=config.width, depth=config.depth)
        model = architecture.build(VOCAB_SIZE, vocab_size=VOCAB_SIZE, rngs=nnx.Rngs(0))
        graphdef, params = nnx.split(model)
        params, carry, tokens = jax.device_put(
            (params, model.initial_carry((batch_size,)), jnp.zeros(batch_size, jnp.int32)), device
        )
        loop = prepare(_loop(graphdef, length), params, carry, tokens)
        if length <= SHORT:
            floor = prepare(_reads(length), params)
            columns = compare_to_bound(
                loop, *time_interleaved([loop.call, floor.call], config.repeats)
            )
        else:
            columns = _once(loop)
        end, _ = jax.eval_shape(_loop(graphdef, length), params, carry, tokens)
        row = {
            **common,
            "cell": cell,
            "batch_size": batch_size,
            "length": length,
            "width": config.width,
            "depth": config.depth,
            "parameters": count_parameters(model),
            "weight_bytes": _bytes(params),
            "state_bytes": _bytes(end) // batch_size,
            "dtype": "float32",
            "seed": 0,
            "repeats": config.repeats if length <= SHORT else 1,
            **columns,
            "tokens_per_second": batch_size * length / columns["seconds"],
        }
        records.append(config.out / "streaming.jsonl", row)
        yield row


def steps(config: Streaming) -> int:
    """How often `run` calls `advance`."""
    return len(config.runs())


def table(measured: list[records.Record]) -> Table:
    headings = (
        "model",
        "streams",
        "tokens each",
        "tokens/s",
        "µs a step",
        "× reading the weights",
        "state of a stream, bytes",
        "temporaries, kB",
        "compile, s",
    )
    lines = [
        (
            r["cell"],
            str(r["batch_size"]),
            f"{r['length']:,}",
            f"{r['tokens_per_second']:,.0f}",
            f"{1e6 * r['seconds'] / r['length']:,.1f}",
            "" if r["ratio"] is None else times(r["ratio"]),
            f"{r['state_bytes']:,}",
            f"{r['temp_bytes'] / 1e3:,.1f}",
            f"{r['compile_seconds']:.1f}",
        )
        for r in measured
    ]
    ends = {
        k for k, (r, following) in enumerate(pairwise(measured)) if r["cell"] != following["cell"]
    }
    first = measured[0]
    title = (
        f"width {first['width']}, depth {first['depth']}, vocabulary {VOCAB_SIZE}, on "
        f"{machine(first)}; {first['dtype']}"
    )
    return Table(title, headings, lines, frozenset(ends))


def _loop(graphdef: Any, length: int) -> Callable[..., tuple[Any, Array]]:
    """Reads `length` tokens, each the likeliest after the one before; returns the state and sums.

    The sum makes every token count, and takes no memory that grows with them.
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


def _reads(length: int) -> Callable[[Any], Array]:
    """Reads every weight once a step, in a way that neither skips one nor keeps a result."""

    def run(params):
        def body(_, total):
            # The total is in every product, so that none is the same in the next step. A product
            # with a vector is what reads a matrix fastest; a plain sum is far from it.
            kernels = [x.reshape(-1, x.shape[-1]) for x in jax.tree.leaves(params)]
            return 1e-9 * sum(jnp.max(jnp.full(len(x), total) @ x) for x in kernels)

        return lax.fori_loop(0, length, body, jnp.float32(1))

    return run


def _once(loop: Prepared) -> dict[str, Any]:
    """`compare_to_bound`'s columns, from a single run."""
    start = time.perf_counter()
    loop.call()
    seconds = time.perf_counter() - start
    measured = {"compile_seconds": loop.compile_seconds, "temp_bytes": loop.temp_bytes}
    unknown = ("floor_seconds", "ratio", "ratio_q1", "ratio_q3")
    times = dict.fromkeys(("seconds", "seconds_q1", "seconds_q3"), seconds)
    return {**measured, **times, **dict.fromkeys(unknown)}


def _bytes(tree: Any) -> int:
    return sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(tree))
