"""Classifiers of scikit-learn on whole sequences, without recurrence."""

import functools
import warnings
from collections.abc import Sequence

import numpy as np

from rnnlab.optional import require_module


def features(
    train: Sequence[np.ndarray], test: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns sequences as flat feature vectors, standardized by the training sequences.

    A sequence (time, in_features) is flattened and padded with zeros, or cut, to the length of the
    longest training sequence. Features that do not vary in training become 0.

    Returns:
      train and test, (sequences, longest · in_features) each, float64.

    >>> train, test = features([np.ones((2, 1)), np.zeros((1, 1))], [np.ones((3, 1))])
    >>> train.tolist(), test.tolist()
    ([[1.0, 1.0], [-1.0, -1.0]], [[1.0, 1.0]])
    """
    longest = max(len(sequence) for sequence in train)

    def flatten(sequences):
        padded = np.zeros((len(sequences), longest, *np.shape(sequences[0])[1:]))
        for row, sequence in zip(padded, sequences, strict=True):
            row[: len(sequence)] = sequence[:longest]
        return padded.reshape(len(padded), -1)

    train, test = flatten(train), flatten(test)
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    scale = np.where(deviation > 0, deviation, np.inf)
    return (train - mean) / scale, (test - mean) / scale


def accuracies(
    train: Sequence[np.ndarray],
    train_labels: np.ndarray,
    test: Sequence[np.ndarray],
    test_labels: np.ndarray,
) -> dict[str, float]:
    """Returns the accuracies on `test` of three classifiers fitted on `train`.

    Logistic regression, a linear SVM and an MLP get `features`. Their settings are the defaults of
    scikit-learn, except more iterations for the first two; the MLP has one hidden layer of 100
    units and a fixed seed.

    Raises:
      ValueError: scikit-learn is not installed.
    """
    linear_model, svm = require_module("sklearn.linear_model"), require_module("sklearn.svm")
    neural_network = require_module("sklearn.neural_network")
    models = {
        "logistic regression": linear_model.LogisticRegression(max_iter=1000),
        "linear SVM": svm.LinearSVC(max_iter=5000, random_state=0),
        "MLP": neural_network.MLPClassifier(random_state=0),
    }
    train, test = features(train, test)
    with warnings.catch_warnings():
        # A classifier that has not converged is still a baseline.
        warnings.simplefilter("ignore", require_module("sklearn.exceptions").ConvergenceWarning)
        return {
            name: float(model.fit(train, train_labels).score(test, test_labels))
            for name, model in models.items()
        }


def naive_bayes_accuracy(
    train: Sequence[np.ndarray],
    train_labels: np.ndarray,
    test: Sequence[np.ndarray],
    test_labels: np.ndarray,
    longest: int = 4,
) -> float:
    """Returns the accuracy on `test` of naive Bayes on counts of n-grams of tokens.

    Args:
      train, test: token ids (time,) of each sequence.
      train_labels, test_labels: the class of each sequence.
      longest: tokens of the longest n-grams; shorter ones count too.

    Raises:
      ValueError: scikit-learn is not installed.

    >>> sequences, labels = [np.array([1, 2]), np.array([2, 3])], np.array([0, 1])
    >>> naive_bayes_accuracy(sequences, labels, [np.array([1, 2, 4])], np.array([0]))
    1.0
    """
    extraction = require_module("sklearn.feature_extraction.text")
    counts = extraction.CountVectorizer(analyzer=functools.partial(_ngrams, longest=longest))
    model = require_module("sklearn.naive_bayes").MultinomialNB()
    model.fit(counts.fit_transform(train), train_labels)
    return float(model.score(counts.transform(test), test_labels))


def _ngrams(tokens: np.ndarray, longest: int) -> list[tuple[int, ...]]:
    ids = tokens.tolist()
    return [tuple(ids[k : k + n]) for n in range(1, longest + 1) for k in range(len(ids) - n + 1)]
