"""Which changes to the loops make them faster on a CPU?

Command:  python experiments/studies/cpu_ablations.py    (malloc keeps memory, as in training)
Device:   2 cores of a shared x86 machine; 1 minute.
Result:   experiments/results/cpu_ablations/rows.jsonl and a table in docs/performance.md.

Expected time relative to the default, written before each was measured:
  a cleared buffer             0.9: no copy of b before the loop, but zeros are written
  da inside the loop           0.9: g is read one time less
  blocks of 16 steps           0.8: longer contiguous reads, the block's loop in the cache
  8 steps unrolled             0.8: fewer iterations
  two loops over half batches  0.6: one core each
  gates outside the loop       1.2: coefficients are written and read one time more
  one wide projection          0.95: the inputs are read once instead of three times
  in two halves of the batch   0.95: smaller arrays, of which more stays in the cache
  one wide array               1.0: of the projected inputs of all gates, from one matmul
  projected inside the loop    1.3: matmuls of few rows
  JAX's gradient               1.3: it sums the recurrent kernel's cotangent at every time step
  JAX's gradient, unroll=2     1.2: fewer iterations
  gates kept                   0.9: no second sigmoid and tanh in the backward loop
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from rnnlab import provenance, records
from rnnlab.bench.base import (
    RATIO_QUARTILES,
    Column,
    key_column,
    make_table,
    ratio_column,
)
from rnnlab.bench.timing import compare_to_reference, compile_program, time_interleaved
from rnnlab.malloc import keep_memory
from rnnlab.records import Record
from rnnlab.tables import Table, device_label, format_ms, print_table

OUT = Path(__file__).parent.parent / "results" / "cpu_ablations" / "rows.jsonl"
REPEATS = 9
COLUMNS = (
    key_column("what", "operation"),
    Column("batch × time × width", lambda r: " × ".join(map(str, r["shape"]))),
    key_column("how", "variant"),
    Column("time, ms", lambda r: format_ms(r["seconds"])),
    ratio_column("relative to default"),
    RATIO_QUARTILES,
    Column("XLA temp memory, MB", lambda r: f"{r['temp_bytes'] / 1e6:,.0f}"),
)


def table(measured: Sequence[Record]) -> Table:
    """One table row per variant."""
    title = f"memory kept by malloc, on {device_label(measured[0])}; float32"
    return make_table(title, COLUMNS, measured, ())


def main() -> int:
    from cpu_variants import gru, minimal, scan  # they build layers when they are imported

    keep_memory()
    measured = []
    for variants in (scan, minimal, gru):
        operands = variants.operands()
        for operation, forms in variants.GROUPS.items():
            programs = [compile_program(form, *operands) for form in forms.values()]
            reference, *others = (jax.jit(form)(*operands) for form in forms.values())
            for found in others:
                pairs = zip(jax.tree.leaves(found), jax.tree.leaves(reference), strict=True)
                assert all(jnp.allclose(x, y, rtol=1e-3, atol=1e-3) for x, y in pairs)
            seconds = time_interleaved(programs, REPEATS)
            for variant, program, times in zip(forms, programs, seconds, strict=True):
                record = {
                    "benchmark": "cpu_ablations",
                    **provenance.environment(jax.devices()[0]),
                    "what": operation,
                    "how": variant,
                    "shape": variants.SHAPE,
                    "seed": 0,
                    "repeats": REPEATS,
                    **compare_to_reference(program, times, seconds[0]),
                }
                records.append(OUT, record)
                measured.append(record)
    print_table(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
