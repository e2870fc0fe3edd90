"""Drawings as movements of a pen: the density of the next point."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rnnlab.datasets import dataset_files
from rnnlab.heads import Mixture
from rnnlab.tasks.batch import Batch, arrays, loss_mask
from rnnlab.tasks.batching.padding import split_batches
from rnnlab.tasks.batching.strategies import training_batches
from rnnlab.tasks.data import RngStream, TaskData, rng_for
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.readers.strokes import PARTS, Drawings, read_strokes
from rnnlab.tasks.reference import stroke_scores
from rnnlab.tasks.sketch_coding import PEN_STATES, SketchCoding
from rnnlab.tasks.sketch_preparation import SketchPreparation
from rnnlab.tasks.splits import stratified
from rnnlab.tasks.wording import counted
from rnnlab.validation import require_positive_int

HELD_OUT = 0.1
"""Share of a user's drawings that are validated on, and tested on, where the file has no parts."""


@dataclass(frozen=True)
class Sketches:
    """Predict the next point of a drawing: a mixture density of the movement, and the pen.

    The default data are the letters of Omniglot, 32,000 drawings of people who copied characters of
    50 alphabets. A time step is a point. Several drawings share a row of a batch, each after a
    reset.

    Movements on a grid have no density: a model that is sure of one gets a likelihood without
    bound. Targets therefore get uniform noise of the width of the grid, new in every update and
    fixed in evaluation; inputs stay exact. The metrics are nats per point, in units of the grid: of
    movement and pen together, and of the pen. They are an upper bound of the negative log
    likelihood of the points of the grid.

    Baselines are one normal distribution and a mixture of 10 of all movements, and one mixture for
    each state of the pen before, with the frequencies of the pen.

    Attributes:
      path: an `.npz` file with the arrays `train`, `valid` and `test` as those of Quick, Draw!, or
        `strokes` and `lengths`, see `rnnlab.tasks.readers.strokes.read_strokes`; or the folder of
        the data set `omniglot-strokes`; None is the folder of `rnnlab data`.
      components: normal distributions of the mixture.
      noise: width of the noise, in the units of the data; None: the greatest common divisor of all
        movements where they are integers, else 0.
      length: points of the longest drawing; a longer one is cut.
      batch_size: rows per batch.

    Raises:
      ValueError: a setting is out of range.
      DataError: the file is missing or not readable.

    Source: Graves, arXiv 1308.0850, section 4.1; Ha and Eck, arXiv 1704.03477, for the end of a
    drawing.

    >>> Sketches(components=5).batch_size
    16
    """

    path: Path | None = None
    components: int = 20
    noise: float | None = None
    length: int = 200
    batch_size: int = 16

    def __post_init__(self):
        sizes = {"components": self.components, "length": self.length}
        require_positive_int(**sizes, batch_size=self.batch_size)
        if self.noise is not None and not 0 <= self.noise < float("inf"):
            raise ValueError(f"noise must be >= 0 and finite, got {self.noise}; raise it")

    def load(self, seed: int) -> TaskData:
        """Reads the drawings. `seed` orders the training batches and draws their noise."""
        coding, parts = _parts(self)
        train = coding.packed(parts["train"])
        evaluated = _evaluated(coding, parts)
        digest = fingerprint(
            *(x for part in (train, *evaluated.values()) for x in arrays(part)), f"{coding}"
        )
        head = Mixture(self.components, PEN_STATES)
        preparation = SketchPreparation(coding, head, self.batch_size, parts["test"])
        count = sum(map(len, parts["train"]))
        sizes = ", ".join(counted(len(parts[name]), "drawing") for name in PARTS)
        return TaskData(
            loss=head,
            metrics=tuple(stroke_scores.METRICS),
            out_features=head.out_features,
            train_batch=self._train_batches(coding, train, seed),
            eval_sets={
                name: functools.partial(split_batches, part, min(self.batch_size, len(part.inputs)))
                for name, part in evaluated.items()
            },
            baselines=lambda: _baselines(self, digest),
            in_features=coding.in_features,
            autoregressive=True,
            decode=functools.partial(_decode, preparation),
            fingerprint=digest,
            preparation=preparation,
            notes=(
                f"{sizes} to train, validate and test on; {counted(count, 'point')} in the first; "
                f"movements deviate by {coding.scale:.4g}, with noise of width {coding.noise:g}.",
            ),
        )

    def _train_batches(
        self, coding: SketchCoding, train: Batch, seed: int
    ) -> Callable[[int], Batch]:
        take = training_batches(train, "pad", self.batch_size, seed)
        return lambda n: coding.noisy(take(n), rng_for(RngStream.AUGMENT, seed, n))


def _parts(task: Sketches) -> tuple[SketchCoding, dict[str, Drawings]]:
    """The scale and the parts of the drawings."""
    if task.path is None or Path(task.path).is_dir():
        path = dataset_files("omniglot-strokes", task.path)["omniglot.npz"]
    else:
        path = Path(task.path)
    parts = read_strokes(path)
    if "" in parts:
        drawings = parts.pop("")
        indices = stratified(np.zeros(len(drawings), int), [HELD_OUT, HELD_OUT])
        chosen = ([drawings[k] for k in part] for part in indices)
        parts = dict(zip(PARTS, chosen, strict=True))
    movements = np.concatenate(parts["train"])[:, :2].astype(np.float64)
    scale = float(np.sqrt(movements.var(axis=0).mean())) or 1.0
    noise = task.noise
    if noise is None:
        noise = _grid(movements)
    return SketchCoding(scale, noise, task.length), parts


def _grid(movements: np.ndarray) -> float:
    """The width of the grid that all movements are on; 0 where they are not integers."""
    integers = np.abs(movements).astype(np.int64)
    if not (integers == np.abs(movements)).all():
        return 0.0
    return float(np.gcd.reduce(integers, axis=None) or 1)


def _evaluated(coding: SketchCoding, parts: dict[str, Drawings]) -> dict[str, Batch]:
    """The evaluation sets, with their fixed noise."""
    return {
        name: coding.noisy(coding.packed(parts[name]), rng_for(RngStream.EVAL, number))
        for number, name in enumerate(PARTS[1:])
    }


def _decode(
    preparation: SketchPreparation, outputs: np.ndarray, batch: Batch
) -> list[tuple[float, float]]:
    """The nats of the movement and of the pen of each point."""
    keep = loss_mask(batch).any(-1)
    movement, pen = preparation.nats(outputs[keep], batch.targets[keep])
    return list(zip(movement.tolist(), pen.tolist(), strict=True))


@functools.lru_cache(maxsize=2)
def _baselines(task: Sketches, digest: str) -> dict[str, dict[str, float]]:
    """The baselines of a task and the digest of its data: fitted once for all runs of a grid."""
    del digest
    coding, parts = _parts(task)
    train = coding.noisy(coding.packed(parts["train"]), rng_for(RngStream.FIXED, 0))
    test = _evaluated(coding, parts)["test"]
    units = np.array([coding.scale / coding.unit, coding.scale / coding.unit, 1])
    return stroke_scores.scores(
        *([units * x for x in _sequences(part)] for part in (train, test)), PEN_STATES
    )


def _sequences(packed: Batch) -> list[np.ndarray]:
    """The targets of each drawing."""
    flat = packed.targets[packed.mask]
    return np.split(flat, np.flatnonzero(packed.reset[packed.mask])[1:])
