"""A fixture that records what the estimators of scikit-learn are fitted to."""

import functools
import importlib
from importlib.util import find_spec

import numpy as np
import pytest

ESTIMATORS = {
    "sklearn.calibration": ("CalibratedClassifierCV",),
    "sklearn.decomposition": ("PCA",),
    "sklearn.ensemble": (
        "HistGradientBoostingClassifier",
        "HistGradientBoostingRegressor",
        "IsolationForest",
    ),
    "sklearn.linear_model": ("LogisticRegression", "Ridge"),
    "sklearn.neural_network": ("MLPClassifier",),
}
"""The estimators of the baselines, by module."""


@pytest.fixture
def fitted_arrays(monkeypatch):
    """A list of the arguments of every `fit`, in order; it stays empty without scikit-learn.

    Estimators make two iterations: what they learn does not matter here.
    """
    found = []

    def recorded(fit):
        @functools.wraps(fit)
        def wrapped(self, *arrays, **options):
            found.append(arrays)
            if hasattr(self, "max_iter"):
                self.max_iter = 2
            return fit(self, *arrays, **options)

        return wrapped

    for module, names in ESTIMATORS.items() if find_spec("sklearn") else ():
        for name in names:
            kind = getattr(importlib.import_module(module), name)
            monkeypatch.setattr(kind, "fit", recorded(kind.fit))
    return found


def assert_fitted_to_the_same(clean, planted, found):
    """Runs the baselines of two data sets, whose estimators must be fitted to equal arrays."""
    clean()
    half = len(found)
    planted()
    np.testing.assert_equal(found[half:], found[:half])
    assert bool(half) == bool(find_spec("sklearn"))
