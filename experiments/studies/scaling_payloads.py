"""What does an update on a mesh exchange, and how much memory does a device need?

Command:  python experiments/studies/scaling_payloads.py
Device:   a CPU with 64 virtual devices; 15 minutes. Programs are compiled and read, not executed,
          so nothing here is a time.
Result:   experiments/results/scaling_payloads/rows.jsonl and two tables in docs/scaling.md.
Paper:    none.
Expected: data parallel, one all-reduce of the parameters' bytes in all cells; fsdp, a gather of
          the divided parameters and a reduce-scatter of their part; time, no collective whose size
          grows with the length; temporaries per device of 1/N within 15%.
"""

import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from rnnlab import provenance, records
from rnnlab.bench.base import Column, key_column, make_table
from rnnlab.models.config import ModelConfig
from rnnlab.parallel.collectives import KINDS, collectives
from rnnlab.parallel.mesh import MeshConfig
from rnnlab.parallel.placement import Placement
from rnnlab.records import Record
from rnnlab.tables import Table, print_table
from rnnlab.tasks.batch import Batch
from rnnlab.train.config import TrainConfig
from rnnlab.train.step import initial_state, make_train_step

OUT = Path(__file__).parent.parent / "results" / "scaling_payloads" / "rows.jsonl"
VOCABULARY, WIDTH, DEPTH = 64, 128, 2
SCALAR_BYTES = 64
"""Collectives of up to this many bytes are counted as scalars: counts, losses and norms."""

FORMS = {
    "data 4": MeshConfig(data=4),
    "data 4, fsdp": MeshConfig(data=4, fsdp=True),
    "model 4": MeshConfig(model=4),
    "data 2, model 2": MeshConfig(data=2, model=2),
    "time 4": MeshConfig(time=4),
    "data 2, time 2": MeshConfig(data=2, time=2),
}
CELLS = ("mingru", "minlstm", "gru", "lstm")
SIZES = (1, 2, 4, 8, 16, 32, 64)
MEMORY_SHAPES = {"data": (64, 256), "fsdp": (64, 256), "time": (1, 16384)}
"""Examples and time steps of the batch, by what is divided."""


def compiled_update(cell: str, mesh: MeshConfig, batch_size: int, length: int) -> Record:
    """Returns what the compiled update of a model exchanges and needs, per device."""
    model = ModelConfig(cell, width=WIDTH, depth=DEPTH).build(
        VOCABULARY, vocab_size=VOCABULARY, rngs=nnx.Rngs(0)
    )
    params, config = nnx.state(model, nnx.Param), TrainConfig()
    placement = Placement(mesh, params) if mesh.num_devices > 1 else None
    ids = np.zeros((1, batch_size, length), np.int32)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), Batch(ids, ids))
    batches = shapes if placement is None else placement.with_shardings(shapes)
    step = make_train_step(nnx.graphdef(model), "categorical", config, None, placement)
    program = step.lower(initial_state(model, config, (), placement), batches).compile()
    found = collectives(program.as_text())
    large = [c for c in found if c.num_bytes > SCALAR_BYTES]
    memory = program.memory_analysis()
    return {
        "cell": cell,
        "mesh": asdict(mesh),
        "batch_size": batch_size,
        "length": length,
        "width": WIDTH,
        "depth": DEPTH,
        "parameter_bytes": sum(x.nbytes for x in jax.tree.leaves(params)),
        "counts": {kind: sum(c.kind == kind for c in large) for kind in KINDS},
        "bytes": {kind: sum(c.num_bytes for c in large if c.kind == kind) for kind in KINDS},
        "scalar_collectives": len(found) - len(large),
        "temporary_bytes": memory.temp_size_in_bytes,
        "argument_bytes": memory.argument_size_in_bytes,
        "flops": program.cost_analysis()["flops"],
    }


def exchanges(record: Record) -> str:
    """The large collectives of a record, as in "1 all-reduce of 1,951,752 bytes"."""
    parts = [
        f"{count} {kind} of {record['bytes'][kind]:,} bytes"
        for kind, count in record["counts"].items()
        if count
    ]
    return "; ".join(parts) or "none"


FORM_COLUMNS = (
    key_column("form"),
    key_column("cell"),
    Column("parameters, bytes", lambda r: f"{r['parameter_bytes']:,}"),
    Column("collectives of a device and update", exchanges),
    Column("scalars", lambda r: str(r["scalar_collectives"])),
)
MEMORY_COLUMNS = (
    key_column("devices"),
    key_column("form", "divided"),
    Column("temporaries, MB", lambda r: f"{r['temporary_bytes'] / 1e6:,.1f}"),
    Column("state and batch, MB", lambda r: f"{r['argument_bytes'] / 1e6:,.1f}"),
    Column("GFLOP", lambda r: f"{r['flops'] / 1e9:,.2f}"),
)


def forms_table(measured: Sequence[Record]) -> Table:
    """One table row per form of division and cell."""
    chosen = [r for r in measured if r["part"] == "forms"]
    title = f"{DEPTH} blocks of width {WIDTH}, 8 examples of 512 time steps, compiled for CPUs"
    return make_table(title, FORM_COLUMNS, chosen, ())


def memory_table(measured: Sequence[Record]) -> Table:
    """One table row per number of devices and form."""
    chosen = [r for r in measured if r["part"] == "memory"]
    title = f"minGRU, {DEPTH} blocks of width {WIDTH}, per device and update, compiled for CPUs"
    return make_table(title, MEMORY_COLUMNS, chosen, ())


def measure() -> Iterator[Record]:
    """Yields the records of the forms, and those of the memory on up to 64 devices."""
    for form, mesh in FORMS.items():
        for cell in CELLS if form == "data 4" else CELLS[:1]:
            update = compiled_update(cell, mesh, 8, 512)
            yield {"part": "forms", "form": form, "devices": 4, **update}
    for form, (batch_size, length) in MEMORY_SHAPES.items():
        for size in SIZES[1:] if form == "fsdp" else SIZES:
            axis = "data" if form == "fsdp" else form
            mesh = MeshConfig(**{axis: size}, fsdp=form == "fsdp")
            update = compiled_update("mingru", mesh, batch_size, length)
            yield {"part": "memory", "form": form, "devices": size, **update}


def main() -> int:
    jax.config.update("jax_num_cpu_devices", SIZES[-1])
    environment = provenance.environment(jax.devices()[0])
    OUT.unlink(missing_ok=True)
    measured = []
    for record in measure():
        measured.append(record)
        records.append(OUT, {"benchmark": "scaling_payloads", **environment, "seed": 0, **record})
        print(f"{record['form']}, {record['cell']}, {record['devices']} devices", flush=True)
    print_table(forms_table(measured))
    print_table(memory_table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
