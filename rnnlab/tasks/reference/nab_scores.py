"""The scores of the Numenta anomaly benchmark (NAB), by the rules of its scorer.

A detector assigns an anomaly score to each time step, knowing only the time steps so far. One
threshold for the whole corpus turns scores into detections. In each labelled window the earliest
detection counts, the more the earlier it is. Every detection outside costs, less if it follows a
window soon. The first part of each series, its probation, is not scored.

Source: Lavin and Ahmad, "Evaluating real-time anomaly detection algorithms", ICMLA 2015, arXiv
1510.03336; the details are those of `nab/sweeper.py` in github.com/numenta/NAB.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import expit

from rnnlab.tasks.readers.nab import LabelledSeries

PROBATION_SHARE, PROBATION_LIMIT = 0.15, 5000
"""The probation is this share of a series, of at most this many time steps of it."""


class Profile(NamedTuple):
    """The costs of errors; a window that is detected at its first time step is worth 1.

    Attributes:
      false_positive: cost of a detection far from any window.
      false_negative: cost of a window without a detection.
    """

    false_positive: float
    false_negative: float


PROFILES = {
    "standard": Profile(0.11, 1.0),
    "reward_low_fp": Profile(0.22, 1.0),
    "reward_low_fn": Profile(0.11, 2.0),
}
"""The profiles of the benchmark by name."""


class NabScore(NamedTuple):
    """A detector's result on a corpus.

    Attributes:
      score: normalized: 0 without detections, 100 if each window is detected at its first time step
        and nothing else is.
      threshold: the lowest anomaly score that is a detection; infinite without detections.
      found: windows with a detection.
      false_positives: detections outside of windows.
    """

    score: float
    threshold: float
    found: int
    false_positives: int


def probation_length(length: int) -> int:
    """Returns how many time steps at the start of a series are not scored.

    >>> probation_length(1000), probation_length(20000)
    (150, 750)
    """
    return int(PROBATION_SHARE * min(length, PROBATION_LIMIT))


def nab_score(
    corpus: Sequence[LabelledSeries], scores: Sequence[np.ndarray], profile: Profile
) -> NabScore:
    """Returns the normalized score at the threshold that is best for the corpus.

    The benchmark chooses the threshold on the corpus that it reports, for every detector alike.

    Args:
      corpus: the labelled series.
      scores: of each series, (time,): the higher, the more anomalous.
      profile: the costs of errors.

    Raises:
      ValueError: there is no window, or scores are missing or not finite.

    >>> dates = np.datetime64("2026-01-01", "s") + 300 * np.arange(20)
    >>> series = LabelledSeries("a.csv", dates, np.zeros(20), dates[[[10, 13]]])
    >>> nab_score([series], [np.arange(20) == 10], PROFILES["standard"])
    NabScore(score=100.0, threshold=1.0, found=1, false_positives=0)
    """
    count = sum(len(series.windows) for series in corpus)
    if not count:
        raise ValueError(f"a corpus must have windows, got none in {len(corpus)} series; add some")
    parts = [_rows(x, s) for x, s in zip(corpus, scores, strict=True)]
    score, credit = (np.concatenate([getattr(part, name) for part in parts]) for name in _FIELDS)
    # Windows of all series have different numbers.
    first = np.cumsum([0, *(len(series.windows) for series in corpus)])
    numbers = zip(parts, first[:-1], strict=True)
    window = np.concatenate([np.where(x.window < 0, -1, x.window + k) for x, k in numbers])
    # In descending order of the scores: what each further detection adds to the total.
    order = np.argsort(-score, kind="stable")
    score, credit, window = score[order], credit[order], window[order]
    outside = window < 0
    gain = np.where(outside, profile.false_positive * credit, 0.0)
    newly_found = np.zeros(len(score), int)
    for k in np.unique(window[~outside]):
        at = np.flatnonzero(window == k)
        best = np.maximum.accumulate(credit[at])
        gain[at] = np.diff(best, prepend=-profile.false_negative)
        newly_found[at[0]] = 1
    # Equal scores are detected together. Entry 0 has no detections.
    ends = np.flatnonzero(np.append(score[1:] != score[:-1], True))
    total = np.append(0.0, np.cumsum(gain)[ends])
    best = int(np.argmax(total))
    if best == 0:
        return NabScore(0.0, np.inf, 0, 0)
    stop = ends[best - 1] + 1
    return NabScore(
        float(100 * total[best] / (count * (1 + profile.false_negative))),
        float(score[stop - 1]),
        int(newly_found[:stop].sum()),
        int(outside[:stop].sum()),
    )


class _Rows(NamedTuple):
    """The scored time steps of a series.

    Attributes:
      score: the anomaly score.
      credit: of a detection here: (0, 1] in a window, [-1, 0) outside.
      window: number of its window, -1 outside.
    """

    score: np.ndarray
    credit: np.ndarray
    window: np.ndarray


_FIELDS = ("score", "credit")


def _rows(series: LabelledSeries, scores: np.ndarray) -> _Rows:
    scores = np.asarray(scores, np.float64)
    length = len(series.values)
    if scores.shape != (length,) or not np.isfinite(scores).all():
        bad = "values that are not finite" if scores.shape == (length,) else f"shape {scores.shape}"
        raise ValueError(f"scores of {series.name} must be {length} finite values, got {bad}")
    step = np.arange(length)
    credit, window = np.full(length, -1.0), np.full(length, -1)
    for k, (start, end) in enumerate(series.windows):
        inside = np.flatnonzero((series.dates >= start) & (series.dates <= end))
        if not len(inside):
            continue
        first, last = inside[0], inside[-1]
        size = last - first + 1
        # A detection after the window costs less, until the next window starts.
        credit[last + 1 :] = scaled_sigmoid((step[last + 1 :] - last) / max(size - 1, 1))
        position = (step[first : last + 1] - last - 1) / size
        credit[first : last + 1] = scaled_sigmoid(position) / scaled_sigmoid(np.array(-1.0))
        window[first : last + 1] = k
    scored = slice(probation_length(length), None)
    return _Rows(scores[scored], credit[scored], window[scored])


def scaled_sigmoid(position: np.ndarray) -> np.ndarray:
    """Returns what a detection is worth by its position.

    Args:
      position: relative to the end of a window, in lengths of the window: -1 at its start.

    >>> scaled_sigmoid(np.array([-1.0, 0.0, 1.0, 4.0])).round(4).tolist()
    [0.9866, 0.0, -0.9866, -1.0]
    """
    return np.where(position > 3, -1.0, 2 * expit(-5 * position) - 1)
