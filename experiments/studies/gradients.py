"""Does the largest eigenvalue decide whether gradients vanish, and what do gates change?

Command:  python experiments/studies/gradients.py
Device:   one core; 1 minute.
Result:   experiments/results/gradients/rows.jsonl and a table in docs/claims.md.

Each record is one cell of 64 features, as initialized, with inputs of one scale over 100 time
steps. Its gradient factor is the factor per time step by which the gradient of the last state
shrinks or grows on its way back: the slope of the logarithm of its norm over the last 50 steps.

Expected: an Elman RNN with inputs near 0 has the spectral radius of its recurrent matrix as its
factor, 0.9, 1.0 and 1.1, to 1%. With inputs of scale 1, tanh saturates and the gradient vanishes
for every radius, also above 1. GRU and LSTM vanish more slowly than the Elman RNN; a minimal cell
at most at the rate of its slowest unit, and no gradient of it explodes.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from rnnlab import CELLS, VanillaRNN, provenance, records
from rnnlab.analysis import gradient_flow, lyapunov_exponents
from rnnlab.bench.base import Column, key_column, make_table
from rnnlab.records import Record
from rnnlab.registry import compared_cells
from rnnlab.tables import Table, print_table

OUT = Path(__file__).parent.parent / "results" / "gradients" / "rows.jsonl"
WIDTH, LENGTH, TAIL, BATCH = 64, 100, 50, 8
COLUMNS = (
    key_column("cell"),
    Column("input scale", lambda r: f"{r['input_size']:g}"),
    Column("gradient factor per step", lambda r: f"{r['rate']:.4f}"),
    Column("from the Lyapunov exponent", lambda r: f"{r['lyapunov_rate']:.4f}"),
    Column("gradient left after 50 steps", lambda r: f"{r['kept_after_50']:.1e}"),
)


def table(measured: Sequence[Record]) -> Table:
    """One table row per cell and input scale."""
    title = f"{measured[0]['width']} features over {measured[0]['length']:,} time steps"
    return make_table(title, COLUMNS, measured, ())


def cells() -> Iterator[tuple[str, nnx.Module, float]]:
    """Yields the name of a cell, the cell, and the scale of its inputs."""
    for radius in (0.9, 1.0, 1.1):
        for scale in (1e-6, 1.0):
            cell = VanillaRNN(WIDTH, WIDTH, rngs=nnx.Rngs(0))
            kernel = np.array(cell.recurrent_kernel[...])
            kernel *= radius / np.abs(np.linalg.eigvals(kernel)).max()
            cell.recurrent_kernel[...] = jnp.asarray(kernel)
            yield f"rnn, spectral radius {radius}", cell, scale
    for name in compared_cells():
        yield name, CELLS[name](WIDTH, WIDTH, rngs=nnx.Rngs(0)), 1.0


def last(ys: jax.Array) -> jax.Array:
    return ys[:, -1].sum()


def main() -> int:
    noise = jax.random.normal(jax.random.key(0), (BATCH, LENGTH, WIDTH))
    measured = []
    for name, cell, scale in cells():
        carry = cell.initial_carry((BATCH,))
        flow = gradient_flow(cell, carry, scale * noise, last)["cell"]
        slope = np.polyfit(np.arange(TAIL), np.log(np.median(flow[:, -TAIL:], 0)), 1)[0]
        exponent = lyapunov_exponents(cell, carry, scale * noise).mean()
        record = {
            "benchmark": "gradients",
            **provenance.environment(jax.devices()[0]),
            "cell": name,
            "width": WIDTH,
            "length": LENGTH,
            "input_size": scale,
            "seed": 0,
            "rate": float(np.exp(-slope)),
            "lyapunov_rate": float(jnp.exp(exponent)),
            "kept_after_50": float(np.median(flow[:, -51] / flow[:, -1])),
        }
        records.append(OUT, record)
        measured.append(record)
    print_table(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
