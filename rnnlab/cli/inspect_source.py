"""The alignment of a target with its source, for `rnnlab inspect`."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from rnnlab.cli.commands import Inspect
from rnnlab.cli.outputs import default_directory
from rnnlab.cli.sample_sources import hypotheses
from rnnlab.runs.trained_model import TrainedModel
from rnnlab.tables import Table, print_table, print_text
from rnnlab.tasks.batch import IGNORE_INDEX
from rnnlab.tasks.source_preparation import SourcePreparation


class Example(NamedTuple):
    """A source, the labels of its target with their end where it is known, and its origin."""

    source: np.ndarray
    target: np.ndarray | None
    origin: str


def inspect_source(command: Inspect, trained: TrainedModel) -> int:
    """Prints what each step of a target attends to and writes alignment.png.

    The target is what the decoder generates.

    Raises:
      DataError: the source has a symbol that the training lacks.
      ValueError: the run is not on texts, an option is of other models, or the sequence does not
        exist.
    """
    from rnnlab.analysis.alignments import alignment_figure
    from rnnlab.plotting import save_figure

    preparation = trained.data.preparation
    if not isinstance(preparation, SourcePreparation):
        raise ValueError(
            f"{command.folder} must be a run on texts to show alignments, got a task without their "
            "preparation; call alignments of its model"
        )
    if command.time_step is not None:
        raise ValueError(
            "time_step must be None for an encoder-decoder, all of whose time steps are drawn, got "
            f"{command.time_step}; remove --time-step"
        )
    example = _given(command, preparation) or _from_data(command, trained)
    found = hypotheses(trained, preparation, example.source, None)
    labels = np.asarray(found.labels[0, : int(found.lengths[0])])
    decoding = preparation.decoding
    inputs = jnp.asarray(np.append(decoding.begin, labels))[None]
    weights = {
        f"decoder layer {k}": np.asarray(x[0])
        for k, x in enumerate(
            trained.model.alignments(inputs, source=jnp.asarray(example.source)[None])
        )
    }
    source = preparation.source_symbols(example.source)
    target = preparation.target_symbols(np.append(labels, decoding.end))
    title = f"{' '.join(source)}: {preparation.target_text(labels)}"
    print_text(
        f"{example.origin}. Generated: {preparation.target_text(labels)} (log probability "
        f"{float(found.scores[0]):.3f})."
    )
    if example.target is not None:
        print_text(f"Target: {preparation.target_text(example.target)}.")
    print_table(_table(weights, source, target))
    out = (command.out or default_directory(command.folder) / "inspect") / "alignment.png"
    save_figure(alignment_figure(weights, source, target, title=title), out)
    print("Written:", out, flush=True)
    return 0


def _table(weights, source, target) -> Table:
    """The position of the source with the largest mean weight, by layer, for each time step."""

    def most(x: np.ndarray) -> str:
        position = int(x.argmax())
        return f"{source[position]} ({position}) {x[position]:.2f}"

    means = [x.mean(0) for x in weights.values()]
    lines = [(name, *(most(x[t]) for x in means)) for t, name in enumerate(target)]
    return Table("Attention: symbol, position, weight", ("predicted", *weights), lines)


def _given(command: Inspect, preparation: SourcePreparation) -> Example | None:
    """Returns the source of the command's text."""
    if command.text is None:
        return None
    if command.sequence is not None:
        raise ValueError("--text and --sequence choose different sources; omit one of them")
    return Example(preparation.encode_source(command.text), None, "The given source")


def _from_data(command: Inspect, trained: TrainedModel) -> Example:
    """Returns a source of the last evaluation set: the given one, or its first one."""
    data = trained.data
    if not data.eval_sets:
        raise ValueError(f"{command.folder} must have a source, and is a bundle; pass --text")
    name, batches = list(data.eval_sets.items())[-1]
    end = data.decoding.end
    number, count = command.sequence or 0, 0
    for batch in batches():
        mask = batch.source.mask
        real = np.ones(len(batch.inputs), bool) if mask is None else mask.any(1)
        if 0 <= number - count < real.sum():
            n = int(np.flatnonzero(real)[number - count])
            source = batch.source.inputs[n] if mask is None else batch.source.inputs[n][mask[n]]
            target = batch.targets[n]
            target = target[(target != IGNORE_INDEX) & (target != end)]
            return Example(source, target, f"Example {number} of the {name} set")
        count += int(real.sum())
    raise ValueError(
        f"sequence must be in 0 to {count - 1}, the examples of the {name} set, got "
        f"{command.sequence}; choose another --sequence"
    )
