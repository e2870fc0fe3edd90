"""How much faster is a minimal cell at the paper's batch size and lengths?

Command:  rnnlab speedup --out experiments/results/speedup_paper_size --lengths 512 4096
          --cells gru lstm mingru minlstm --batch-size 64 --passes train --repeats 3
          --python-loop-max-length 4096
Device:   2 cores of a shared x86 machine; 5 minutes.
Result:   experiments/results/speedup_paper_size/rows.jsonl and figure.png, and a table in
          docs/benchmarks.md.

The paper: 175x and 235x at length 512, 1324x and 1361x at 4096 (arXiv 2410.01201, section 4.1).
Its ratio grows with the length because the time of its minimal cells hardly grows on a GPU that
they do not fill. Two cores are full at length 512, so the ratio is expected to stay the same.
"""

import sys
from pathlib import Path

from rnnlab.bench.speedup import SpeedupBenchmark
from rnnlab.cli.bench import run

RESULTS = Path(__file__).parent.parent / "results"
EXPERIMENT = SpeedupBenchmark(
    cells=("gru", "lstm", "mingru", "minlstm"),
    lengths=(512, 4096),
    batch_size=64,
    passes=("train",),
    repeats=3,
    python_loop_max_length=4096,
    out=RESULTS / "speedup_paper_size",
)

if __name__ == "__main__":
    sys.exit(run(EXPERIMENT))
