"""Next items of sessions without a network: popularity, Markov chains and similar sessions.

Items are numbers from 0; -1 is an item that the training part does not have.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from rnnlab.tasks.reference import ranking_scores

Scores = Callable[[np.ndarray], np.ndarray]
"""Returns the scores of all items after each time step of a session: (time,) to (time, items)."""

NEIGHBORS, RECENT = 100, 1000
"""Similar sessions that are counted, and the latest sessions among which they are searched."""


def scores(
    train: Sequence[np.ndarray], test: Sequence[np.ndarray], num_items: int
) -> dict[str, dict[str, float]]:
    """Returns the metrics of all predictors on the test sessions, by name of the predictor.

    Args:
      train: sessions (time,), the oldest first.
      test: sessions; each item after the first is predicted from those before it.
      num_items: number of items.
    """
    predictors: dict[str, Scores] = {
        "popularity": popularity(train, num_items),
        "Markov chain": MarkovChain.fit(train, num_items, order=1),
        "Markov chain of order 2": MarkovChain.fit(train, num_items, order=2),
        "Markov chain of order 3": MarkovChain.fit(train, num_items, order=3),
        "similar sessions": SimilarSessions.fit(train, num_items),
    }
    return {name: ranking_scores.scores(ranks(of, test)) for name, of in predictors.items()}


def ranks(predictor: Scores, test: Sequence[np.ndarray]) -> np.ndarray:
    """Returns the ranks of all items of sessions after their first, (predictions,)."""
    found = [ranking_scores.ranks(predictor(x[:-1]), x[1:]) for x in test if len(x) > 1]
    return np.concatenate(found)


def popularity(train: Sequence[np.ndarray], num_items: int) -> Scores:
    """Returns a predictor that scores an item by its share of the training part.

    >>> popularity([np.array([0, 1, 1])], 3)(np.array([2])).round(2).tolist()
    [[0.33, 0.67, 0.0]]
    """
    shares = _shares(train, num_items)
    return lambda session: np.broadcast_to(shares, (len(session), num_items))


@dataclass(frozen=True)
class MarkovChain:
    """A chain that scores an item by how often it followed the last items, smoothed.

        p(i | context) = (count(context, i) + different(context) p(i | shorter context))
                         / (count(context) + different(context))

    `different` is the number of different items that followed. The shortest context is empty: its
    probabilities are the popularity.

    Attributes:
      popularity: (items,) share of each item.
      followers: for each context, a tuple of items, the items that followed and their counts.
      order: length of the longest context.

    Source: Witten and Bell, IEEE Transactions on Information Theory 37 (1991), for the smoothing,
    as in Chen and Goodman, "An empirical study of smoothing techniques for language modeling".

    >>> chain = MarkovChain.fit([np.array([0, 1, 0, 2]), np.array([0, 1])], 3, order=1)
    >>> chain(np.array([0])).round(2).tolist()
    [[0.2, 0.53, 0.27]]
    """

    popularity: np.ndarray
    followers: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]]
    order: int

    @classmethod
    def fit(cls, train: Sequence[np.ndarray], num_items: int, order: int) -> "MarkovChain":
        """Returns the chain of the counts of sessions."""
        followers: dict[tuple[int, ...], tuple[np.ndarray, np.ndarray]] = {}
        for length in range(1, order + 1):
            windows = [
                np.lib.stride_tricks.sliding_window_view(x, length + 1)
                for x in train
                if len(x) > length
            ]
            if not windows:
                break
            grams, counts = np.unique(np.concatenate(windows), axis=0, return_counts=True)
            starts = np.flatnonzero(
                np.concatenate([[True], (grams[1:, :-1] != grams[:-1, :-1]).any(axis=1)])
            )
            for a, b in zip(starts, [*starts[1:], len(grams)], strict=True):
                followers[tuple(grams[a, :-1].tolist())] = grams[a:b, -1], counts[a:b]
        return cls(_shares(train, num_items), followers, order)

    def __call__(self, session: np.ndarray) -> np.ndarray:
        """Returns the scores of all items after each time step, (time, items)."""
        found = np.empty((len(session), len(self.popularity)))
        items = session.tolist()
        for t in range(len(items)):
            found[t] = self.popularity
            for length in range(1, min(self.order, t + 1) + 1):
                context = tuple(items[t + 1 - length : t + 1])
                if context in self.followers:
                    following, counts = self.followers[context]
                    found[t] *= len(following)
                    found[t, following] += counts
                    found[t] /= counts.sum() + len(following)
        return found


@dataclass(frozen=True)
class SimilarSessions:
    """Nearest neighbors among the sessions, V-SkNN: the latest items weigh most.

    The item at position p of the n so far has the weight p / n. The similarity of a training
    session is the sum of the weights of the items that it shares, divided by n. Of the `RECENT`
    latest training sessions that share an item, the `NEIGHBORS` most similar ones vote for their
    items, each with its similarity divided by the steps since the last shared item.

    Attributes:
      sessions: the different items of each training session, the oldest first.
      having: for each item, the numbers of the sessions with it, in increasing order.
      popularity: (items,) share of each item, which only orders items without a vote.

    Source: Ludewig and Jannach, "Evaluation of session-based recommendation algorithms", UMUAI 28
    (2018), arXiv 1803.09587, section 3.2.

    >>> knn = SimilarSessions.fit([np.array([0, 1]), np.array([1, 2])], 4)
    >>> int(knn(np.array([0])).argmax())  # of the session with item 0, the more popular item
    1
    """

    sessions: tuple[np.ndarray, ...]
    having: tuple[np.ndarray, ...]
    popularity: np.ndarray

    @classmethod
    def fit(cls, train: Sequence[np.ndarray], num_items: int) -> "SimilarSessions":
        """Returns the predictor of training sessions."""
        sessions = tuple(np.unique(x) for x in train)
        items = np.concatenate(sessions)
        numbers = np.repeat(np.arange(len(sessions)), [len(x) for x in sessions])
        order = np.argsort(items, kind="stable")
        bounds = np.cumsum(np.bincount(items, minlength=num_items))[:-1]
        return cls(sessions, tuple(np.split(numbers[order], bounds)), _shares(train, num_items))

    def __call__(self, session: np.ndarray) -> np.ndarray:
        """Returns the scores of all items after each time step, (time, items)."""
        return np.stack([self._after(session[: t + 1]) for t in range(len(session))])

    def _after(self, items: np.ndarray) -> np.ndarray:
        count = len(self.popularity)
        # Less than any vote, so that it orders only items without one.
        found = 1e-9 * self.popularity
        weights, steps = np.zeros(count), np.full(count, np.inf)
        for position, item in enumerate(items.tolist(), 1):
            if item >= 0:
                weights[item] = position / len(items)
                steps[item] = len(items) - position + 1
        shared = np.flatnonzero(weights)
        if not len(shared):
            return found
        candidates = np.unique(np.concatenate([self.having[k][-RECENT:] for k in shared]))
        candidates = candidates[-RECENT:]
        if not len(candidates):
            return found
        rows = [self.sessions[k] for k in candidates]
        flat = np.concatenate(rows)
        starts = np.cumsum([0, *(len(x) for x in rows[:-1])])
        similarity = np.add.reduceat(weights[flat], starts) / len(items)
        decay = 1 / np.minimum.reduceat(steps[flat], starts)
        # A later session first among those that are equally similar.
        nearest = np.lexsort((-candidates, -similarity))[:NEIGHBORS]
        votes = np.zeros(len(candidates))
        votes[nearest] = (similarity * decay)[nearest]
        return found + np.bincount(flat, np.repeat(votes, [len(x) for x in rows]), count)


def _shares(train: Sequence[np.ndarray], num_items: int) -> np.ndarray:
    counts = np.bincount(np.concatenate(train), minlength=num_items)
    return counts / counts.sum()
