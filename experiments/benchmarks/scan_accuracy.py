"""How accurate is each form of the recurrence, by length, dtype and decay range?

Command:  rnnlab bench accuracy --out experiments/results/scan_accuracy
Device:   any; 5 minutes on 2 CPU cores.
Result:   experiments/results/scan_accuracy/rows.jsonl, and a table in docs/scan.md.

Expected: both real-space forms near float32 rounding at every length; the relative error of the
published log-space form grows with the length, and in 16 bit no correct digit remains. The paper
trains in log space "for numerical stability" (arXiv 2410.01201, appendix B) and reports no errors.
"""

import sys
from pathlib import Path

from rnnlab.bench.accuracy import AccuracyBenchmark
from rnnlab.cli.bench import run

RESULTS = Path(__file__).parent.parent / "results"
EXPERIMENT = AccuracyBenchmark(out=RESULTS / "scan_accuracy")

if __name__ == "__main__":
    sys.exit(run(EXPERIMENT))
