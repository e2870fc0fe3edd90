"""How much memory does one device need when a sequence of 2**20 steps is cut over N devices?

Command:  python experiments/studies/sequence_parallel.py
Device:   CPU with 8 virtual devices; minutes. It measures no time: virtual devices share the cores.
Result:   experiments/results/sequence_parallel/rows.jsonl.
Expected: the temporary arrays of the compiled training gradient fall as 1/N, and no collective
          grows with the length: 2 x batch x features numbers per scan forward, half of it backward.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from rnnlab import MinGRU, Stack, provenance, records
from rnnlab.bench.base import Column, key_column, make_table
from rnnlab.parallel.collectives import collectives
from rnnlab.records import Record
from rnnlab.tables import Table, device_labels, print_table

OUT = Path(__file__).parent.parent / "results" / "sequence_parallel" / "rows.jsonl"
LENGTH, FEATURES, UPDATES = 2**20, 8, 3


def make_update(devices: int):
    """Returns one compiled update of a minGRU that predicts its next input, and its arguments."""
    rngs = nnx.Rngs(0)
    model = Stack([MinGRU(FEATURES, FEATURES, candidate="tanh", rngs=rngs)])
    graphdef, parameters = nnx.split(model)

    def loss(parameters, xs, targets):
        parameters = jax.tree.map(lambda x: lax.pcast(x, "time", to="varying"), parameters)
        _, ys = nnx.merge(graphdef, parameters, copy=True)(xs)
        return lax.pmean(jnp.mean((ys - targets) ** 2), "time")

    mesh = Mesh(jax.devices()[:devices], "time")
    specs = P(), P(None, "time"), P(None, "time")
    cut = jax.shard_map(loss, mesh=mesh, in_specs=specs, out_specs=P())

    def update(parameters, xs, targets):
        value, gradients = jax.value_and_grad(cut)(parameters, xs, targets)
        return jax.tree.map(lambda p, g: p - 0.1 * g, parameters, gradients), value

    t = jnp.arange(LENGTH + 1, dtype=jnp.float32)[None, :, None]
    rates = (1 + jnp.arange(FEATURES, dtype=jnp.float32))[None, None] / 50
    xs = jnp.sin(jnp.broadcast_to(t, (1, LENGTH + 1, FEATURES)) * rates)
    sharding = jax.sharding.NamedSharding(mesh, P(None, "time"))
    inputs = jax.device_put((xs[:, :-1], xs[:, 1:]), sharding)
    return jax.jit(update).lower(parameters, *inputs).compile(), parameters, inputs


def gathered(record: Record) -> list[int]:
    """Returns the bytes that a device has after each gather, the forward pass's first."""
    found = [c["bytes"] for c in record["collectives"] if c["kind"] == "all-gather"]
    return sorted(found, reverse=True) or [0, 0]


COLUMNS = (
    key_column("devices"),
    Column("temporary arrays, bytes", lambda r: f"{r['temporary_bytes']:,}"),
    Column("gathered forward, bytes", lambda r: f"{gathered(r)[0]:,}"),
    Column("gathered backward, bytes", lambda r: f"{gathered(r)[1]:,}"),
)


def table(measured: Sequence[Record]) -> Table:
    """One table row per number of devices."""
    title = f"{device_labels(list(measured))}; compiled for virtual devices, 1 x {LENGTH:,} steps"
    return make_table(title, COLUMNS, measured, ())


def main() -> int:
    # Before JAX makes its devices. Devices that share cores wait for each other longer.
    flags = "--xla_cpu_collective_call_terminate_timeout_seconds=300"
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    jax.config.update("jax_num_cpu_devices", 8)
    OUT.unlink(missing_ok=True)
    measured = []
    for devices in (1, 2, 4, 8):
        update, parameters, inputs = make_update(devices)
        losses = []
        if devices == 8:
            for _ in range(UPDATES):
                parameters, value = update(parameters, *inputs)
                losses.append(float(value))
        record = {
            "benchmark": "sequence_parallel",
            **provenance.environment(jax.devices()[0]),
            "seed": 0,
            "devices": devices,
            "batch_size": 1,
            "length": LENGTH,
            "features": FEATURES,
            "temporary_bytes": update.memory_analysis().temp_size_in_bytes,
            "collectives": [
                {"kind": c.kind, "bytes": c.num_bytes} for c in collectives(update.as_text())
            ],
            "losses": losses,
        }
        records.append(OUT, record)
        measured.append(record)
        print(f"{devices} devices: losses {losses}", flush=True)
    print_table(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
