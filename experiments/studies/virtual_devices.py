"""Do two virtual devices of a CPU with two cores train faster than one device?

Command:  python experiments/studies/virtual_devices.py
Device:   a CPU with 2 cores that does nothing else; 4 minutes.
Result:   experiments/results/virtual_devices/rows.jsonl and a table in docs/scaling.md.
Paper:    none.
Expected: somewhat. A loop over time steps uses one core, so that two devices along data use both;
          matrix products use both cores already. 1.1 to 1.5 times as fast for both cells.

Each measurement is a process of its own, as with `--devices`, and the two alternate. The fastest
update counts, which other work on the machine disturbs least.
"""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
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
CELLS, DEVICES, ROUNDS, WARM_UP, UPDATES = ("mingru", "gru"), (1, 2), 2, 2, 8
VOCABULARY, WIDTH, DEPTH, BATCH, LENGTH = 64, 128, 2, 32, 256


def update_seconds(cell: str, devices: int) -> list[float]:
    """Returns the seconds of each update of a model, with its examples divided over devices."""
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
    state, seconds = initial_state(model, config, (), placement), []
    for _ in range(WARM_UP + UPDATES):
        start = time.perf_counter()
        state, _ = jax.block_until_ready(step(state, batches))
        seconds.append(time.perf_counter() - start)
    return seconds[WARM_UP:]


def measure() -> list[Record]:
    """Returns a record per cell and number of devices, of the rounds together."""
    seconds: dict[tuple[str, int], list[float]] = {}
    for _ in range(ROUNDS):
        for cell in CELLS:
            for devices in DEVICES:
                words = [sys.executable, __file__, cell, str(devices)]
                done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
                found = json.loads(done.stdout.splitlines()[-1])
                seconds.setdefault((cell, devices), []).extend(found)
                print(f"{cell}, {devices} devices: {min(found):.3f} s", flush=True)
    return [
        {
            "cell": cell,
            "devices": devices,
            "batch_size": BATCH,
            "length": LENGTH,
            "width": WIDTH,
            "depth": DEPTH,
            "seconds": min(of_all),
            "seconds_of_updates": of_all,
            "speedup": min(seconds[cell, 1]) / min(of_all),
        }
        for (cell, devices), of_all in seconds.items()
    ]


COLUMNS = (
    key_column("cell"),
    key_column("devices"),
    Column("fastest update, ms", lambda r: f"{1e3 * r['seconds']:,.0f}"),
    Column("times as fast as one device", lambda r: f"{r['speedup']:.2f}"),
)


def table(measured: Sequence[Record]) -> Table:
    """One table row per cell and number of devices."""
    shape = f"{DEPTH} blocks of width {WIDTH}, {BATCH} examples of {LENGTH} time steps"
    return make_table(f"{device_labels(list(measured))}; {shape}", COLUMNS, measured, ())


def main() -> int:
    if len(sys.argv) > 1:
        cell, devices = sys.argv[1], int(sys.argv[2])
        jax.config.update("jax_num_cpu_devices", devices)
        print(json.dumps(update_seconds(cell, devices)))
        return 0
    environment = provenance.environment(jax.devices()[0])
    shared = {"benchmark": "virtual_devices", **environment, "seed": 0}
    measured = [{**shared, **record} for record in measure()]
    OUT.unlink(missing_ok=True)
    for record in measured:
        records.append(OUT, record)
    print_table(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
