"""What does a minimal layer's training step cost, relative to its matmuls?

Command:  rnnlab bench layer --out experiments/results/layer_overhead
Device:   2 cores of a shared x86 machine; 1 minute.
Result:   experiments/results/layer_overhead/rows.jsonl, and a table in docs/performance.md.

Expected on a CPU: at most 1.35 times the matmuls, 1.1 times at best; gates and recurrence read
and write 9 arrays of the layer's size in a minGRU, 12 in a minLSTM.
"""

import sys
from pathlib import Path

from rnnlab.bench.layer import LayerBenchmark
from rnnlab.cli.bench import run

RESULTS = Path(__file__).parent.parent / "results"
EXPERIMENT = LayerBenchmark(out=RESULTS / "layer_overhead")

if __name__ == "__main__":
    sys.exit(run(EXPERIMENT))
