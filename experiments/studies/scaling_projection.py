"""How well should training scale to 8 to 4,096 accelerators?

Command:  python experiments/studies/scaling_projection.py
Device:   none: no accelerator has run this. It is arithmetic on the vendors' figures.
Result:   experiments/results/scaling_projection/rows.jsonl and a table in docs/scaling.md.
Paper:    none.
Expected: the gradient's sum hides behind the backward pass when the batch grows with the devices;
          one sequence cut over ever more devices ends where a latency per layer takes longer than
          the device's part of the sequence.

Efficiency is the time that a device computes what one device would compute, over the time of the
update. Not modelled: slow devices, congestion, input, compilation, and all traffic of memory except
that of the scan's second pass.
"""

import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import jax

from rnnlab import provenance, records
from rnnlab.bench.base import Column, key_column, make_table
from rnnlab.records import Record
from rnnlab.tables import Table, print_table

OUT = Path(__file__).parent.parent / "results" / "scaling_projection" / "rows.jsonl"
DEVICES = (8, 64, 512, 4096)


@dataclass(frozen=True)
class Model:
    """A minGRU model: blocks of two projections W x 2W, one 2W x W and an MLP of 8 W^2."""

    width: int = 2048
    depth: int = 24
    vocab_size: int = 32_000
    tokens_per_device: int = 16_384
    length: int = 131_072

    @property
    def parameters(self) -> int:
        return self.depth * 14 * self.width**2 + 2 * self.vocab_size * self.width

    @property
    def features(self) -> int:
        return 2 * self.width


@dataclass(frozen=True)
class Accelerator:
    """Constants of an accelerator. Shares are assumed; the others are the vendors'.

    Attributes:
      flops, flops_share: dense bfloat16 operations per second, and the share that training reaches.
      memory, memory_share: bytes per second of the memory, and the share that a scan reaches.
      group: devices with the fast link; None: all, as a ring.
      near, far, link_share: bytes per second, in one direction, of a device within a group and
        beyond it, and the share that collectives reach.
      near_latency, far_latency: seconds of one exchange.
    """

    name: str
    flops: float
    flops_share: float
    memory: float
    memory_share: float
    group: int | None
    near: float
    far: float
    link_share: float
    near_latency: float
    far_latency: float


H100 = Accelerator("H100 SXM", 989e12, 0.40, 3.35e12, 0.80, 8, 450e9, 50e9, 0.75, 5e-6, 15e-6)
V5P = Accelerator("TPU v5p", 459e12, 0.50, 2.765e12, 0.80, None, 200e9, 200e9, 0.90, 1e-6, 1e-6)


def compute_seconds(model: Model, of: Accelerator, tokens: float) -> float:
    """Seconds of the forward and the backward pass over some tokens: 6 operations a parameter."""
    return 6 * model.parameters * tokens / (of.flops * of.flops_share)


def gradient_seconds(model: Model, of: Accelerator, devices: int) -> float:
    """Seconds of an all-reduce of 4 bytes a parameter: within a group, then between groups."""
    size = 4 * model.parameters
    group = devices if of.group is None else min(devices, of.group)
    groups = devices // group
    near = 2 * (group - 1) / group * size / (of.near * of.link_share)
    far = 2 * (groups - 1) / groups * size / group / (of.far * of.link_share)
    if of.group is None:  # a torus of three dimensions
        latency = 6 * (round(devices ** (1 / 3)) - 1) * of.near_latency
    else:
        latency = 2 * (group - 1) * of.near_latency + 2 * math.log2(groups) * of.far_latency
    return near + far + latency


def exchange_seconds(model: Model, of: Accelerator, devices: int) -> float:
    """Seconds of the scans' exchanges of an update: 3 B E numbers per layer and shard, B = 1.

    Up to 16 shards gather; more compose in log2(shards) exchanges and one that hands on.
    """
    hops = 1 if devices <= 16 else math.log2(devices) + 1
    near_hops = hops if of.group is None else min(hops, math.log2(of.group))
    latency = near_hops * of.near_latency + (hops - near_hops) * of.far_latency
    link = of.near if of.group is None or devices <= of.group else of.far
    received = min(devices, 16) if devices <= 16 else hops
    payload = 3 * model.features * 4 * received / (link * of.link_share)
    return model.depth * (2 * latency + payload)


def second_pass_seconds(model: Model, of: Accelerator, time_steps: float) -> float:
    """Seconds of reading a layer's 5 arrays again: 2 forward and 3 backward, of 4 bytes."""
    size = 5 * 4 * model.features * time_steps * model.depth
    return size / (of.memory * of.memory_share)


def efficiencies(model: Model, of: Accelerator, devices: int) -> dict[str, float]:
    """Efficiency of each form on a number of devices."""
    work = compute_seconds(model, of, model.tokens_per_device)
    gradient = gradient_seconds(model, of, devices)
    time_steps = model.length / devices
    part = compute_seconds(model, of, time_steps)
    extra = second_pass_seconds(model, of, time_steps) + exchange_seconds(model, of, devices)
    return {
        "data, gradient exposed": work / (work + gradient),
        "data, gradient hidden": work / (work + max(0.0, gradient - 2 / 3 * work)),
        "time, exchanges only": part / (part + extra),
        "time, gradient hidden": part / (part + extra + max(0.0, gradient - 2 / 3 * part)),
    }


COLUMNS = (
    key_column("devices"),
    key_column("accelerator"),
    *(
        Column(name, lambda r, n=name: f"{r['efficiency'][n]:.2f}")
        for name in (
            "data, gradient exposed",
            "data, gradient hidden",
            "time, exchanges only",
            "time, gradient hidden",
        )
    ),
)


def table(predicted: Sequence[Record]) -> Table:
    """One table row per number of devices and accelerator."""
    title = "the constants above; no accelerator has run this"
    return make_table(title, COLUMNS, predicted, ())._replace(source="Predicted from")


def predictions() -> list[Record]:
    """Returns one record per number of devices and accelerator, with all constants."""
    model = Model()
    return [
        {
            "benchmark": "scaling_projection",
            **provenance.environment(jax.devices()[0]),
            "is_prediction": True,
            "seed": 0,
            "devices": devices,
            "accelerator": of.name,
            "efficiency": efficiencies(model, of, devices),
            "model": asdict(model) | {"parameters": model.parameters},
            "constants": asdict(of),
        }
        for devices in DEVICES
        for of in (H100, V5P)
    ]


def main() -> int:
    predicted = predictions()
    OUT.unlink(missing_ok=True)
    for record in predicted:
        records.append(OUT, record)
    print_table(table(predicted))
    return 0


if __name__ == "__main__":
    sys.exit(main())
