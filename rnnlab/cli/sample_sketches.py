"""A picture of drawings of a model, for `rnnlab sample`."""

import jax
import numpy as np

from rnnlab.analysis import sketch_plots
from rnnlab.cli.commands import Sample
from rnnlab.cli.outputs import default_directory
from rnnlab.models.generate_strokes import generate_strokes
from rnnlab.plotting import require_replaceable, save_figure
from rnnlab.runs.trained_model import TrainedModel
from rnnlab.tasks.sketch_preparation import SketchPreparation

COUNT = 40
"""Drawings of a picture, and of real ones below them."""


def sample_sketches(command: Sample, trained: TrainedModel, preparation: SketchPreparation) -> int:
    """Writes sketches.png: new drawings, and of a run drawings of its test part below them.

    Raises:
      ValueError: an option is out of range, or the file exists and is not a figure of rnnlab.
    """
    out = default_directory(command.folder) / "sketches.png"
    require_replaceable(out)
    coding = preparation.coding
    points = generate_strokes(
        trained.model,
        preparation.head,
        COUNT,
        min(command.length, coding.length),
        jax.random.key(command.seed),
        temperature=command.temperature,
        grid=coding.noise / coding.scale,
    )
    drawings = [coding.drawing(x) for x in np.asarray(points, np.float64)]
    groups = {f"drawn by the model at temperature {command.temperature:g}": drawings}
    if preparation.test is not None:
        chosen = np.random.default_rng(command.seed).permutation(len(preparation.test))[:COUNT]
        groups["drawn by people (test part)"] = [preparation.test[k] for k in chosen]
    save_figure(sketch_plots.figure(groups), out)
    print("Written:", out, flush=True)
    return 0
