"""How fast is a large token file read, and how much memory does a training on it take?

Command:  python experiments/studies/token_files.py
          With the package grain installed, it is measured on the same file.
Device:   2 cores of a shared x86 machine; 3 minutes, of which the first writes 2 GB.
Result:   experiments/results/token_files/rows.jsonl and a table in docs/guides/large-corpora.md.
Expected: random windows above 50 million tokens per second, the epoch order at least half as many,
          an eighth of the rows in less than a quarter of the time of a batch, and a training whose
          resident memory stays less than 400 MB above its start, which is when the programs are
          compiled.
Paper:    none.

The file is read from the page cache, into which its preparation has just written it: the numbers
are those of the program, not of the disk. A training also reports which part of its memory is its
own (RssAnon) and which are pages of the file (RssFile), which the system can take back.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from rnnlab import ModelConfig, Tokens, TrainConfig, provenance, records
from rnnlab.bench.base import Column, key_column, make_table
from rnnlab.records import Record
from rnnlab.tables import Table, device_labels, print_table
from rnnlab.tasks.token_files.encoders import ByteEncoder
from rnnlab.tasks.token_files.writing import write_token_file
from rnnlab.train.callbacks import LoopCallbacks
from rnnlab.train.loop import TrainingLoop

OUT = Path(__file__).parent.parent / "results" / "token_files" / "rows.jsonl"
FILE_BYTES, LENGTH, BATCH_SIZE, REPEATS = 2_000_000_000, 1024, 64, 200
COMPILED = 10
"""Updates behind which the memory is measured."""

COLUMNS = (
    key_column("source"),
    Column("million tokens per second", lambda r: f"{r['tokens_per_second'] / 1e6:.1f}"),
    Column("median ms", lambda r: f"{1e3 * r['median_seconds']:.2f}"),
)
MEMORY_COLUMNS = (
    Column("file, MB", lambda r: f"{r['file_bytes'] / 1e6:,.0f}"),
    Column("updates", lambda r: f"{r['updates']}"),
    Column("loading and compiling", lambda r: f"{r['start_above_loading_bytes'] / 1e6:.0f}"),
    Column("peak of the updates", lambda r: f"{r['peak_above_start_bytes'] / 1e6:.0f}"),
    Column("growth over the updates", lambda r: f"{r['growth_over_updates_bytes'] / 1e6:.0f}"),
    Column("pages of the file", lambda r: f"{r['pages_of_file_bytes'] / 1e6:.0f}"),
)


def table(measured: Sequence[Record]) -> Table:
    """One table row per way to make a batch."""
    rates = [record for record in measured if "tokens_per_second" in record]
    title = f"{device_labels(rates)}; batches of {BATCH_SIZE} × {LENGTH} tokens"
    return make_table(title, COLUMNS, rates, ())


def memory_table(measured: Sequence[Record]) -> Table:
    """One table row per training."""
    rows = [record for record in measured if record["source"] == "training"]
    title = f"{device_labels(rows)}; resident memory of a training, MB"
    return make_table(title, MEMORY_COLUMNS, rows, ())


def generated(size: int) -> Iterator[tuple[np.ndarray, bool, int]]:
    """Yields `size` random bytes in pieces, as an encoder does."""
    rng, done = np.random.default_rng(0), 0
    while done < size:
        piece = rng.integers(0, 256, min(1 << 24, size - done), np.uint8)
        done += len(piece)
        yield piece, done == len(piece), done


def seconds_per_call(call: Callable[[int], object]) -> float:
    """Returns the median over batch numbers, after a warm-up of an eighth of them."""
    times = []
    for n in range(REPEATS):
        start = time.perf_counter()
        call(n)
        times.append(time.perf_counter() - start)
    return float(np.median(times[REPEATS // 8 :]))


def grain_batches(path: Path) -> Callable[[int], object]:
    """Returns batch n of shuffled windows by grain, from the same file."""
    import grain

    from rnnlab.tasks.token_files import open_token_file

    tokens = open_token_file(path).views().tokens

    class Windows:
        def __len__(self):
            return (len(tokens) - 1) // LENGTH

        def __getitem__(self, k):
            return tokens[k * LENGTH : (k + 1) * LENGTH + 1].astype(np.int32)

    dataset = grain.MapDataset.source(Windows()).shuffle(seed=0).repeat().batch(BATCH_SIZE)
    return dataset.__getitem__


def memory() -> dict[str, int]:
    """Returns the resident memory of this process by kind, in bytes, as Linux reports it."""
    lines = Path("/proc/self/status").read_text().splitlines()
    fields = dict(line.split(":", 1) for line in lines)
    return {name: 1024 * int(fields[name].split()[0]) for name in ("VmHWM", "RssAnon", "RssFile")}


def train(path: Path, updates: int) -> Record:
    """Trains on the file, and returns how far the memory rises above its start.

    The start is behind the first `COMPILED` updates and the first evaluation, when all programs are
    compiled. How far compiling raises it is reported, too.
    """
    jax.block_until_ready(jax.numpy.zeros(1))  # starts JAX
    loaded, samples = memory(), []
    task = Tokens(path, length=LENGTH, batch_size=8, order="epoch", evaluation_tokens=16_384)
    data = task.load(seed=0)
    model = ModelConfig(width=16, depth=1).build(
        data.out_features, vocab_size=data.vocab_size, rngs=nnx.Rngs(0)
    )

    def sample() -> bool:
        if int(loop.state.step) >= COMPILED:
            if not samples:
                Path("/proc/self/clear_refs").write_text("5")  # the peak is that from here on
            samples.append(memory())
        return False

    config = TrainConfig(steps=updates, eval_every=updates // 3)
    loop = TrainingLoop(model, data, config, LoopCallbacks(should_stop=sample))
    loop.run()
    data.baselines()
    start = samples[0]
    return {
        "source": "training",
        "updates": updates,
        "start_above_loading_bytes": resident(start) - resident(loaded),
        "peak_above_start_bytes": memory()["VmHWM"] - resident(start),
        "growth_over_updates_bytes": resident(samples[-1]) - resident(start),
        "pages_of_file_bytes": max(x["RssFile"] for x in samples) - loaded["RssFile"],
    }


def resident(of: dict[str, int]) -> int:
    """Returns the memory of a process and the pages of files that are in it, in bytes."""
    return of["RssAnon"] + of["RssFile"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--bytes", type=int, default=FILE_BYTES, help="size of the token file")
    parser.add_argument("--updates", type=int, default=300, help="updates of the training")
    parser.add_argument("--folder", type=Path, help="where the file is written for a while")
    parser.add_argument("--results", type=Path, default=OUT, help="file of the records")
    options = parser.parse_args()
    shared = {"benchmark": "token_files", **provenance.environment(jax.devices()[0]), "seed": 0}
    measured: list[Record] = []

    def add(record: Record) -> None:
        measured.append({**shared, "file_bytes": options.bytes, **record})
        records.append(options.results, measured[-1])

    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        path = Path(folder, "generated.tokens")
        start = time.perf_counter()
        write_token_file(path, ByteEncoder(), generated(options.bytes))
        add({"source": "writing", "seconds": time.perf_counter() - start})
        add(train(path, options.updates))
        settings = {"length": LENGTH, "batch_size": BATCH_SIZE}
        random, epoch = (Tokens(path, **settings, order=x).load(0) for x in ("random", "epoch"))
        eighth = slice(0, BATCH_SIZE // 8)
        sources = {
            "random windows": (random.train_batch, 1.0),
            "epoch order": (epoch.train_batch, 1.0),
            "random windows, an eighth of the rows": (lambda n: random.rows(n, eighth), 1 / 8),
        }
        try:
            sources["grain, shuffled windows"] = (grain_batches(path), 1.0)
        except ImportError:
            print("grain is not installed and is not measured")
        for name, (call, fraction) in sources.items():
            median = seconds_per_call(call)
            rate = fraction * BATCH_SIZE * LENGTH / median
            sizes = {"batch_size": BATCH_SIZE, "length": LENGTH, "fraction_of_rows": fraction}
            add({"source": name, **sizes, "median_seconds": median, "tokens_per_second": rate})
    print_table(table(measured))
    print_table(memory_table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
