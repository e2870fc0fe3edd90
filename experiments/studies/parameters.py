"""How many parameters does a minimal cell have, relative to the classic cell that it replaces?

Command:  python experiments/studies/parameters.py
Device:   any; seconds.
Result:   experiments/results/parameters/rows.jsonl and a table in docs/claims.md.
Paper:    with a state 1, 2, 3 and 4 times as wide as the input, a minGRU has about 33%, 22%, 17%
          and 13% of a GRU's parameters, a minLSTM 38%, 25%, 19% and 15% of an LSTM's
          (arXiv 2410.01201, sections 3.1.3 and 3.2.4).
Expected: the same to a percentage point, because both count the same matrices.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import jax
from flax import nnx

from rnnlab import CELLS, provenance, records
from rnnlab.bench.base import Column, key_column, make_table
from rnnlab.models.config import count_parameters
from rnnlab.records import Record
from rnnlab.registry import minimal_counterparts
from rnnlab.tables import Table, print_table

OUT = Path(__file__).parent.parent / "results" / "parameters" / "rows.jsonl"
IN_FEATURES = 256
COLUMNS = (
    key_column("cell"),
    Column("input × state", lambda r: f"{r['in_features']} × {r['features']}"),
    Column("parameters", lambda r: f"{r['parameters']:,}"),
    key_column("classic", "classic cell"),
    Column("parameters of the classic cell", lambda r: f"{r['classic_parameters']:,}"),
    Column("fraction", lambda r: f"{r['parameters'] / r['classic_parameters']:.1%}"),
)


def table(measured: Sequence[Record]) -> Table:
    """One table row per pair of cells and size."""
    return make_table("bare cells, biases included", COLUMNS, measured, ())


def main() -> int:
    measured = []
    for classic, minimal in minimal_counterparts().items():
        for expansion in (1, 2, 3, 4):
            sizes = IN_FEATURES, expansion * IN_FEATURES
            counts = [
                count_parameters(CELLS[name](*sizes, rngs=nnx.Rngs(0)))
                for name in (minimal, classic)
            ]
            record = {
                "benchmark": "parameters",
                **provenance.environment(jax.devices()[0]),
                "cell": minimal,
                "classic": classic,
                "in_features": sizes[0],
                "features": sizes[1],
                "seed": 0,
                "parameters": counts[0],
                "classic_parameters": counts[1],
            }
            records.append(OUT, record)
            measured.append(record)
    print_table(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
