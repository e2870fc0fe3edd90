"""What does a minimal layer's training step cost beside its matmuls?

Command:  rnnlab bench layer --out experiments/layer_floor
Device:   2 cores of a shared x86 machine; 1 minute.
Result:   experiments/results/layer_overhead/rows.jsonl, and the table in docs/scan.md.

Expected on CPU: at most 1.35 times the matmuls alone, 1.1 times at best; gates and recurrence read
and write 9 arrays of the layer's size in a minGRU, 12 in a minLSTM.
"""

import sys
from pathlib import Path

from rnnlab.bench.layer import Layer
from rnnlab.cli.bench import run

EXPERIMENT = Layer(out=Path("experiments/layer_floor"))

if __name__ == "__main__":
    sys.exit(run(EXPERIMENT))
