"""How many parameters does a minimal cell have, beside the classic one that it replaces?

Command:  python experiments/studies/parameters.py
Device:   any; seconds.
Result:   experiments/results/parameters/rows.jsonl and the table in docs/claims.md.
Paper:    with a state 1, 2, 3 and 4 times as wide as the input, a minGRU has about 33%, 22%, 17%
          and 13% of a GRU's parameters, a minLSTM 38%, 25%, 19% and 15% of an LSTM's
          (arXiv 2410.01201, sections 3.1.3 and 3.2.4).
Expected: the same to a percentage point, as both are counts of the same matrices.
"""

import sys
from pathlib import Path

import jax
import update_tables  # in tools/
from flax import nnx

from rnnlab import CELLS, records
from rnnlab.bench.speedup_table import CLASSIC_COUNTERPART
from rnnlab.models.config import count_parameters
from rnnlab.tables import print_table

OUT = Path("experiments/results/parameters/rows.jsonl")
IN_FEATURES = 256


def main() -> int:
    measured = []
    for classic, minimal in CLASSIC_COUNTERPART.items():
        for expansion in (1, 2, 3, 4):
            sizes = IN_FEATURES, expansion * IN_FEATURES
            counts = [
                count_parameters(CELLS[name](*sizes, rngs=nnx.Rngs(0)))
                for name in (minimal, classic)
            ]
            row = {
                "benchmark": "parameters",
                **records.environment(jax.devices()[0]),
                "cell": minimal,
                "classic": classic,
                "in_features": sizes[0],
                "features": sizes[1],
                "seed": 0,
                "parameters": counts[0],
                "classic_parameters": counts[1],
            }
            records.append(OUT, row)
            measured.append(row)
    print_table(update_tables.parameters_table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
