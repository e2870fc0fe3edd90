"""`rnnlab inspect`: figures of a trained model's gradients, memory, gates and states."""

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

MAX_INSPECT_STEPS = 120
"""Time steps that are read of a run's own data."""


def inspect(command: Inspect) -> int:
    """Prints the table and writes the figures. Returns the exit code.

    Raises:
      DataError: the text has symbols that the run's data does not have.
      ValueError: text was given for a run on other data, or is too short.
    """
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
    """Returns the inputs of a batch's longest example, without padding, up to its first reset."""
    mask = np.ones(batch.inputs.shape[:2], bool) if batch.mask is None else batch.mask
    n = int(np.argmax(mask.sum(1)))
    end = int(mask[n].sum())
    if batch.reset is not None and batch.reset[n, 1:end].any():
        end = 1 + int(np.argmax(batch.reset[n, 1:end]))
    return batch.inputs[n, :end]


def _inputs(command: Inspect, data: TaskData) -> tuple[Array, list[str] | None]:
    """Returns one sequence and the labels of its time steps."""
    if command.text is None:
        xs = jnp.asarray(_longest(data.train_batch(0))[:MAX_INSPECT_STEPS])
        return xs, [data.vocabulary[int(k)] for k in xs] if data.vocabulary else None
    if not data.vocabulary:
        raise ValueError(f"{command.folder} is not a run on text; omit --text")
    ids = encode(command.text, data.vocabulary)
    if len(ids) < 2:
        raise ValueError(f"text must have at least 2 symbols, got {len(ids)}; use a longer --text")
    return jnp.asarray(ids, jnp.int32), [data.vocabulary[k] for k in ids]
