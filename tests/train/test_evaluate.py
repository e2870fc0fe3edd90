"""Metrics at thresholds that are chosen on the first evaluation set."""

import numpy as np

from rnnlab.tasks.batch import Batch
from rnnlab.tasks.data import TaskData
from rnnlab.train.evaluate import at_wanted_recall


def task(valid, test, **settings):
    def batches(logits, targets):
        inputs = np.stack([np.zeros_like(logits), logits], -1)[None].astype(np.float32)
        return lambda: [Batch(inputs, np.array([targets], np.int32))]

    return TaskData(
        loss="categorical",
        metrics=("nll",),
        out_features=2,
        train_batch=lambda n: None,
        eval_sets={"valid": batches(*valid), "test": batches(*test)},
        baselines=dict,
        classes=("usual", "rare"),
        **settings,
    )


def test_threshold_reaches_the_wanted_recall_on_the_first_set():
    valid = np.array([4.0, 1.0, -1.0, -3.0, 9.0]), [1, 1, 0, 0, -1]
    test = np.array([2.0, 1.5, 0.5, -5.0]), [1, 0, 1, 0]
    data = task(valid, test, wanted_recall={"rare": 1.0})
    found = at_wanted_recall(lambda params, batch: batch.inputs, None, data)
    assert found == {"recall_at_threshold/rare": 0.5, "precision_at_threshold/rare": 0.5}


def test_task_without_a_wanted_recall_has_no_thresholds():
    part = np.array([1.0]), [0]
    assert at_wanted_recall(lambda params, batch: batch.inputs, None, task(part, part)) == {}
