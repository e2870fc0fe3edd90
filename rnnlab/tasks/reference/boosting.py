"""Gradient boosting on flat features, for imbalanced classes, without recurrence."""

import functools
from collections.abc import Mapping
from importlib.util import find_spec

import numpy as np

from rnnlab.optional import require_module
from rnnlab.tasks.operating_points import metrics_at_chosen_thresholds


def boosting_scores(
    train: tuple[np.ndarray, np.ndarray],
    valid: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    classes: tuple[str, ...],
    wanted_recall: Mapping[str, float],
) -> dict[str, dict[str, float]]:
    """Returns the scores on `test` of gradient boosting, fitted on `train` in three ways.

    The ways are: as it is, with class weights of the inverse frequency, and with SMOTE, which adds
    interpolated examples of the rare classes to the training part only. Settings are the defaults
    of scikit-learn and imbalanced-learn. The third is absent if imbalanced-learn is not installed
    or a class has one training case. One more row predicts the most common class.

    Args:
      train, valid, test: features (cases, features), NaN where unknown, and classes (cases,).
      classes: names of the classes, all of which occur in `train`.
      wanted_recall: as `TaskData.wanted_recall`; thresholds are chosen on `valid`.

    Raises:
      ValueError: scikit-learn is not installed.

    Source: Chawla et al., arXiv 1106.1813, for SMOTE.
    """
    boosting = functools.partial(
        require_module("sklearn.ensemble").HistGradientBoostingClassifier, random_state=0
    )

    def scores(model, features, labels):
        model.fit(features, labels)
        at = (model.predict_proba(valid[0]), valid[1])
        probabilities = model.predict_proba(test[0])
        thresholds = metrics_at_chosen_thresholds(
            at, (probabilities, test[1]), wanted_recall, classes
        )
        return class_scores(probabilities, test[1], classes) | thresholds

    majority = np.eye(len(classes))[np.bincount(train[1]).argmax()]
    found = {
        "majority class": class_scores(np.tile(majority, (len(test[1]), 1)), test[1], classes),
        "boosting": scores(boosting(), *train),
        "boosting, class weights": scores(boosting(class_weight="balanced"), *train),
    }
    rarest = int(np.unique(train[1], return_counts=True)[1].min())
    if find_spec("imblearn") and rarest > 1:
        # SMOTE interpolates between cases of a class, which needs as many neighbours.
        neighbors = min(5, rarest - 1)
        oversampling = require_module("imblearn.over_sampling")
        smote = oversampling.SMOTE(random_state=0, k_neighbors=neighbors)
        found["boosting, SMOTE"] = scores(boosting(), *smote.fit_resample(*train))
    return found


def missing_packages() -> tuple[str, ...]:
    """Returns a sentence for each row of `boosting_scores` that needs a missing package."""
    if find_spec("imblearn"):
        return ()
    return ("boosting with SMOTE needs imbalanced-learn: pip install 'rnnlab[imbalance]'",)


def class_scores(
    probabilities: np.ndarray, targets: np.ndarray, classes: tuple[str, ...]
) -> dict[str, float]:
    """Returns scores by the names of `rnnlab.train.metrics`: F1, accuracy, average precision.

    >>> p = np.array([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
    >>> class_scores(p, np.array([0, 0, 1]), ("N", "V"))["average_precision/V"]
    1.0
    """
    metrics = require_module("sklearn.metrics")
    predicted = probabilities.argmax(-1)
    found = {
        "f1": metrics.f1_score(targets, predicted, average="macro", zero_division=0.0),
        "accuracy": np.mean(predicted == targets),
    }
    for c, name in enumerate(classes):
        if c in targets:
            precision = metrics.average_precision_score(targets == c, probabilities[:, c])
            found[f"average_precision/{name}"] = precision
    return {name: float(value) for name, value in found.items()}
