"""Classifiers of scikit-learn on summaries of irregular records, as a table without time."""

import warnings

import numpy as np

from rnnlab.optional import require_module
from rnnlab.tasks.record_steps import RecordSteps

STATISTICS = ("count", "first", "last", "smallest", "greatest", "mean")
"""What `summaries` returns of each variable."""

LIMIT = 5.0
"""Deviations from the mean to which summaries are clipped, except for trees."""


def summaries(steps: RecordSteps, descriptors: np.ndarray) -> np.ndarray:
    """Returns `STATISTICS` of each variable of records, then their descriptors.

    Args:
      steps: of the records.
      descriptors: (records, descriptors).

    Returns:
      (records, 6 variables + descriptors) float64, NaN where a variable was never measured.

    >>> values = np.array([[1.0], [np.nan], [3.0], [np.nan]], np.float32)
    >>> steps = RecordSteps(values, np.arange(4.0), np.array([0, 3, 4]))
    >>> summaries(steps, np.zeros((2, 0))).tolist()
    [[2.0, 1.0, 3.0, 1.0, 3.0, 2.0], [0.0, nan, nan, nan, nan, nan]]
    """
    records, variables = len(steps.lengths), steps.values.shape[1]
    table = np.full((records, variables, len(STATISTICS)), np.nan)
    table[..., 0] = 0
    owner = np.repeat(np.arange(records), steps.lengths)
    for k, column in enumerate(steps.values.T.astype(np.float64)):
        row = np.flatnonzero(~np.isnan(column))
        found, start, count = np.unique(owner[row], return_index=True, return_counts=True)
        if not len(found):
            continue
        known = column[row]
        table[found, k] = np.stack(
            [
                count,
                known[start],
                known[start + count - 1],
                np.minimum.reduceat(known, start),
                np.maximum.reduceat(known, start),
                np.add.reduceat(known, start) / count,
            ],
            axis=1,
        )
    return np.concatenate([table.reshape(records, -1), descriptors], axis=1)


def sensitivity_precision(scores: np.ndarray, actual: np.ndarray) -> float:
    """Returns the largest min(sensitivity, precision) over all thresholds.

    Args:
      scores: (cases,) higher means more likely positive.
      actual: (cases,) bool, whether each is positive.

    >>> scores, actual = np.array([3.0, 2.0, 1.0, 0.0]), np.array([True, False, True, False])
    >>> round(sensitivity_precision(scores, actual), 3)
    0.667
    """
    curve = require_module("sklearn.metrics").precision_recall_curve
    precision, sensitivity, _ = curve(actual, scores)
    return float(np.minimum(precision, sensitivity).max())


def risk_scores(probability: np.ndarray, actual: np.ndarray) -> dict[str, float]:
    """Returns the scores of probabilities of the rarer, positive class.

    Args:
      probability: (cases,) float64; of other scores only `brier` has no meaning.
      actual: (cases,) bool.

    Returns:
      `roc_auc`, `average_precision`, `sensitivity_precision`, the largest min(sensitivity,
      precision) over thresholds, and `brier`.

    >>> found = risk_scores(np.array([0.9, 0.4, 0.6]), np.array([True, False, True]))
    >>> {name: round(value, 3) for name, value in found.items()}
    {'roc_auc': 1.0, 'average_precision': 1.0, 'sensitivity_precision': 1.0, 'brier': 0.11}
    """
    metrics = require_module("sklearn.metrics")
    return {
        "roc_auc": float(metrics.roc_auc_score(actual, probability)),
        "average_precision": float(metrics.average_precision_score(actual, probability)),
        "sensitivity_precision": sensitivity_precision(probability, actual),
        "brier": float(np.mean((probability - actual) ** 2)),
    }


def classifier_probabilities(
    train: np.ndarray, train_labels: np.ndarray, test: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns the probabilities of the positive class that classifiers assign to `test`.

    Logistic regression, an SVM with a radial kernel and an MLP get standardized summaries, clipped
    to `LIMIT` deviations, with the mean in place of missing ones; boosted trees get them as they
    are. The probabilities of the SVM are a logistic regression on its scores, cross-validated, for
    which a class needs two training records: otherwise the SVM is omitted.

    Args:
      train, test: (records, features), NaN where missing.
      train_labels: (records,) bool.

    Raises:
      ValueError: scikit-learn is not installed.
    """
    calibration = require_module("sklearn.calibration")
    svm = require_module("sklearn.svm")
    linear_model = require_module("sklearn.linear_model")
    neural_network = require_module("sklearn.neural_network")
    folds = min(5, *np.bincount(train_labels.astype(int), minlength=2))
    flat = {"logistic regression": linear_model.LogisticRegression(C=0.01, max_iter=1000)}
    if folds >= 2:
        flat["SVM"] = calibration.CalibratedClassifierCV(
            svm.SVC(gamma=0.001), cv=folds, ensemble=False
        )
    flat["MLP"] = neural_network.MLPClassifier(
        hidden_layer_sizes=(32,), alpha=5.0, max_iter=100, random_state=0
    )
    scaled = _standardized(train, train), _standardized(test, train)
    with warnings.catch_warnings():
        # A classifier that has not converged is still a baseline.
        warnings.simplefilter("ignore", require_module("sklearn.exceptions").ConvergenceWarning)
        found = {
            name: model.fit(scaled[0], train_labels).predict_proba(scaled[1])[:, 1]
            for name, model in flat.items()
        }
    return found | {"boosted trees": boosted_trees(train, train_labels, test)}


def boosted_trees(train: np.ndarray, train_labels: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Returns the probabilities of the positive class that boosted trees assign to `test`.

    Arguments are those of `classifier_probabilities`.
    """
    ensemble = require_module("sklearn.ensemble")
    trees = ensemble.HistGradientBoostingClassifier(
        learning_rate=0.05,
        max_iter=300,
        max_leaf_nodes=15,
        l2_regularization=1.0,
        random_state=0,
    )
    varies = np.isfinite(_deviations(train)[1])  # binning needs a value
    trees.fit(train[:, varies], train_labels)
    return trees.predict_proba(test[:, varies])[:, 1]


def _standardized(table: np.ndarray, train: np.ndarray) -> np.ndarray:
    """A table as deviations from the means of the training part; missing values become 0."""
    mean, deviation = _deviations(train)
    return np.clip(np.nan_to_num((table - mean) / deviation), -LIMIT, LIMIT)


def _deviations(table: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means and deviations of the known values of columns; infinite where they do not vary."""
    known = ~np.isnan(table)
    counts = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, table, 0).sum(axis=0) / counts
    deviation = np.sqrt((np.where(known, table - mean, 0) ** 2).sum(axis=0) / counts)
    return mean, np.where(deviation > 0, deviation, np.inf)
