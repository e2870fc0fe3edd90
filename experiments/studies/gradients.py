"""Does the largest eigenvalue decide whether gradients vanish, and what do gates change?

Command:  python experiments/studies/gradients.py
Device:   one core; 1 minute.
Result:   experiments/results/gradients/rows.jsonl and the table in docs/claims.md.

Each row is one cell of 64 features as it is initialised, read by inputs of one size over 100
steps; its rate is the factor by which the gradient of the last state shrinks or grows at a step on
its way back: the slope of its norm's logarithm over the last 50 steps.

Expected: an Elman RNN with inputs near 0 has its recurrent matrix' spectral radius as its rate,
0.9, 1.0 and 1.1, to 1%. With inputs of size 1, tanh saturates and every radius vanishes, also one
above 1. GRU and LSTM vanish more slowly than the Elman RNN; a minimal cell at most at the rate of
its slowest unit, and nothing of it explodes.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import update_tables  # in tools/
from flax import nnx

from rnnlab import CELLS, VanillaRNN, records
from rnnlab.analysis import gradient_flow, lyapunov_exponents
from rnnlab.tables import print_table

OUT = Path("experiments/results/gradients/rows.jsonl")
WIDTH, LENGTH, TAIL, BATCH = 64, 100, 50, 8


def cells() -> Iterator[tuple[str, nnx.Module, float]]:
    """Cells by what they are called, and the size of their inputs."""
    for radius in (0.9, 1.0, 1.1):
        for size in (1e-6, 1.0):
            cell = VanillaRNN(WIDTH, WIDTH, rngs=nnx.Rngs(0))
            kernel = np.array(cell.recurrent_kernel[...])
            kernel *= radius / np.abs(np.linalg.eigvals(kernel)).max()
            cell.recurrent_kernel[...] = jnp.asarray(kernel)
            yield f"rnn, spectral radius {radius}", cell, size
    for name, cell in CELLS.items():
        if name != "rnn":
            yield name, cell(WIDTH, WIDTH, rngs=nnx.Rngs(0)), 1.0


def last(ys: jax.Array) -> jax.Array:
    return ys[:, -1].sum()


def main() -> int:
    noise = jax.random.normal(jax.random.key(0), (BATCH, LENGTH, WIDTH))
    measured = []
    for name, cell, size in cells():
        carry = cell.initial_carry((BATCH,))
        flow = gradient_flow(cell, carry, size * noise, last)["cell"]
        slope = np.polyfit(np.arange(TAIL), np.log(np.median(flow[:, -TAIL:], 0)), 1)[0]
        exponent = lyapunov_exponents(cell, carry, size * noise).mean()
        row = {
            "benchmark": "gradients",
            **records.environment(jax.devices()[0]),
            "cell": name,
            "width": WIDTH,
            "length": LENGTH,
            "input_size": size,
            "seed": 0,
            "rate": float(np.exp(-slope)),
            "lyapunov_rate": float(jnp.exp(exponent)),
            "kept_after_50": float(np.median(flow[:, -51] / flow[:, -1])),
        }
        records.append(OUT, row)
        measured.append(row)
    print_table(update_tables.gradients_table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
