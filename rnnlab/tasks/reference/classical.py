"""Classifiers of scikit-learn on whole sequences: what needs no recurrence."""

import warnings
from collections.abc import Sequence

import numpy as np

from rnnlab.optional import extra


def features(
    train: Sequence[np.ndarray], test: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Sequences as rows of equal width, standardised by the training rows.

    A sequence (time, in_features) is laid flat and filled up with zeros to the longest training
    sequence's length; what is longer is cut. Values that do not vary in training become 0.

    Returns:
      train and test, (rows, longest · in_features) each, float64.

    >>> train, test = features([np.ones((2, 1)), np.zeros((1, 1))], [np.ones((3, 1))])
    >>> train.tolist(), test.tolist()
    ([[1.0, 1.0], [-1.0, -1.0]], [[1.0, 1.0]])
    """
    longest = max(len(sequence) for sequence in train)

    def flat(sequences):
        rows = np.zeros((len(sequences), longest, *np.shape(sequences[0])[1:]))
        for row, sequence in zip(rows, sequences, strict=True):
            row[: len(sequence)] = sequence[:longest]
        return rows.reshape(len(rows), -1)

    train, test = flat(train), flat(test)
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    scale = np.where(deviation > 0, deviation, np.inf)
    return (train - mean) / scale, (test - mean) / scale


def accuracies(
    train: Sequence[np.ndarray],
    train_labels: np.ndarray,
    test: Sequence[np.ndarray],
    test_labels: np.ndarray,
) -> dict[str, float]:
    """Accuracy on `test` of a logistic regression, a linear SVM and an MLP fitted on `train`.

    All see `features`, with scikit-learn's own settings but for more iterations of the first two;
    the MLP has one hidden layer of 100 units and a fixed seed.

    Raises:
      ValueError: scikit-learn is not installed.
    """
    linear_model, svm = extra("sklearn.linear_model"), extra("sklearn.svm")
    neural_network = extra("sklearn.neural_network")
    models = {
        "logistic regression": linear_model.LogisticRegression(max_iter=1000),
        "linear SVM": svm.LinearSVC(max_iter=5000, random_state=0),
        "MLP": neural_network.MLPClassifier(random_state=0),
    }
    train, test = features(train, test)
    with warnings.catch_warnings():
        # A floor that stops short of its optimum is still a floor.
        warnings.simplefilter("ignore", extra("sklearn.exceptions").ConvergenceWarning)
        return {
            name: float(model.fit(train, train_labels).score(test, test_labels))
            for name, model in models.items()
        }
