"""Do classic cells converge in parallel over time, as they are initialized and once trained?

Command:  python experiments/studies/newton.py [RUN ...]
          RUN is the directory of a finished run of experiments/training/char_lm.py with the cell
          rnn, gru or lstm.
Device:   2 cores of a shared x86 machine; 3 minutes.
Result:   experiments/results/newton/rows.jsonl and a table in docs/performance.md.

Each layer of a trained model reads its own inputs in the model, for 1,024 characters of the end of
the text, which was held out.

Expected: the GRU and the LSTM converge in at most 20 iterations as initialized. A residual shrinks
at the rate at which states forget, so that the RNN, whose units have no decay of their own, needs
about ln(1e6) over its Lyapunov exponent, some 30. On a CPU, where the loop over time is not slow,
an iteration costs about a forward pass, so that Newton's iteration takes as many times longer as it
has iterations; it is meant for a device on which one time step of a loop costs as much as a layer.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import jax
import jax.numpy as jnp

from rnnlab import provenance, records
from rnnlab.analysis import cell_inputs
from rnnlab.bench.base import RECORDS_FILE
from rnnlab.bench.newton_convergence import NewtonBenchmark, measure_cell
from rnnlab.runs.api import load_trained_model
from rnnlab.tables import print_table
from rnnlab.tasks.text import default_text, encode

EXPERIMENT = NewtonBenchmark(out=Path(__file__).parent.parent / "results" / "newton")
STREAMS, LENGTH, REPEATS = 8, 1024, 3


def trained(folder: Path) -> Iterator[records.Record]:
    """Yields a record for each layer of a run's model."""
    model, data = load_trained_model(folder)
    text = encode(default_text()[-STREAMS * LENGTH :], data.vocabulary)
    xs = jnp.asarray(text.reshape(STREAMS, LENGTH), jnp.int32)
    for read in cell_inputs(model, model.initial_carry((STREAMS,)), xs):
        record = {
            "benchmark": "newton",
            **provenance.environment(jax.devices()[0]),
            "cell": type(read.cell).__name__.lower().removeprefix("vanilla"),
            "weights": f"trained, {read.name}",
            "seed": 0,
            "repeats": REPEATS,
            **measure_cell(read.cell, read.xs, REPEATS),
        }
        records.append(EXPERIMENT.out / RECORDS_FILE, record)
        yield record


def main(folders: list[str]) -> None:
    measured = list(EXPERIMENT.run(lambda text: print(text, file=sys.stderr)))
    for folder in folders:
        print(folder, file=sys.stderr)
        measured += trained(Path(folder))
    print_table(EXPERIMENT.table(measured))


if __name__ == "__main__":
    main(sys.argv[1:])
