"""Serving under churn: every stream compared with itself without others, and constant memory."""

import asyncio
import contextlib
import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jax
import numpy as np

from rnnlab.bench.base import Benchmark, Column, OnProgress, key_column
from rnnlab.bench.server_process import NAME, ServerProcess, random_bundle, serving
from rnnlab.bundle import open_bundle
from rnnlab.models import SequenceModel
from rnnlab.models.config import ModelConfig
from rnnlab.records import Record
from rnnlab.serve.jax_slots import JaxSlots
from rnnlab.serve.sampling import POSITION, settings_row
from rnnlab.serve.slots import chunk_length
from rnnlab.tables import device_label

TEMPERATURE = 0.8
PER_EVENT = 8
LEFT_SHARE = 0.1
"""Share of the streams whose client disconnects before the end."""
NEAR_TIE = 1e-4
"""Difference of the two greatest scores, logits / temperature + noise, below which rounding can
decide: other numbers of rows give other last bits of the logits."""
WARM_UP_SECONDS = 30.0


@dataclass
class ChurnStream:
    """One stream: its request, and what its client received.

    Attributes:
      prompt: token ids.
      count: tokens to generate.
      seed: of the samples.
      leaves: whether the client disconnects after the first event.
      tokens: that arrived.
      error: of the answer.
    """

    prompt: list[int]
    count: int
    seed: int
    leaves: bool
    tokens: list[int] = field(default_factory=list)
    error: str = ""


@dataclass(frozen=True)
class ServingChurnBenchmark(Benchmark):
    """Compares streams that come and go at `rnnlab serve` with the same streams without others.

    Prompts and lengths differ, and a tenth of the clients disconnect early. Each stream is then
    generated again without others, in slots of its own. The memory of the server is recorded
    while streams come and go. Writes OUT/rows.jsonl and prints the table.

    Attributes:
      cell: name of the cell of the model.
      streams: streams in all.
      concurrent: clients at the same time, more than there are slots.
      slots: of the server.
      width, depth: of the model; its cells have twice that width.
      seconds: least time of the load; streams beyond `streams` are not compared.
      out: output directory. Records are appended to those that are there.
    """

    cell: str = "mingru"
    streams: int = 10_000
    concurrent: int = 96
    slots: int = 64
    width: int = 128
    depth: int = 2
    seconds: int = 600
    out: Path = Path("runs/serving_churn")

    name = "serving-churn"
    device = "cpu"
    columns = (
        key_column("cell"),
        Column("streams", lambda r: f"{r['all_streams']:,}"),
        Column("compared", lambda r: f"{r['streams']:,}"),
        Column("of them left early", lambda r: f"{r['left']:,}"),
        Column("equal without others", lambda r: f"{r['equal']:,}"),
        Column("near ties", lambda r: str(r["near_ties"])),
        Column("different", lambda r: str(r["different"])),
        Column("failed", lambda r: str(r["failed"])),
        Column("minutes", lambda r: f"{r['seconds'] / 60:.1f}"),
        Column("memory at the start, MB", lambda r: f"{r['resident_bytes_start'] / 1e6:,.0f}"),
        Column("at the end, MB", lambda r: f"{r['resident_bytes_end'] / 1e6:,.0f}"),
    )

    def cases(self) -> Sequence[str]:
        return [self.cell]

    def measure(self, case: str, device: jax.Device, on_progress: OnProgress) -> Iterator[Record]:
        on_progress(f"{self.streams:,} streams, {self.concurrent} at a time")
        config = ModelConfig(cell=case, width=self.width, depth=self.depth)
        with tempfile.TemporaryDirectory() as folder:
            bundle = Path(folder) / NAME
            random_bundle(bundle, config)
            model = open_bundle(bundle).model()
            options = ["--slots", str(self.slots), "--per-event", str(PER_EVENT)]
            with serving(bundle, options) as server:
                churn = _Churn(server, self.streams, self.concurrent, float(self.seconds))
                asyncio.run(churn.run())
        compared = _compare(model, churn.compared)
        yield {
            "cell": case,
            "width": self.width,
            "depth": self.depth,
            "dtype": "float32",
            "slots": self.slots,
            "concurrent": self.concurrent,
            "streams": len(churn.compared),
            "all_streams": churn.num_streams,
            "left": sum(stream.leaves for stream in churn.compared),
            **compared,
            "seconds": churn.seconds,
            "resident_bytes_start": churn.memory[0][1],
            "resident_bytes_end": churn.memory[-1][1],
            "resident_bytes": churn.memory,
        }

    @classmethod
    def conclusion(cls, measured: Sequence[Record]) -> str:
        parts = []
        for r in measured:
            growth = (r["resident_bytes_end"] - r["resident_bytes_start"]) / 1e6
            parts.append(
                f"{r['cell']}: {r['equal']:,} of {r['streams']:,} streams equal themselves "
                f"without others, {r['near_ties']} differ after a near tie, {r['different']} "
                f"otherwise, {r['failed']} failed. The server's memory changed by "
                f"{growth:+.0f} MB in {r['seconds'] / 60:.1f} minutes."
            )
        return " ".join(parts)

    @classmethod
    def title(cls, measured: Sequence[Record]) -> str:
        first = measured[0]
        return f"width {first['width']}, depth {first['depth']}, on {device_label(first)}; float32"


class _Churn:
    """Clients that come and go."""

    def __init__(self, server: ServerProcess, streams: int, concurrent: int, seconds: float):
        self._server, self._limit, self._concurrent = server, streams, concurrent
        self._least = seconds
        self._rng = np.random.default_rng(0)
        self.compared: list[ChurnStream] = []
        self.memory: list[tuple[float, int]] = []
        self.num_streams = 0
        self.seconds = 0.0

    async def run(self) -> None:
        """Runs until enough streams have ended and the time is over."""
        started = time.monotonic()
        watcher = asyncio.create_task(self._watch(started))
        await asyncio.gather(*(self._client(started) for _ in range(self._concurrent)))
        watcher.cancel()
        self.seconds = time.monotonic() - started
        self.memory.append((self.seconds, self._server.resident_bytes()))

    async def _watch(self, started: float) -> None:
        """Records the memory after the warm-up and every ten seconds."""
        await asyncio.sleep(min(WARM_UP_SECONDS, self._least / 2))
        while True:
            self.memory.append((time.monotonic() - started, self._server.resident_bytes()))
            await asyncio.sleep(10)

    async def _client(self, started: float) -> None:
        while self.num_streams < self._limit or time.monotonic() - started < self._least:
            stream = self._draw()
            self.num_streams += 1
            if len(self.compared) < self._limit:
                self.compared.append(stream)
            try:
                await self._request(stream)
            except (OSError, ValueError, asyncio.IncompleteReadError) as error:
                stream.error = f"{type(error).__name__}: {error}"

    def _draw(self) -> ChurnStream:
        rng = self._rng
        length = int(rng.choice([1, 3, 16, 40, 150]))
        return ChurnStream(
            prompt=rng.integers(0, 128, length).tolist(),
            count=int(rng.integers(1, 65)),
            seed=int(rng.integers(2**32)),
            leaves=bool(rng.random() < LEFT_SHARE),
        )

    async def _request(self, stream: ChurnStream) -> None:
        """Requests one stream on a connection of its own."""
        parameters = {
            "max_tokens": stream.count,
            "seed": stream.seed,
            "temperature": TEMPERATURE,
            "return_tokens": True,
        }
        body = json.dumps({"token_input": stream.prompt, "parameters": parameters}).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self._server.port)
        try:
            writer.write(
                f"POST /v2/models/{NAME}/generate_stream HTTP/1.1\r\nHost: localhost\r\n"
                f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
                + body
            )
            head = await reader.readuntil(b"\r\n\r\n")
            if b" 200 " not in head.split(b"\r\n", 1)[0]:
                raise ValueError(head.split(b"\r\n", 1)[0].decode())
            while size := int(await reader.readuntil(b"\r\n"), 16):
                chunk = (await reader.readexactly(size + 2))[:-2]
                for event in chunk.split(b"\n\n")[:-1]:
                    found = json.loads(event.removeprefix(b"data: "))
                    stream.tokens += found["tokens"]
                    stream.error = found.get("error", "")
                if stream.leaves:
                    return
        finally:
            writer.close()
            with contextlib.suppress(OSError):
                await writer.wait_closed()


def _compare(model: SequenceModel, streams: Sequence[ChurnStream]) -> Record:
    """Returns how many streams equal the stream without others."""
    slots = JaxSlots(model, 1, PER_EVENT)
    equal = near_ties = different = failed = 0
    for stream in streams:
        if stream.error or (not stream.leaves and len(stream.tokens) != stream.count):
            failed += 1
            continue
        alone = _alone(slots, stream, len(stream.tokens))
        if alone == stream.tokens:
            equal += 1
        elif _margin(model, stream, alone) < NEAR_TIE:
            near_ties += 1
        else:
            different += 1
    return {"equal": equal, "near_ties": near_ties, "different": different, "failed": failed}


def _alone(slots: JaxSlots, stream: ChurnStream, count: int) -> list[int]:
    """Returns the tokens of a stream that has one slot and no neighbors."""
    prompt, start = np.asarray(stream.prompt), 0
    while start < len(prompt):
        part = prompt[start : start + chunk_length(len(prompt) - start)]
        slots.read([0], [part], [start == 0])
        start += len(part)
    settings = settings_row(stream.seed, TEMPERATURE, None)[None]
    tokens: list[int] = []
    while len(tokens) < count:
        tokens += slots.advance([0], settings)[0].tolist()
        settings[:, POSITION] += PER_EVENT
    return tokens[:count]


def _margin(model: SequenceModel, stream: ChurnStream, alone: list[int]) -> float:
    """Returns the difference of the two greatest scores at the first token that differs."""
    at = next(k for k, (x, y) in enumerate(zip(alone, stream.tokens, strict=True)) if x != y)
    inputs = jax.numpy.asarray([*stream.prompt, *alone[:at]])
    _, logits = model(inputs)
    key = jax.random.fold_in(jax.random.key(stream.seed), at)
    scores = np.asarray(logits[-1] / TEMPERATURE + jax.random.gumbel(key, logits[-1].shape))
    second, first = np.sort(scores)[-2:]
    return float(first - second)
