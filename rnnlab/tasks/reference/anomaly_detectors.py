"""Detectors of anomalies in a series: errors of simple forecasts, and the likelihood of errors.

Every score of a time step depends on this time step and earlier ones only.
"""

import numpy as np
from scipy.special import log_ndtr

from rnnlab.tasks.readers.nab import LabelledSeries
from rnnlab.tasks.reference.nab_scores import probation_length

SHORT_WINDOW = 10
"""Time steps of the mean error whose likelihood is computed."""
HISTORY, REFRESH = 8640, 100
"""Time steps of errors that the mean is compared with, and after how many they are updated."""
CERTAIN = np.log(1e-5)
"""Logarithm of a probability below which a detection is certain, and not repeated."""
REPEATED = np.log(1e-3)
"""Logarithm of the probability of a time step after a certain detection."""
GAUSSIAN_WINDOW, GAUSSIAN_STEP = 6400, 100
"""Time steps of the sliding window of `windowed_gaussian`, and after how many it moves."""


def anomaly_likelihood(errors: np.ndarray, first: int) -> np.ndarray:
    """Returns minus the logarithm of how probable the recent errors are, from those before.

    The mean of the last `SHORT_WINDOW` errors is compared with a normal distribution: that of such
    means from time step `first` on, up to the last multiple of `REFRESH`. The score is minus the
    logarithm of the upper tail. It is 0 until `SHORT_WINDOW` means are known.

    After a time step with a tail below `CERTAIN` the next ones have `REPEATED`, until the tail is
    above it again: an anomaly is detected once.

    Args:
      errors: (time,), at least 0, of forecasts.
      first: first time step whose error counts, such as the first that did not train.

    Source: Lavin and Ahmad, arXiv 1510.03336, section III; the constants are those of the
    detector that it describes.

    >>> errors = np.tile([0.9, 1.1], 200)
    >>> errors[320] = 9.0
    >>> int(anomaly_likelihood(errors, 0).argmax())
    320
    """
    sums = np.cumsum(np.append(0.0, errors))
    step = np.arange(len(errors))
    start = np.maximum(step + 1 - SHORT_WINDOW, 0)
    means = (sums[step + 1] - sums[start]) / (step + 1 - start)
    stop = np.maximum((step - first) // REFRESH * REFRESH, 0) + first
    # Before the first update, all means so far.
    stop = np.where(stop <= first + SHORT_WINDOW, step, stop)
    begin = np.maximum(stop - HISTORY, first)
    center = means[first:].mean() if len(means) > first else 0.0
    total, squares = (np.cumsum(np.append(0.0, (means - center) ** k)) for k in (1, 2))
    count = np.maximum(stop - begin, 1)
    mean = (total[np.maximum(stop, begin)] - total[begin]) / count
    square = (squares[np.maximum(stop, begin)] - squares[begin]) / count
    size = np.abs(mean + center)
    deviation = np.sqrt(np.maximum(square - mean**2, 0))
    deviation = np.maximum(deviation, np.maximum(0.01 * size, 1e-9))
    tail = log_ndtr(-(means - center - mean) / deviation)
    tail = np.where(stop - begin >= SHORT_WINDOW, tail, 0.0)
    certain = tail <= CERTAIN
    again = certain & np.append(False, certain[:-1])
    return -np.where(again, REPEATED, tail)


def windowed_gaussian(values: np.ndarray) -> np.ndarray:
    """Returns 1 minus the tail probability of each value under a normal distribution of the past.

    The past are all values until there are `GAUSSIAN_WINDOW`; from then on a window of that many
    which moves by `GAUSSIAN_STEP`. It is the detector of the same name of the benchmark, whose
    window was chosen for the best score on the benchmark. Scores have 12 decimals, as in the
    benchmark's files of results: what is rounded to 1 is detected together.

    >>> windowed_gaussian(np.array([0.0, 2.0, 0.0, 2.0, 9.0])).round(3).tolist()
    [0.0, 1.0, 0.841, 0.921, 1.0]
    """
    step = np.arange(len(values))
    start = np.maximum(step - GAUSSIAN_WINDOW, 0) // GAUSSIAN_STEP * GAUSSIAN_STEP
    stop = np.minimum(step, start + GAUSSIAN_WINDOW)
    center = values.mean()
    total, squares = (np.cumsum(np.append(0.0, (values - center) ** k)) for k in (1, 2))
    count = np.maximum(stop - start, 1)
    mean = (total[stop] - total[start]) / count
    variance = (squares[stop] - squares[start]) / count - mean**2
    # Rounding of a constant past must not become a deviation.
    variance = np.where(variance <= 1e-12 * squares[-1] / max(len(values), 1), 0, variance)
    deviation = np.where(variance > 0, np.sqrt(np.maximum(variance, 0)), 1e-6)
    tail = np.exp(log_ndtr(-np.abs(values - center - mean) / deviation))
    return np.where(step > 0, np.round(1 - tail, 12), 0.0)


def naive_errors(series: LabelledSeries, lag: int) -> np.ndarray:
    """Returns the absolute differences from the value `lag` time steps before.

    They are relative to their mean in the probation. The first `lag` of them are 0.

    Args:
      series: the series.
      lag: time steps, such as 1, or those of a day, fewer than those of the probation.
    """
    errors = np.zeros(len(series.values))
    errors[lag:] = np.abs(series.values[lag:] - series.values[:-lag])
    known = errors[lag : probation_length(len(errors))]
    return errors / max(float(known.mean()), smallest_scale(series))


def steps_per_day(series: LabelledSeries) -> int:
    """Returns the number of time steps of a day, by the median interval."""
    seconds = np.median(np.diff(series.dates).astype(np.int64))
    return max(1, round(86400 / max(seconds, 1)))


def smallest_scale(series: LabelledSeries) -> float:
    """Returns what an error is divided by at least: a series may be constant in the probation."""
    known = series.values[: probation_length(len(series.values))]
    return max(1e-3 * float(np.abs(known).mean()), 1e-9)
