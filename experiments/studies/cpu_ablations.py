"""What was tried to make the loops faster on a CPU, beside what is there: did it help?

Command:  python experiments/studies/cpu_ablations.py   (keeps memory, as rnnlab --keep-pages)
Device:   2 cores of a shared x86 machine; 1 minute.
Result:   experiments/results/cpu_ablations/rows.jsonl and the table in docs/performance.md.

Expected, before each was measured:
  a cleared buffer             0.9: no copy of b before the loop, but zeros are written
  da inside the loop           0.9: g is read once less
  blocks of 16 steps           0.8: longer contiguous reads, the block's loop in the cache
  8 steps unrolled             0.8: fewer iterations
  two loops over half batches  0.6: a core each
  gates outside the loop       1.2: coefficients are written and read once more
  one wide projection          0.95: the inputs are read once and not three times
  in two halves of the batch   0.95: smaller arrays, of which more stays in the cache
  one wide array               1.0: of the projected inputs of all gates, by one matmul
  projected inside the loop    1.3: matmuls of few rows
  JAX's gradient               1.3: it adds up the recurrent kernel's cotangent at every step
  JAX's gradient, unroll=2     1.2: fewer iterations
  gates kept                   0.9: no second sigmoid and tanh in the backward loop
"""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import update_tables  # in tools/
from cpu_variants import gru, minimal, scan

from rnnlab import records
from rnnlab.bench.timing import compare_to_bound, prepare, time_interleaved
from rnnlab.malloc import keep_memory
from rnnlab.tables import print_table

OUT = Path("experiments/results/cpu_ablations/rows.jsonl")
REPEATS = 9


def main() -> int:
    keep_memory()
    measured = []
    for tried in (scan, minimal, gru):
        operands = tried.operands()
        for what, forms in tried.GROUPS.items():
            ready = [prepare(form, *operands) for form in forms.values()]
            wanted, *others = (jax.jit(form)(*operands) for form in forms.values())
            for found in others:
                pairs = zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True)
                assert all(jnp.allclose(x, y, rtol=1e-3, atol=1e-3) for x, y in pairs)
            seconds = time_interleaved([r.call for r in ready], REPEATS)
            for how, prepared, taken in zip(forms, ready, seconds, strict=True):
                found = {
                    "benchmark": "tried_on_cpu",
                    **records.environment(jax.devices()[0]),
                    "what": what,
                    "how": how,
                    "shape": tried.SHAPE,
                    "seed": 0,
                    "repeats": REPEATS,
                    **compare_to_bound(prepared, taken, seconds[0]),
                }
                records.append(OUT, found)
                measured.append(found)
    print_table(update_tables.tried_table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
