"""Next items of sessions: recommendation from what a visitor has seen so far."""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple, get_args

import numpy as np

from rnnlab.datasets import dataset_files
from rnnlab.errors import DataError
from rnnlab.tasks.batch import Batch, arrays, loss_mask
from rnnlab.tasks.batching.padding import split_batches
from rnnlab.tasks.batching.strategies import training_batches
from rnnlab.tasks.data import RngStream, TaskData, rng_for
from rnnlab.tasks.fingerprint import fingerprint
from rnnlab.tasks.readers.dates import parse_date
from rnnlab.tasks.readers.entree import read_entree
from rnnlab.tasks.readers.sessions import SessionColumns, SessionLog, read_sessions
from rnnlab.tasks.reference import next_action, next_item
from rnnlab.tasks.reference.ranking_scores import ranks
from rnnlab.tasks.session_coding import UNKNOWN, SessionCoding, Target
from rnnlab.tasks.session_preparation import SessionPreparation
from rnnlab.tasks.wording import counted
from rnnlab.validation import require_one_of, require_positive_int

Loss = Literal["softmax", "bpr_max", "top1_max"]

ENTREE_PARTS = ("1998-09-28", "1998-12-28 00:30")
"""Starts of the validation and the test part of the Entree log, where its files of quarters do."""

SHARE = 0.15
"""Share of the sessions of a user's log that are in the validation part, and in the test part."""


class Session(NamedTuple):
    """One session: items as classes of the training part, and actions, -1 where unknown."""

    items: np.ndarray
    actions: np.ndarray


@dataclass(frozen=True)
class Sessions:
    """Predict the next item of each session from the items before it, or what the user does.

    The default data are the visits of Entree, a recommender of restaurants in Chicago, from 1996 to
    1999: which restaurant is shown next. The next restaurant is largely the answer of that system
    to what the visitor asks for, so that counts of what followed are strong predictors. The
    question about the visitor is the other target: which action, such as "cheaper", she chooses.

    Parts are split by time: the latest sessions are the test part. A next item that the training
    part does not have counts as a miss. Ranks are among all items, and ties count against the
    model. Several sessions share a row of a batch, each after a reset.

    Baselines of items are popularity, Markov chains of order 1 and 2, and the most similar
    sessions. Baselines of actions are the most common one after what is known.

    Attributes:
      path: a table with one event per line, `session,item,time` and maybe `action`; or the folder
        of the data set `entree`; None is the folder of `rnnlab data`.
      session, item, time, action: names of the columns of a table; None detects them.
      valid_from, test_from: start of the validation and of the test part, as a date or a number
        like the times of the log; None: the last 15% of the sessions are the test part, and the 15%
        before them the validation part. The Entree log is split where its files are.
      target: `"item"`, or `"action"`: what the user does at an item.
      actions: whether the action at an item is an input, before the next item is predicted.
      loss: of the scores of items: `"softmax"` is the cross entropy over all items, the others
        compare the target with sampled items.
      negatives: sampled items per row of a batch.
      popularity_power: an item is sampled with a probability proportional to its count in the
        training part to this power; 0 samples all items equally.
      score_penalty: factor of the squared scores of sampled items in `"bpr_max"`.
      length: items of the longest sequence; longer sessions are cut into several.
      batch_size: rows per batch.

    Raises:
      ValueError: a setting is out of range or does not fit the log.
      DataError: the log is missing or not readable, or a part has no session of two events.

    Source: Hidasi et al., arXiv 1511.06939 (GRU4Rec), for the task.

    >>> Sessions(loss="bpr_max").negatives
    256
    """

    path: Path | None = None
    session: str | None = None
    item: str | None = None
    time: str | None = None
    action: str | None = None
    valid_from: str | None = None
    test_from: str | None = None
    target: Target = "item"
    actions: bool = False
    loss: Loss = "softmax"
    negatives: int = 256
    popularity_power: float = 0.5
    score_penalty: float = 1.0
    length: int = 50
    batch_size: int = 32

    def __post_init__(self):
        sizes = {"negatives": self.negatives, "length": self.length}
        require_positive_int(**sizes, batch_size=self.batch_size)
        require_one_of("target", self.target, get_args(Target))
        require_one_of("loss", self.loss, get_args(Loss))
        if self.target == "action" and self.loss != "softmax":
            raise ValueError(
                f"loss must be 'softmax' where the target is an action, got {self.loss!r}; omit it"
            )
        for name in ("popularity_power", "score_penalty"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ValueError(
                    f"{name} must be >= 0 and finite, got {getattr(self, name)}; raise it"
                )

    def load(self, seed: int) -> TaskData:
        """Reads the log. `seed` orders the training batches and draws the sampled items."""
        log = self._read()
        if log.actions is None and (self.actions or self.target == "action"):
            raise DataError(
                f"{self.path} must have a column of actions for this setting, got none; name it by "
                "--data.action"
            )
        bounds = self._bounds(log)
        coding, parts = _parts(log, bounds, self)
        rows = {name: coding.packed(part) for name, part in parts.items()}
        train = rows.pop("train")
        digest = fingerprint(
            *(x for part in (train, *rows.values()) for x in arrays(part)),
            "\n".join((*coding.items, *coding.actions)),
        )
        predicts_items = self.target == "item"
        return TaskData(
            loss="categorical" if self.loss == "softmax" else self.loss,
            metrics=("hit_rate_20", "mrr_20") if predicts_items else ("accuracy", "nll"),
            out_features=len(coding.classes),
            train_batch=self._train_batches(train, len(coding.items), seed),
            eval_sets={
                name: functools.partial(split_batches, part, min(self.batch_size, len(part.inputs)))
                for name, part in rows.items()
            },
            baselines=lambda: _baselines(self, digest),
            vocab_size=coding.vocab_size,
            autoregressive=True,
            decode=_decode_ranks if predicts_items else None,
            classes=coding.classes,
            fingerprint=digest,
            preparation=SessionPreparation(
                coding=coding,
                titles=_titles(log, coding),
                are_probabilities=self.loss == "softmax",
                columns=SessionColumns(self.session, self.item, self.time, self.action),
                batch_size=self.batch_size,
                test=_test_log(log, bounds),
            ),
            loss_options={"score_penalty": self.score_penalty} if self.loss == "bpr_max" else {},
            notes=(*log.notes, _describe(parts, rows["test"], coding)),
        )

    def _read(self) -> SessionLog:
        if self.path is None or Path(self.path).is_dir():
            return read_entree(dataset_files("entree", self.path))
        columns = SessionColumns(self.session, self.item, self.time, self.action)
        return read_sessions(self.path, columns)

    def _bounds(self, log: SessionLog) -> tuple[float, float]:
        """The times at which the validation and the test part start."""
        given: list[str | None] = [self.valid_from, self.test_from]
        if self.path is None or Path(self.path).is_dir():
            given = [x or default for x, default in zip(given, ENTREE_PARTS, strict=True)]
        names, count = ("valid_from", "test_from"), len(log.starts)
        last = (int((1 - 2 * SHARE) * count), int((1 - SHARE) * count))
        valid, test = (
            float(log.starts[k]) if text is None else _moment(name, text, log.kind)
            for name, text, k in zip(names, given, last, strict=True)
        )
        if valid >= test:
            raise ValueError(
                f"valid_from must be before test_from, got {self.valid_from or valid} and "
                f"{self.test_from or test}; change one of them"
            )
        return valid, test

    def _train_batches(self, train: Batch, num_items: int, seed: int) -> Callable[[int], Batch]:
        take = training_batches(train, "pad", self.batch_size, seed)
        if self.loss == "softmax":
            return take
        counts = np.bincount(train.inputs[train.mask], minlength=num_items + 1)[1 : num_items + 1]
        # An item that is only the last of sessions is not an input.
        weights = np.maximum(counts, 1).astype(np.float64) ** self.popularity_power
        cumulative = np.cumsum(weights / weights.sum())

        def with_negatives(n: int) -> Batch:
            batch = take(n)
            uniform = rng_for(RngStream.TRAIN, seed, n).random((len(batch.inputs), self.negatives))
            drawn = np.minimum(np.searchsorted(cumulative, uniform, side="right"), num_items - 1)
            return batch._replace(negatives=(1 + drawn).astype(np.int32))

        return with_negatives


def _parts(
    log: SessionLog, bounds: tuple[float, float], task: Sessions
) -> tuple[SessionCoding, dict[str, list[Session]]]:
    """The items of the training part, and the sessions of all parts with two events or more."""
    lengths = np.diff(log.offsets)
    part_of = np.searchsorted(bounds, log.starts, side="right")
    usable = lengths >= 2
    for number, name in enumerate(("training", "validation", "test")):
        if not (usable & (part_of == number)).any():
            raise DataError(
                f"{task.path or 'the log'} must have a session of >= 2 events in the {name} part, "
                "got none; change valid_from or test_from"
            )
    trained = np.repeat(usable & (part_of == 0), lengths)
    coding = SessionCoding(
        items=tuple(log.names[k] for k in np.unique(log.items[trained])),
        actions=log.action_names if task.actions or task.target == "action" else (),
        target=task.target,
        reads_actions=task.actions,
        length=task.length,
    )
    items, actions = coding.numbers(log)
    parts: dict[str, list[Session]] = {"train": [], "valid": [], "test": []}
    names = list(parts)
    for k in np.flatnonzero(usable):
        events = slice(log.offsets[k], log.offsets[k + 1])
        parts[names[part_of[k]]].append(Session(items[events], actions[events]))
    return coding, parts


def _test_log(log: SessionLog, bounds: tuple[float, float]) -> SessionLog:
    """The sessions of the test part with two events or more."""
    chosen = np.flatnonzero((log.starts >= bounds[1]) & (np.diff(log.offsets) >= 2))
    return log.select(chosen)


def _decode_ranks(outputs: np.ndarray, batch: Batch) -> list[tuple[float, int]]:
    """The rank of each next item among all items of the training part, and the item."""
    keep = loss_mask(batch)
    targets = batch.targets[keep]
    found = ranks(outputs[keep][:, UNKNOWN + 1 :], targets - 1 - UNKNOWN)
    return list(zip(found.tolist(), targets.tolist(), strict=True))


def _titles(log: SessionLog, coding: SessionCoding) -> tuple[str, ...]:
    if not log.titles:
        return ()
    named = dict(zip(log.names, log.titles, strict=True))
    return tuple(named[name] for name in coding.items)


def _moment(name: str, text: str, kind: str) -> float:
    """A time that a setting gives, as the times of the log are."""
    if kind == "date":
        date = parse_date(text)
        if date is not None:
            return float(date.astype("datetime64[s]").astype(np.int64))
        wanted = "a date such as 1998-10-01"
    else:
        try:
            return float(text)
        except ValueError:
            wanted = "a number, as the times of the log are"
    raise ValueError(f"{name} must be {wanted}, got {text!r}; correct it")


def _describe(parts: dict[str, list[Session]], test: Batch, coding: SessionCoding) -> str:
    train, valid, tested = (counted(len(part), "session") for part in parts.values())
    text = f"{train} of {counted(len(coding.items), 'item')} to train on, {valid} to validate on, "
    text += f"{tested} to test on"
    if coding.target == "action":
        return f"{text}."
    targets = test.targets[loss_mask(test)]
    unseen = int((targets == UNKNOWN).sum())
    return f"{text}; {unseen} of {len(targets):,} items to predict are new and count as misses."


@functools.lru_cache(maxsize=4)
def _baselines(task: Sessions, digest: str) -> dict[str, dict[str, float]]:
    """The baselines of a task and the digest of its data: counted once for all runs of a grid."""
    del digest
    log = task._read()
    coding, parts = _parts(log, task._bounds(log), task)
    if task.target == "action":
        return next_action.scores(parts["train"], parts["test"], len(coding.actions))
    train, test = ([x.items - 1 - UNKNOWN for x in parts[name]] for name in ("train", "test"))
    return next_item.scores(train, test, len(coding.items))
