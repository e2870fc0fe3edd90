"""Which form of the recurrence keeps its digits, over length, dtype and gate range?

Command:  rnnlab bench accuracy --out experiments/scan_error
Device:   any; 5 minutes on 2 CPU cores.
Result:   experiments/results/scan_accuracy/rows.jsonl, and the table in docs/scan.md.

Expected: both real-space forms near float32 rounding at every length; the published log-space form
loses digits in proportion to the length and all of them in 16 bit. The paper trains in log space
"for numerical stability" (arXiv 2410.01201, appendix B) and reports no errors.
"""

import sys
from pathlib import Path

from rnnlab.bench.accuracy import Accuracy
from rnnlab.cli.bench import run

EXPERIMENT = Accuracy(out=Path("experiments/scan_error"))

if __name__ == "__main__":
    sys.exit(run(EXPERIMENT))
