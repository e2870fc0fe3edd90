"""How far is each backend of the scan from the time of its bytes?

Command:  rnnlab bench scan --out experiments/scan_floor
Device:   2 cores of a shared x86 machine; 1 minute.
Result:   experiments/results/scan_bandwidth/rows.jsonl and scan.png, and the table in docs/scan.md.

Expected on CPU: the sequential loop within 1.3 times the floor, forward + backward, where arrays
are megabytes, and at least 2.2 times as fast there as jax.lax.associative_scan with JAX's own
gradient. With few lanes (batch x features) and a long sequence the loop pays for its steps.
"""

import sys
from pathlib import Path

from rnnlab.bench.scan import Scan
from rnnlab.cli.bench import run

EXPERIMENT = Scan(out=Path("experiments/scan_floor"))

if __name__ == "__main__":
    sys.exit(run(EXPERIMENT))
