"""Remaining life of engines, on small generated files of the format."""

from importlib.util import find_spec

import numpy as np
import pytest

from rnnlab.tasks import turbofan
from rnnlab.tasks.batch import last_steps, loss_mask
from rnnlab.tasks.turbofan import CUTS, Turbofan
from rnnlab.train.metrics import METRICS

LIVES = (7, 0, 130)


def engine_rows(number, length, rng):
    """Values of an engine: 21 of its 24 columns vary and drift."""
    values = rng.normal(size=(length, 24)) + np.arange(length)[:, None] / 50
    values[:, :3] = 5.0
    cycles = np.arange(1, length + 1)
    return np.column_stack([np.full(length, number), cycles, values])


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes the three files, with changed rows if asked, and returns the task."""

    def files(change=lambda part, rows: rows):
        rng = np.random.default_rng(0)
        lengths = {"train": (150, 160, 170, 180, 190), "test": (60, 70, 140)}
        names = {}
        for part, of in lengths.items():
            rows = [engine_rows(k, length, rng) for k, length in enumerate(of, 1)]
            names[part] = change(part, np.concatenate(rows))
            np.savetxt(
                tmp_path / f"{part}_FD001.txt", names[part], fmt=["%d", "%d"] + ["%.6f"] * 24
            )
        np.savetxt(tmp_path / "RUL_FD001.txt", LIVES, fmt="%d")
        paths = {path.name: path for path in tmp_path.iterdir()}
        monkeypatch.setattr(turbofan, "dataset_files", lambda name, path: paths)
        return Turbofan(batch_size=2)

    return files


def all_arrays(data, count=4):
    return [x for n in range(count) for x in data.train_batch(n) if x is not None]


def test_targets_are_the_capped_life_at_every_cycle(write):
    data = write().load(0)
    batch = data.train_batch(0)
    for target, mask in zip(batch.targets[..., 0], batch.mask, strict=True):
        cycles = np.arange(mask.sum())[::-1]
        np.testing.assert_allclose(125 * target[mask], np.minimum(cycles, 125), rtol=1e-6)
        assert np.isnan(target[~mask]).all()
    assert batch.inputs.shape[-1] == data.in_features == 21 + 1


def test_only_the_last_cycle_of_an_evaluated_engine_is_scored(write):
    data = write().load(0)
    for name, count in (("valid", len(CUTS)), ("test", 3)):
        batches = list(data.eval_sets[name]())
        for batch in batches:
            np.testing.assert_array_equal(loss_mask(batch)[..., 0], last_steps(batch.mask))
        assert sum((batch.example >= 0).sum() for batch in batches) == count


def test_decoded_lives_are_scored_against_the_raw_truth(write):
    data = write().load(0)
    for name, wanted in (("test", LIVES), ("valid", None)):
        pairs = []
        for batch in data.eval_sets[name]():
            outputs = np.where(last_steps(batch.mask)[..., None], 0.8, np.nan)
            pairs += data.decode(outputs, batch)
        predicted, actual = zip(*pairs, strict=True)
        np.testing.assert_allclose(predicted, 100.0)
        if wanted:
            assert actual == wanted
    errors = np.array([93, 100, -30])
    assert METRICS["rmse_uncapped"].value([100.0] * 3, LIVES) == pytest.approx(
        np.sqrt((errors**2).mean())
    )
    score = sum(np.exp(d / 10) - 1 if d > 0 else np.exp(-d / 13) - 1 for d in errors)
    assert METRICS["phm_score"].value([100.0] * 3, LIVES) == pytest.approx(score)


def test_inputs_read_no_later_cycle(write):
    """The inputs of an engine that is cut are the first inputs of the whole engine."""
    rng = np.random.default_rng(1)
    values = rng.normal(size=(80, 4))
    for length in (1, 5, 20, 21, 79):
        np.testing.assert_allclose(
            turbofan._inputs(values[:length]), turbofan._inputs(values)[:length], atol=1e-6
        )


def test_a_constant_in_the_test_engines_changes_no_training_number(write, fitted_arrays):
    def plant(part, rows):
        if part == "test":
            rows[:, 2:] = 1e6
        return rows

    clean, planted = write().load(0), write(plant).load(0)
    for a, b in zip(all_arrays(clean), all_arrays(planted), strict=True):
        np.testing.assert_array_equal(a, b)
    assert clean.fingerprint != planted.fingerprint
    write()
    clean.baselines()
    half = len(fitted_arrays)
    write(plant)
    planted.baselines()
    np.testing.assert_equal(fitted_arrays[half:], fitted_arrays[:half])
    assert half == 2 * bool(find_spec("sklearn"))


def test_a_constant_in_a_validation_engine_changes_no_training_number(write):
    task = write()
    train, valid = task._parts(turbofan.read_turbofans(turbofan.dataset_files("", None))[0])
    lengths = {len(x) for x in valid.values}
    assert not lengths & {len(x) for x in train.values}
    number = 1 + [150, 160, 170, 180, 190].index(lengths.pop())

    def plant(part, rows):
        if part == "train":
            rows[rows[:, 0] == number, 2:] = 1e6
        return rows

    clean, planted = task.load(0), write(plant).load(0)
    for a, b in zip(all_arrays(clean), all_arrays(planted), strict=True):
        np.testing.assert_array_equal(a, b)


def test_baselines_have_every_metric(write):
    data = write().load(0)
    found = data.baselines()
    names = ["training mean"]
    if find_spec("sklearn"):
        names += ["ridge regression", "gradient boosting"]
    assert list(found) == names
    for scores in found.values():
        assert set(scores) == set(data.metrics)
