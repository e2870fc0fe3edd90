"""How much memory does one device need when a sequence of 2**20 steps is cut over N devices?

Command:  python experiments/studies/sequence_parallel.py
Device:   CPU with 8 virtual devices; minutes. It measures no time: virtual devices share the cores.
Result:   experiments/results/sequence_parallel/rows.jsonl.
Expected: the temporary arrays of the compiled training gradient fall as 1/N, and no collective
          grows with the length: 2 x batch x features numbers per scan forward, half of it backward.
"""

import math
import os
import re
import sys
from pathlib import Path

os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
    " --xla_cpu_collective_call_terminate_timeout_seconds=300"
)

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax
from jax.sharding import Mesh
from jax.sharding import PartitionSpec as P

from rnnlab import MinGRU, Stack, provenance, records

OUT = Path(__file__).parent.parent / "results" / "sequence_parallel" / "rows.jsonl"
LENGTH, FEATURES, UPDATES = 2**20, 8, 3
COLLECTIVE = re.compile(r"= (.*?) (all-gather|all-reduce|all-to-all|collective-permute)\(")
BYTES = {"f32": 4, "s32": 4, "pred": 1}


def collectives(text: str) -> list[dict[str, int | str]]:
    """Returns the kind and the bytes of the result of each collective in a compiled program."""
    found = []
    for shapes, kind in COLLECTIVE.findall(text):
        size = 0
        for dtype, shape in re.findall(r"(\w+)\[([\d,]*)\]", shapes):
            size += BYTES[dtype] * math.prod(map(int, filter(None, shape.split(","))))
        found.append({"kind": kind, "bytes": size})
    return found


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


def main() -> int:
    OUT.unlink(missing_ok=True)
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
            "devices": devices,
            "batch_size": 1,
            "length": LENGTH,
            "features": FEATURES,
            "temporary_bytes": update.memory_analysis().temp_size_in_bytes,
            "collectives": collectives(update.as_text()),
            "losses": losses,
        }
        records.append(OUT, record)
        print({k: record[k] for k in ("devices", "temporary_bytes", "collectives", "losses")})
    return 0


if __name__ == "__main__":
    sys.exit(main())
