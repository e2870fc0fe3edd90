"""Serving: tokens per second, gaps between events and the time to the first token, over HTTP."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import jax
import numpy as np

from rnnlab.bench.base import Benchmark, Column, OnProgress, key_column
from rnnlab.bench.load import Load, run_load
from rnnlab.bench.server_process import NAME, VOCAB_SIZE, random_bundle, serving
from rnnlab.models.config import ModelConfig
from rnnlab.records import Record
from rnnlab.tables import device_label, format_ms
from rnnlab.tasks.wording import counted

PROMPT = "The quick brown "
MAX_TOKENS = 512
"""Tokens per continuation, a multiple of the tokens per event."""


@dataclass(frozen=True)
class ServingBenchmark(Benchmark):
    """Times `rnnlab serve` with concurrent streams from another process of this machine.

    Each stream reads 16 tokens, generates 512, and starts again. The model is not trained. Server
    and clients share the cores. Writes OUT/rows.jsonl and prints the table.

    Attributes:
      cell: name of the cell of the model.
      streams: concurrent streams.
      per_event: tokens per event.
      engines: jax, onnx.
      width, depth: of the model; its cells have twice that width.
      seconds: measured time of each combination, after a warm-up of 2 seconds.
      out: output directory. Records are appended to those that are there.
    """

    cell: str = "mingru"
    streams: tuple[int, ...] = (1, 8, 64, 256)
    per_event: tuple[int, ...] = (1, 8)
    engines: tuple[str, ...] = ("jax", "onnx")
    width: int = 128
    depth: int = 2
    seconds: int = 10
    out: Path = Path("runs/serving")

    name = "serving"
    device = "cpu"
    choices: ClassVar = {"engines": ("jax", "onnx"), "per_event": (1, 2, 4, 8, 16, 32)}
    section_keys = ("engine", "per_event")
    columns = (
        key_column("engine"),
        key_column("per_event", "tokens per event"),
        key_column("streams"),
        Column("tokens/s", lambda r: f"{r['tokens_per_second']:,.0f}"),
        Column("median gap, ms", lambda r: format_ms(r["gap_seconds"])),
        Column("99% of gaps, ms", lambda r: format_ms(r["gap_seconds_p99"])),
        Column("first token, ms", lambda r: _ms(r["first_seconds"])),
    )

    def cases(self) -> Sequence[tuple[str, int]]:
        """Engine and tokens per event."""
        return [(engine, count) for engine in self.engines for count in self.per_event]

    def steps_of(self, case: Any) -> int:
        return len(self.streams)

    def measure(
        self, case: tuple[str, int], device: jax.Device, on_progress: OnProgress
    ) -> Iterator[Record]:
        engine, per_event = case
        config = ModelConfig(cell=self.cell, width=self.width, depth=self.depth)
        options = ["--slots", str(max(self.streams)), "--per-event", str(per_event)]
        with tempfile.TemporaryDirectory() as folder:
            bundle = Path(folder) / NAME
            random_bundle(bundle, config, has_onnx=engine == "onnx")
            with serving(bundle, [*options, "--engine", engine]) as server:
                for streams in self.streams:
                    on_progress(f"{engine}, {per_event} tokens per event, {streams} streams")
                    load = Load(
                        server.port,
                        NAME,
                        streams,
                        float(self.seconds),
                        warm_up=2.0,
                        prompt=PROMPT,
                        max_tokens=MAX_TOKENS,
                    )
                    found = run_load(load)
                    yield {
                        "cell": self.cell,
                        "engine": engine,
                        "per_event": per_event,
                        "streams": streams,
                        "width": self.width,
                        "depth": self.depth,
                        "vocab_size": VOCAB_SIZE,
                        "dtype": "float32",
                        "prompt_tokens": len(PROMPT),
                        "seconds": found.seconds,
                        "events": found.events,
                        "tokens_per_second": found.events * per_event / found.seconds,
                        "gap_seconds": _percentile(found.gaps, 50),
                        "gap_seconds_p99": _percentile(found.gaps, 99),
                        "first_seconds": _percentile(found.first, 50),
                        "finished": found.finished,
                        "refused": found.refused,
                        "failed": found.failed,
                        "resident_bytes": server.resident_bytes(),
                    }

    @classmethod
    def conclusion(cls, measured: Sequence[Record]) -> str:
        best = max(measured, key=lambda r: r["tokens_per_second"])
        least = min(measured, key=lambda r: r["gap_seconds"])
        failed = sum(r["failed"] for r in measured)
        return (
            f"At most {best['tokens_per_second']:,.0f} tokens per second, at {_sizes(best)}. The "
            f"shortest median gap is {format_ms(least['gap_seconds'])} ms, at {_sizes(least)}. "
            f"{failed} requests failed."
        )

    @classmethod
    def title(cls, measured: Sequence[Record]) -> str:
        first = measured[0]
        return (
            f"{first['cell']}, width {first['width']}, depth {first['depth']}, vocabulary "
            f"{first['vocab_size']}, on {device_label(first)}; {first['dtype']}"
        )


def _sizes(record: Record) -> str:
    streams = counted(record["streams"], "stream")
    tokens = counted(record["per_event"], "token")
    return f"{streams}, {tokens} per event and {record['engine']}"


def _percentile(seconds: np.ndarray, percent: float) -> float | None:
    return float(np.percentile(seconds, percent)) if len(seconds) else None


def _ms(seconds: float | None) -> str:
    return "" if seconds is None else format_ms(seconds)
