"""Features and accuracies of the scikit-learn baselines on made-up sequences."""

import numpy as np
import pytest

from rnnlab.optional import package_data_path, require_module
from rnnlab.tasks.reference import classical


def test_features_are_flat_padded_and_standardized():
    train = [np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[3.0, 5.0]])]
    test = [np.array([[2.0, 7.0], [1.5, 2.5], [9.0, 9.0]]), np.ones((1, 2))]
    fitted, asked = classical.features(train, test)
    # Columns 1, 5, 3, 5 and 3, 5, 0, 0 over the two training rows.
    np.testing.assert_allclose(fitted, [[-1, 0, 1, 1], [1, 0, -1, -1]])
    np.testing.assert_allclose(asked, [[0, 0, 0, 0], [-1, 0, -1, -1]])


def test_accuracies_of_separable_classes_exceed_those_of_noise():
    pytest.importorskip("sklearn")
    rng = np.random.default_rng(0)
    labels = rng.integers(2, size=400)
    noise = [rng.normal(size=(rng.integers(3, 6), 2)) for _ in labels]
    shifted = [x + 4 * label for x, label in zip(noise, labels, strict=True)]
    for sequences, low, high in ((shifted, 0.99, 1.0), (noise, 0.35, 0.65)):
        scores = classical.accuracies(sequences[:200], labels[:200], sequences[200:], labels[200:])
        assert set(scores) == {"logistic regression", "linear SVM", "MLP"}
        assert all(low <= score <= high for score in scores.values()), scores


def test_require_module_of_missing_package_names_the_remedy(tmp_path):
    with pytest.raises(
        ValueError, match=r"no_such must be installed; run .* install 'rnnlab\[data\]'"
    ):
        require_module("no_such.part")
    with pytest.raises(
        ValueError, match=r"no_such must be installed; run .* install 'rnnlab\[data\]'"
    ):
        package_data_path("no_such", "a.csv")
    with pytest.raises(ValueError, match=r"numpy must contain .*none.csv"):
        package_data_path("numpy", "none.csv")
