"""How close is each backend of the scan to its bandwidth bound?

Command:  rnnlab bench scan --out experiments/results/scan_bandwidth
Device:   2 cores of a shared x86 machine; 1 minute.
Result:   experiments/results/scan_bandwidth/rows.jsonl and figure.png, and a table in docs/scan.md.

Expected on a CPU: the sequential loop within 1.3 times the bound, forward + backward, for arrays
of megabytes, and at least 2.2 times as fast there as jax.lax.associative_scan with JAX's own
gradient. With few lanes (batch x features) and long sequences the overhead per time step dominates.
"""

import sys
from pathlib import Path

from rnnlab.bench.scan import ScanBenchmark
from rnnlab.cli.bench import run

RESULTS = Path(__file__).parent.parent / "results"
EXPERIMENT = ScanBenchmark(out=RESULTS / "scan_bandwidth")

if __name__ == "__main__":
    sys.exit(run(EXPERIMENT))
