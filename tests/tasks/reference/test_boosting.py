"""Gradient boosting for rare classes, with and without oversampling."""

from importlib.util import find_spec

import numpy as np
import pytest

from rnnlab.tasks.reference import boosting

needs_sklearn = pytest.mark.skipif(not find_spec("sklearn"), reason="scikit-learn is missing")


def part(rare, seed):
    rng = np.random.default_rng(seed)
    classes = (np.arange(80) < rare).astype(int)
    return rng.normal(size=(80, 2)) + 4 * classes[:, None], classes


@needs_sklearn
@pytest.mark.usefixtures("implicit_promotion")
@pytest.mark.parametrize("rare", [1, 3])
def test_boosting_scores_of_few_rare_cases_have_smote_where_it_is_possible(rare):
    parts = part(rare, 0), part(20, 1), part(20, 2)
    found = boosting.boosting_scores(*parts, ("usual", "rare"), {"rare": 0.5})
    rows = ["majority class", "boosting", "boosting, class weights"]
    rows += ["boosting, SMOTE"] * bool(rare > 1 and find_spec("imblearn"))
    assert list(found) == rows
    assert found["majority class"]["f1"] == pytest.approx(3 / 7)
    assert {"average_precision/rare", "recall_at_threshold/rare"} <= found["boosting"].keys()


def test_missing_package_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr(boosting, "find_spec", lambda name: None)
    assert boosting.missing_packages()[0].endswith("pip install 'rnnlab[imbalance]'")
