"""The same question at the paper's batch and lengths, its Python loop at every length.

Command:  rnnlab speedup --out experiments/speedup_paper_size --cells gru lstm mingru minlstm
          --lengths 512 4096 --batch-size 64 --passes train --repeats 3 --loop-length 4096
Device:   2 cores of a shared x86 machine; 5 minutes.
Result:   experiments/results/speedup_paper_size/rows.jsonl and speedup.png.

The paper: 175x and 235x at length 512, 1324x and 1361x at 4096 (arXiv 2410.01201, section 4.1).
Its ratio grows with the length because its minimal cells' time hardly does, on a GPU that they do
not fill. Two cores are full at length 512, so the ratio is expected to stay where it is.
"""

import sys
from pathlib import Path

from rnnlab.bench.speedup import Speedup
from rnnlab.cli.bench import run

EXPERIMENT = Speedup(
    cells=("gru", "lstm", "mingru", "minlstm"),
    lengths=(512, 4096),
    batch_size=64,
    passes=("train",),
    repeats=3,
    loop_length=4096,
    out=Path("experiments/speedup_paper_size"),
)

if __name__ == "__main__":
    sys.exit(run(EXPERIMENT))
