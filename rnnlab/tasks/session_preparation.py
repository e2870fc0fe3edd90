"""Recommendations for sessions, with the items that a training fixes."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.special import softmax

from rnnlab.tasks.batch import IGNORE_INDEX, Batch, last_steps
from rnnlab.tasks.batching.padding import pad, split_batches
from rnnlab.tasks.predictions import (
    RUN_DATA,
    Outputs,
    Predictions,
    predict_batches,
    require_run_data,
    with_summary,
)
from rnnlab.tasks.readers.sessions import SessionColumns, SessionLog, read_sessions
from rnnlab.tasks.reference.ranking_scores import CUTOFF, hit_rate, ranks
from rnnlab.tasks.session_coding import UNKNOWN, SessionCoding


@dataclass(frozen=True)
class SessionPreparation:
    """The items and actions of a training on sessions.

    Attributes:
      coding: token ids and classes.
      titles: what the items are called in words; empty where the log has no titles.
      are_probabilities: whether outputs are logits of probabilities, not only scores.
      columns: the meaning of the columns of a table.
      batch_size: sessions per batch.
      test: the test part of the training's own log.
    """

    coding: SessionCoding
    titles: tuple[str, ...] = field(repr=False)
    are_probabilities: bool
    columns: SessionColumns
    batch_size: int
    test: SessionLog | None = field(default=None, repr=False, metadata=RUN_DATA)

    def predict(self, outputs: Outputs, source: Any, horizon: int | None) -> Predictions:
        """Returns the 20 best next items of each session; or the action at its last item.

        New sessions are continued after their last event. Of the run's own test part the last event
        is predicted from those before it; its item is the column `actual`, and `hit` is 1
        where it is the item of the row.

        Args:
          outputs: the model.
          source: a table `session,item,time`, as a path or a data frame; None is the test part.
          horizon: must be None.

        Raises:
          DataError: the table is invalid.
          ValueError: `horizon` is not None.
        """
        if horizon is not None:
            raise ValueError(
                f"horizon must be None for sessions, whose next item is predicted, got {horizon}; "
                "remove it"
            )
        is_new = source is not None
        log = read_sessions(source, self.columns) if is_new else require_run_data(self.test)
        items, actions = self.coding.numbers(log)
        bounds = list(zip(log.offsets[:-1], log.offsets[1:], strict=True))
        sessions = [(items[a:b], actions[a:b]) for a, b in bounds]
        if self.coding.target == "action":
            return self._actions(outputs, sessions, log)
        next_items = None if is_new else np.array([x[-1] for x, _ in sessions])
        known = sessions if is_new else [(x[:-1], y[:-1]) for x, y in sessions]
        inputs = [self.coding.read(*session) for session in known]
        scores = self._last_outputs(outputs, inputs)[:, UNKNOWN + 1 :]
        return self._recommended(scores, log, next_items)

    def _last_outputs(self, outputs: Outputs, inputs: list[np.ndarray]) -> np.ndarray:
        """The outputs at the end of each sequence, of which the last items are read."""
        steps = self.coding.length * self.coding.steps_per_item
        found = []
        for batch in self._batches([x[-steps:] for x in inputs]):
            found.append(np.asarray(outputs(batch), np.float64)[last_steps(batch.mask)])
        return np.concatenate(found)

    def _batches(self, inputs: list[np.ndarray]) -> list[Batch]:
        tokens, mask = pad(inputs)
        dataset = Batch(tokens, np.full(tokens.shape, IGNORE_INDEX, np.int32), mask)
        return list(split_batches(dataset, min(self.batch_size, len(tokens))))

    def _recommended(
        self, scores: np.ndarray, log: SessionLog, next_items: np.ndarray | None
    ) -> Predictions:
        count = min(CUTOFF, scores.shape[1])
        best = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        values = softmax(scores, axis=1) if self.are_probabilities else scores
        names = np.array(self.coding.items, str)
        ids = np.array(log.ids, str)
        columns = {
            "session": np.repeat(ids, count),
            "rank": np.tile(np.arange(1, count + 1), len(ids)),
            "item": names[best].reshape(-1),
        }
        if self.titles:
            columns["title"] = np.array(self.titles, str)[best].reshape(-1)
        name = "probability" if self.are_probabilities else "score"
        columns[name] = np.take_along_axis(values, best, 1).reshape(-1)
        summary = f"{count} recommended items for each of {len(ids):,} sessions."
        if next_items is not None:
            last = log.items[log.offsets[1:] - 1]
            columns["actual"] = np.repeat(np.array(log.names, str)[last], count)
            columns["hit"] = (columns["item"] == columns["actual"]).astype(np.int64)
            share = hit_rate(ranks(scores, next_items - 1 - UNKNOWN))
            summary = (
                f"{summary[:-1]}; the next item is among them for {share:.1%} of the sessions."
            )
        return Predictions("ranking", columns, summary)

    def _actions(
        self,
        outputs: Outputs,
        sessions: list[tuple[np.ndarray, np.ndarray]],
        log: SessionLog,
    ) -> Predictions:
        """The action at the last item of each session."""
        steps = self.coding.length * self.coding.steps_per_item
        inputs, targets = [], []
        for items, actions in sessions:
            tokens, classes = self.coding.sequence(items, actions)
            inputs.append(tokens[-steps:])
            targets.append(classes[-steps:])
        tokens, mask = pad(inputs)
        dataset = Batch(tokens, pad(targets, value=IGNORE_INDEX)[0], mask)
        found = predict_batches(
            outputs,
            split_batches(dataset, min(self.batch_size, len(tokens))),
            "categorical",
            classes=self.coding.actions,
            last_step_only=True,
        )
        ids = np.array(log.ids, str)[found.columns["example"]]
        columns = {"session": ids, **found.columns}
        del columns["example"]
        return with_summary(Predictions("class", columns))
