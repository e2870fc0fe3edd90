"""The adding problem against a plain sum."""

import math

import numpy as np
import pytest

from rnnlab.tasks.adding import Adding


@pytest.mark.parametrize("length", [2, 3, 10])
def test_adding_target_is_the_sum_of_marked_numbers(length):
    batch = Adding(length=length, batch_size=300).load(seed=0).train_batch(0)
    places = set()
    for inputs, targets in zip(batch.inputs.tolist(), batch.targets.tolist(), strict=True):
        marked = [step for step, (_, marker) in enumerate(inputs) if marker == 1]
        assert {marker for _, marker in inputs} <= {0.0, 1.0}
        assert len(marked) == 2
        assert marked[0] < length // 2 <= marked[1]
        places.update(marked)
        assert all(0 <= value < 1 for value, _ in inputs)
        assert targets[-1][0] == pytest.approx(sum(inputs[step][0] for step in marked), abs=1e-6)
        assert all(math.isnan(value) for (value,) in targets[:-1])
    assert places == set(range(length))


def test_best_constant_has_an_error_of_one_sixth():
    data = Adding(length=4, evaluation_size=40_000).load(seed=0)
    answers = np.concatenate([batch.targets[:, -1, 0] for batch in data.eval_sets["test"]()])
    assert data.baselines() == {"constant": 1 / 6}
    assert abs(answers.mean() - 1) < 0.01
    assert abs(answers.var() - 1 / 6) < 0.003
