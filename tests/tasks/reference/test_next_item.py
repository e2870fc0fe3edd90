"""Ranks and predictors of next items against brute force."""

import numpy as np
import pytest

from rnnlab.tasks.reference import next_action, next_item
from rnnlab.tasks.reference.ranking_scores import hit_rate, mean_reciprocal_rank, ranks

SESSIONS = [np.array(x) for x in ([0, 1, 2], [0, 1, 3], [0, 1, 3], [4, 1, 2], [3, 3, 0, 2])]


def test_ranks_equal_a_sorted_list_with_the_target_last_among_equals():
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 4, (200, 7)) * 1.0
    targets = rng.integers(-1, 7, 200)
    for row, target, found in zip(scores, targets, ranks(scores, targets), strict=True):
        if target < 0:
            assert found == np.inf
            continue
        order = sorted(range(7), key=lambda k: (-row[k], k == target))
        assert found == 1 + order.index(target)


def test_scores_that_are_nan_or_equal_rank_last():
    scores = np.array([[np.nan, 1.0, 2.0], [5.0, 5.0, 5.0], [0.0, np.nan, 1.0]])
    assert ranks(scores, np.array([0, 1, 2])).tolist() == [3, 3, 2]


def test_metrics_count_ranks_beyond_the_cutoff_as_misses():
    found = [1.0, 2.0, 20.0, 21.0, np.inf]
    assert hit_rate(found) == 0.6
    assert mean_reciprocal_rank(found) == pytest.approx((1 + 0.5 + 0.05) / 5)


def counted(context, item):
    """Returns how often an item follows a context."""
    n = len(context)
    after = [x[t + n] for x in SESSIONS for t in range(len(x) - n) if list(x[t : t + n]) == context]
    return after.count(item)


@pytest.mark.parametrize("order", [1, 2])
def test_markov_chain_equals_smoothed_counts(order):
    chain = next_item.MarkovChain.fit(SESSIONS, 5, order)
    items = [item for x in SESSIONS for item in x]
    for session in ([0, 1], [4, 1, 0], [2, 2], [3, -1, 1]):
        for t, row in enumerate(chain(np.array(session))):
            for item, score in enumerate(row):
                wanted = items.count(item) / len(items)
                for n in range(1, min(order, t + 1) + 1):
                    context = session[t + 1 - n : t + 1]
                    counts = [counted(context, k) for k in range(5)]
                    different = sum(count > 0 for count in counts)
                    if different:
                        wanted = counts[item] + different * wanted
                        wanted /= sum(counts) + different
                assert score == pytest.approx(wanted)
            assert row.sum() == pytest.approx(1)


def test_similar_sessions_equal_a_sum_over_all_sessions(monkeypatch):
    monkeypatch.setattr(next_item, "RECENT", 4)
    monkeypatch.setattr(next_item, "NEIGHBORS", 2)
    rng = np.random.default_rng(1)
    train = [rng.integers(0, 6, rng.integers(2, 6)) for _ in range(12)]
    knn = next_item.SimilarSessions.fit(train, 6)
    session = np.array([2, 5, 2, 1])
    for t, row in enumerate(knn(session)):
        seen = session[: t + 1].tolist()
        weights = {item: (k + 1) / len(seen) for k, item in enumerate(seen)}
        latest = [k for k, x in enumerate(train) if set(x) & set(seen)][-4:]
        similar = {k: sum(weights.get(i, 0) for i in set(train[k])) / len(seen) for k in latest}
        near = sorted(latest, key=lambda k: (-similar[k], -k))[:2]
        votes = np.zeros(6)
        for k in near:
            steps = min(s for s, item in enumerate(reversed(seen), 1) if item in train[k])
            votes[list(set(train[k].tolist()))] += similar[k] / steps
        np.testing.assert_allclose(row, votes, atol=1e-8)


def test_unknown_items_leave_the_popularity():
    popular = next_item.popularity(SESSIONS, 5)(np.array([-1]))[0]
    for fit in (
        next_item.SimilarSessions.fit,
        lambda *of: next_item.MarkovChain.fit(*of, order=2),
    ):
        found = fit(SESSIONS, 5)(np.array([-1]))[0]
        np.testing.assert_allclose(found / found.sum(), popular)


def test_actions_are_predicted_from_what_is_known_before_them():
    items, actions = np.array([0, 1, 0, 1, 2]), np.array([0, 1, 0, 1, -1])
    found = next_action.scores([(items, actions)], [(items, actions)], 2)
    assert found["most common next action of the item"] == {"accuracy": 1.0}
    assert found["most common action"] == {"accuracy": 0.5}
