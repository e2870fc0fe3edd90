"""Do two virtual devices of a CPU with two cores train faster than one device?

Command:  python experiments/studies/virtual_devices.py
Device:   a CPU with 2 cores; 4 minutes.
Result:   experiments/results/virtual_devices/rows.jsonl and a table in docs/scaling.md.
Paper:    none.
Expected: somewhat. A loop over time steps uses one core, so that two devices along data use both;
          matrix products use both cores already. 1.1 to 1.5 times as fast for both cells.

One process has two devices. Updates on one of them and on both alternate, so that other work on
the machine disturbs both alike, and each pair gives a ratio. The table has the median of the ratios
and their quartiles.
"""

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from rnnlab import provenance, records
from rnnlab.bench.base import Column, key_column, make_table
from rnnlab.models.config import ModelConfig
from rnnlab.parallel.mesh import MeshConfig
from rnnlab.parallel.placement import Placement
from rnnlab.records import Record
from rnnlab.tables import Table, device_labels, print_table
from rnnlab.tasks.batch import Batch
from rnnlab.train.config import TrainConfig
from rnnlab.train.step import initial_state, make_train_step

OUT = Path(__file__).parent.parent / "results" / "virtual_devices" / "rows.jsonl"
CELLS, DEVICES, WARM_UP, PAIRS = ("mingru", "gru"), 2, 2, 16
VOCABULARY, WIDTH, DEPTH, BATCH, LENGTH = 64, 128, 2, 32, 256


def make_timed_update(cell: str, devices: int) -> Callable[[], float]:
    """Returns a function that updates a model, and returns the seconds that the update took."""
    model = ModelConfig(cell, width=WIDTH, depth=DEPTH).build(
        VOCABULARY, vocab_size=VOCABULARY, rngs=nnx.Rngs(0)
    )
    placement, config = None, TrainConfig()
    ids = np.random.default_rng(0).integers(VOCABULARY, size=(1, BATCH, LENGTH), dtype=np.int32)
    batches = Batch(ids, ids)
    if devices > 1:
        placement = Placement(MeshConfig(data=devices), nnx.state(model, nnx.Param))
        batches = jax.device_put(batches, placement.batch(batches, stacked=True))
    step = make_train_step(nnx.graphdef(model), "categorical", config, None, placement)
    state = initial_state(model, config, (), placement)

    def update() -> float:
        nonlocal state
        start = time.perf_counter()
        state, _ = jax.block_until_ready(step(state, batches))
        return time.perf_counter() - start

    return update


def measure(cell: str) -> Record:
    """Returns the record of a cell: the seconds of each pair of updates, and their ratios."""
    one, several = make_timed_update(cell, 1), make_timed_update(cell, DEVICES)
    pairs = [(one(), several()) for _ in range(WARM_UP + PAIRS)][WARM_UP:]
    low, middle, high = np.percentile([x / y for x, y in pairs], (25, 50, 75))
    return {
        "cell": cell,
        "devices": DEVICES,
        "batch_size": BATCH,
        "length": LENGTH,
        "width": WIDTH,
        "depth": DEPTH,
        "seconds_of_one": [x for x, _ in pairs],
        "seconds_of_several": [y for _, y in pairs],
        "speedup": middle,
        "speedup_quartiles": [low, high],
    }


def spread(record: Record) -> str:
    """The quartiles of the ratios of a record."""
    return " to ".join(f"{x:.2f}" for x in record["speedup_quartiles"])


COLUMNS = (
    key_column("cell"),
    key_column("devices"),
    Column("times as fast as one device", lambda r: f"{r['speedup']:.2f}"),
    Column("quartiles", spread),
)


def table(measured: Sequence[Record]) -> Table:
    """One table row per cell."""
    shape = f"{DEPTH} blocks of width {WIDTH}, {BATCH} examples of {LENGTH} time steps"
    return make_table(f"{device_labels(list(measured))}; {shape}", COLUMNS, measured, ())


def main() -> int:
    jax.config.update("jax_num_cpu_devices", DEVICES)
    shared = {
        "benchmark": "virtual_devices",
        **provenance.environment(jax.devices()[0]),
        "seed": 0,
    }
    measured = [{**shared, **measure(cell)} for cell in CELLS]
    OUT.unlink(missing_ok=True)
    for record in measured:
        records.append(OUT, record)
    print_table(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
