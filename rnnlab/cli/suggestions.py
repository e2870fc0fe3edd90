"""Suggestions for a command, a file or an option that does not exist."""

from collections.abc import Iterable
from difflib import get_close_matches

OTHER_NAMES = {
    "alpha": "train.learning-rate",
    "batch": "data.batch-size",
    "batch-size": "data.batch-size",
    "bs": "data.batch-size",
    "cell": "model.cell",
    "checkpoint-every": "train.eval-every",
    "checkpoint-interval": "train.eval-every",
    "clip": "train.grad-clip-norm",
    "d-model": "model.width",
    "depth": "model.depth",
    "dim": "model.width",
    "dropout": "model.dropout",
    "epochs": "train.steps",
    "eval-interval": "train.eval-every",
    "eval-steps": "train.eval-every",
    "grad-clip": "train.grad-clip-norm",
    "hidden": "model.width",
    "hidden-dim": "model.width",
    "hidden-size": "model.width",
    "iterations": "train.steps",
    "iters": "train.steps",
    "layers": "model.depth",
    "learning-rate": "train.learning-rate",
    "length": "data.length",
    "lr": "train.learning-rate",
    "max-steps": "train.steps",
    "model": "model.cell",
    "n-layers": "model.depth",
    "num-epochs": "train.steps",
    "num-layers": "model.depth",
    "num-steps": "train.steps",
    "path": "data.path",
    "save-every": "train.eval-every",
    "save-interval": "train.eval-every",
    "save-steps": "train.eval-every",
    "seed": "train.seed",
    "seq-len": "data.length",
    "seq-length": "data.length",
    "steps": "train.steps",
    "warmup": "train.warmup-steps",
    "wd": "train.weight-decay",
    "weight-decay": "train.weight-decay",
    "width": "model.width",
}
"""Options by the names that other libraries give them. Each evaluation also saves a checkpoint."""


def similar(word: str, known: Iterable[str]) -> str | None:
    """Returns the known word that is most like `word`, or None if none is alike.

    >>> similar("spedup", ["speedup", "bench"])
    'speedup'
    """
    return next(iter(get_close_matches(word, list(known), 1, 0.7)), None)


def other_name(name: str, known: Iterable[str]) -> str | None:
    """Returns the option that other libraries call `name`, or None."""
    meant = OTHER_NAMES.get(_last_part(name))
    return meant if meant in known else None


def option(name: str, known: Iterable[str]) -> str | None:
    """Returns the option that a reader may mean, or None.

    A name that other libraries use is translated; a similar spelling counts only for the last part
    of a name of four letters or more, where it cannot select an unrelated short option.

    Args:
      name: an option that does not exist, without the leading dashes.
      known: the options that exist.

    >>> option("train.lr", ["train.l1", "train.learning-rate"])
    'train.learning-rate'
    >>> option("train.stpes", ["train.steps"]), option("train.l3", ["train.l1"])
    ('train.steps', None)
    """
    known, last = list(known), _last_part(name)
    if meant := other_name(name, known):
        return meant
    if len(last) < 4:
        return None
    by_last = {k.rpartition(".")[2]: k for k in known}
    return similar(name, known) or by_last.get(similar(last, by_last))


def _last_part(name: str) -> str:
    return name.rpartition(".")[2].replace("_", "-")
