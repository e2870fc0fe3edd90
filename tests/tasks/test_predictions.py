"""Tables of predictions, against values computed by hand."""

import numpy as np
import pytest

from rnnlab.tasks.batch import IGNORE_INDEX, Batch
from rnnlab.tasks.predictions import Predictions, predict_batches, with_summary

MASK = np.array([[True, True], [True, False]])
CLASSES = np.array([[IGNORE_INDEX, 1], [0, IGNORE_INDEX]], np.int32)
INPUTS = np.zeros((2, 2, 1), np.float32)


def constant(outputs):
    return lambda batch: np.broadcast_to(outputs, (*batch.inputs.shape[:2], len(outputs)))


def test_predict_batches_of_classes_names_the_last_step_of_each_example():
    batches = [Batch(INPUTS, CLASSES, MASK), Batch(INPUTS[:1], CLASSES[:1], MASK[:1])]
    outputs = constant(np.log([0.25, 0.75]))
    found = predict_batches(outputs, batches, "categorical", classes="ab", last_step_only=True)
    assert found.columns["example"].tolist() == [0, 1, 2]
    assert found.columns["predicted"].tolist() == ["b", "b", "b"]
    assert found.columns["actual"].tolist() == ["b", "a", "b"]
    assert found.columns["p(a)"] == pytest.approx(0.25)
    assert with_summary(found).summary.endswith("2 of 3 with a known class are right (66.7%).")


def test_predict_batches_of_tags_counts_real_steps_of_all_examples():
    batch = Batch(INPUTS, CLASSES, MASK)
    found = predict_batches(constant([0.0, 1.0, 0.0]), [batch], "categorical")
    assert found.columns["example"].tolist() == [0, 0, 1]
    assert found.columns["step"].tolist() == [0, 1, 0]
    assert found.columns["actual"].tolist() == ["", "1", "0"]


def test_predict_batches_without_examples_of_padding_counts_real_examples():
    fill = Batch(INPUTS, CLASSES, np.array([[True, True], [False, False]]))
    batches = [fill, Batch(INPUTS, CLASSES, MASK)]
    found = predict_batches(constant([1.0, 0.0]), batches, "categorical", last_step_only=True)
    assert found.columns["example"].tolist() == [0, 1, 2]


def test_predict_batches_of_values_are_in_the_data_s_units():
    targets = np.array([[[np.nan], [2.0]], [[0.0], [5.0]]], np.float32)
    batch = Batch(INPUTS, targets, MASK)
    found = predict_batches(constant([1.0]), [batch], "squared", target_mean=10.0, target_scale=3.0)
    assert found.columns["predicted"].tolist() == [13.0, 13.0, 13.0]
    assert found.to_csv().splitlines()[1:] == ["0,0,13.0,", "0,1,13.0,16.0", "1,0,13.0,10.0"]
    assert with_summary(found).summary == "3 predictions; RMSE 3 over the 2 known values."


def test_predict_batches_of_labels_lists_their_numbers():
    targets = np.array([[[1.0, 0.0], [1.0, 1.0]]], np.float32)
    found = predict_batches(constant([-1.0, 1.0]), [Batch(INPUTS[:1], targets)], "binary")
    assert found.columns["predicted"].tolist() == ["1", "1"]
    assert found.columns["actual"].tolist() == ["0", "0 1"]


def test_predictions_are_saved_with_dates_and_empty_cells(tmp_path):
    dates = np.array(["2020-01-31", "2020-01-31T06:30"], "datetime64[s]")
    table = Predictions("forecast", {"date": dates, "forecast": np.array([0.1, np.nan])})
    table.save(tmp_path / "forecast.csv")
    text = (tmp_path / "forecast.csv").read_text()
    assert text == "date,forecast\n2020-01-31,0.1\n2020-01-31 06:30:00,\n"
    assert [path.name for path in tmp_path.iterdir()] == ["forecast.csv"]
