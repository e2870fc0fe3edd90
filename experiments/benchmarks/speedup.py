"""How much faster does a minimal cell train here than the cell that it replaces?

Command:  rnnlab speedup --out experiments/results/speedup
Device:   2 cores of a shared x86 machine; 2 minutes.
Result:   experiments/results/speedup/rows.jsonl and figure.png, and a table in docs/benchmarks.md.

The paper reports that minGRU and minLSTM train 175 and 235 times as fast as GRU and LSTM at length
512 (arXiv 2410.01201, section 4.1: a T4 GPU, batch 64, the classic cells as a Python loop). Nothing
here is that GPU, so the expected number is smaller; the question is how it depends on what the
minimal cell is compared with.
"""

import sys
from pathlib import Path

from rnnlab.bench.speedup import SpeedupBenchmark
from rnnlab.cli.bench import run

RESULTS = Path(__file__).parent.parent / "results"
EXPERIMENT = SpeedupBenchmark(out=RESULTS / "speedup")

if __name__ == "__main__":
    sys.exit(run(EXPERIMENT))
