"""`rnnlab inspect`: a trained model's gradients, memory, gates and states, as pictures."""

import jax.numpy as jnp
import numpy as np
from jax import Array

from rnnlab.atomic_io import reject_symlinks
from rnnlab.cli.commands import Inspect
from rnnlab.runs.api import load_trained_model
from rnnlab.tables import print_table
from rnnlab.tasks.batch import Batch
from rnnlab.tasks.data import TaskData
from rnnlab.tasks.text import encode

STEPS = 120
"""Of a run's own data, where no text is given."""


def inspect(command: Inspect) -> int:
    """Shows the table and writes the pictures. Returns the exit code.

    Raises:
      ValueError: text was given for a run of something else, is too short, or has symbols that the
        run's data has not.
    """
    # They draw, and that takes most of a second to import.
    from rnnlab.analysis import report
    from rnnlab.plotting import save_figure

    model, data = load_trained_model(command.folder, strict=command.strict)
    xs, labels = _inputs(command, data)
    print_table(report.table(model, xs))
    out = command.out or command.folder / "inspect"
    if command.out is None:
        reject_symlinks(command.folder)
    for name, figure in report.figures(model, xs, labels):
        save_figure(figure, out / f"{name}.png")
        print("Written:", out / f"{name}.png", flush=True)
    return 0


def _longest(batch: Batch) -> np.ndarray:
    """The inputs of a batch's longest row, without padding, up to the next sequence in it."""
    mask = np.ones(batch.inputs.shape[:2], bool) if batch.mask is None else batch.mask
    row = int(np.argmax(mask.sum(1)))
    end = int(mask[row].sum())
    if batch.reset is not None and batch.reset[row, 1:end].any():
        end = 1 + int(np.argmax(batch.reset[row, 1:end]))
    return batch.inputs[row, :end]


def _inputs(command: Inspect, data: TaskData) -> tuple[Array, list[str] | None]:
    """One sequence, and what its steps are called."""
    if command.text is None:
        xs = jnp.asarray(_longest(data.train_batch(0))[:STEPS])
        return xs, [data.vocabulary[int(k)] for k in xs] if data.vocabulary else None
    if not data.vocabulary:
        raise ValueError(f"{command.folder} is no run of text; leave --text out")
    ids = encode(command.text, data.vocabulary)
    if len(ids) < 2:
        raise ValueError(f"text has {len(ids)} symbols; at least 2 are needed")
    return jnp.asarray(ids, jnp.int32), [data.vocabulary[k] for k in ids]
