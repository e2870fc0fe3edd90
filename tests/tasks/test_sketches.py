"""Drawings: inputs and targets, noise, units of the likelihood, predictions and pictures."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx
from small_data_set import is_here

from rnnlab.analysis import sketch_plots
from rnnlab.bundle.kinds import dump_preparation, load_loss, load_preparation
from rnnlab.models import ModelConfig
from rnnlab.models.generate_strokes import generate_strokes
from rnnlab.tasks import Sketches
from rnnlab.tasks.batch import arrays, loss_mask
from rnnlab.tasks.readers.strokes import write_strokes
from rnnlab.tasks.sketch_coding import END, SketchCoding
from rnnlab.train.accumulate import MetricAccumulator

RNG = np.random.default_rng(0)
DRAWINGS = [
    np.concatenate([RNG.integers(-9, 10, (n, 2)), RNG.integers(0, 2, (n, 1))], axis=1)
    for n in RNG.integers(2, 9, 40)
]


@pytest.fixture
def task(tmp_path):
    write_strokes(tmp_path / "drawings.npz", DRAWINGS)
    return Sketches(tmp_path / "drawings.npz", components=2, batch_size=4)


def drawings_of(batches):
    """The targets of all drawings of packed batches."""
    found = []
    for batch in batches:
        flat, starts = batch.targets[batch.mask], batch.reset[batch.mask]
        found += np.split(flat, np.flatnonzero(starts)[1:])
    return found


def test_every_drawing_is_in_one_part_and_ends_once(task):
    data = dataclasses.replace(task, noise=0.0).load(0)
    coding = data.preparation.coding
    count = 0
    for name in ("valid", "test"):
        found = drawings_of(data.eval_sets[name]())
        count += len(found)
        for targets in found:
            assert (targets[:, 2] == END).tolist() == [False] * (len(targets) - 1) + [True]
            points = np.round(targets[:, :2] * coding.scale).astype(int)
            assert any(np.array_equal(points, x[:, :2]) for x in DRAWINGS)
    assert count == 8
    assert "32 drawings, 4 drawings, 4 drawings" in data.notes[0]


def test_inputs_are_the_points_before_without_noise(task):
    batch = task.load(0).train_batch(0)
    scale = task.load(0).preparation.coding.scale
    exact = np.round(batch.targets[..., :2] * scale) / scale
    follows = batch.mask[:, 1:] & ~batch.reset[:, 1:]
    np.testing.assert_allclose(batch.inputs[:, 1:, :2][follows], exact[:, :-1][follows], atol=1e-5)
    np.testing.assert_array_equal(batch.inputs[..., 3].astype(bool), batch.reset)
    assert np.isnan(batch.targets[~batch.mask]).all()


def test_noise_has_the_width_of_the_grid_and_follows_from_seed_and_number(task):
    data = task.load(0)
    scale = data.preparation.coding.scale
    assert data.preparation.coding.noise == 1.0
    first, again, other = data.train_batch(1), data.train_batch(1), task.load(1).train_batch(1)
    np.testing.assert_array_equal(first.targets, again.targets)
    units = first.targets[first.mask][:, :2] * scale
    offsets = units - np.round(units)
    assert 0.4 < np.abs(offsets).max() <= 0.5 + 1e-4
    assert other.targets.shape == first.targets.shape
    assert not np.array_equal(other.targets, first.targets, equal_nan=True)
    for a, b in zip(data.eval_sets["test"](), task.load(7).eval_sets["test"](), strict=True):
        np.testing.assert_array_equal(a.targets, b.targets)


@pytest.mark.parametrize(("factor", "noise"), [(0.3, 0.0), (1, 1.0), (6, 6.0)])
def test_noise_is_as_wide_as_the_grid(tmp_path, factor, noise):
    write_strokes(tmp_path / "a.npz", [x * np.array([factor, factor, 1]) for x in DRAWINGS])
    coding = Sketches(tmp_path / "a.npz").load(0).preparation.coding
    assert coding.noise == noise
    assert coding.unit == (noise or 1)


def test_likelihood_does_not_depend_on_the_units_of_the_model(task):
    """One normal distribution with the moments of the data scores the same in every unit."""
    data = dataclasses.replace(task, components=1).load(0)
    preparation = data.preparation
    coarse = dataclasses.replace(preparation.coding, scale=10 * preparation.coding.scale)
    targets = next(iter(data.eval_sets["test"]())).targets
    outputs = np.zeros((*targets.shape[:-1], data.out_features), np.float32)
    movement, pen = preparation.nats(outputs, targets)
    wider = outputs.copy()
    # exp(7 tanh(x / 7)) = 1 / 10
    wider[..., 3:5] = 7 * np.arctanh(-np.log(10) / 7)
    smaller = targets / np.array([10, 10, 1], np.float32)
    found, _ = dataclasses.replace(preparation, coding=coarse).nats(wider, smaller)
    np.testing.assert_allclose(found, movement, atol=1e-4)
    known = ~np.isnan(targets).any(-1)
    np.testing.assert_allclose(pen[known], np.log(3), rtol=1e-6)


def test_metrics_are_means_over_points_and_beat_no_baseline_by_construction(task):
    data = task.load(0)
    accumulator = MetricAccumulator(data.metrics)
    for batch in data.eval_sets["test"]():
        outputs = np.zeros((*batch.inputs.shape[:2], data.out_features), np.float32)
        accumulator.add_decoded(data.decode(outputs, batch))
        keep = loss_mask(batch).any(-1)
        accumulator.add(outputs[keep], batch.targets[keep])
    found = accumulator.result()
    assert found["pen_nats"] == pytest.approx(np.log(3), rel=1e-6)
    baselines = data.baselines()
    assert set(baselines) >= {"one normal distribution"}
    for scores in baselines.values():
        assert set(scores) == {"point_nats", "pen_nats"}
        assert np.isfinite(list(scores.values())).all()


def test_long_drawings_are_cut_without_an_end():
    coding = SketchCoding(scale=1.0, noise=0.0, length=2)
    drawing = np.array([[1, 0, 0], [2, 0, 1], [3, 0, 1]])
    _, targets = coding.sequence(drawing)
    assert targets[:, 2].tolist() == [0, 1]


def test_predictions_of_a_bundle_score_new_drawings(task, tmp_path):
    data = task.load(0)
    preparation = load_preparation(dump_preparation(data.preparation), "bundle")
    assert preparation.test is None
    assert load_loss({"kind": "Mixture", "components": 2, "pen_states": 3}, "loss") == data.loss

    def outputs(batch):
        return np.zeros((*batch.inputs.shape[:2], data.out_features))

    found = preparation.predict(outputs, tmp_path / "drawings.npz", None)
    assert found.columns["points"].tolist() == list(map(len, DRAWINGS))
    own = data.preparation.predict(outputs, None, None)
    assert len(own) == 4
    assert found.columns["pen_nats"][0] == pytest.approx(np.log(3), rel=1e-6)
    with pytest.raises(ValueError, match="horizon must be None"):
        preparation.predict(outputs, None, 2)


def test_later_parts_change_no_training_number(task):
    before = task.load(0)
    write_strokes(task.path, [*DRAWINGS[:-1], DRAWINGS[-1] * [5, 5, 1]])
    after = task.load(0)
    same = all(
        np.array_equal(a, b, equal_nan=True)
        for a, b in zip(arrays(before.train_batch(0)), arrays(after.train_batch(0)), strict=True)
    )
    in_train = before.preparation.coding != after.preparation.coding
    assert same != in_train
    assert before.fingerprint != after.fingerprint


@pytest.mark.usefixtures("implicit_promotion", "quick_compile")
def test_generated_drawings_are_on_the_grid_and_drawn(task):
    data = task.load(0)
    coding, head = data.preparation.coding, data.loss
    config = ModelConfig(width=8, depth=1, conv_kernel_size=None, mlp_expansion=None)
    model = config.build(head.out_features, in_features=4, rngs=nnx.Rngs(0))
    grid = coding.noise / coding.scale
    points = np.asarray(generate_strokes(model, head, 3, 12, jax.random.key(0), grid=grid))
    assert points.shape == (3, 12, 3)
    drawings = [coding.drawing(x) for x in points.astype(np.float64)]
    for drawing, raw in zip(drawings, points, strict=True):
        np.testing.assert_allclose(drawing[:, :2], np.round(drawing[:, :2]), atol=1e-4)
        ends = np.flatnonzero(raw[:, 2] == END)
        assert len(drawing) == (ends[0] + 1 if len(ends) else 12)
    figure = sketch_plots.figure({"model": drawings, "real": DRAWINGS[:11], "none": []})
    assert len(figure.subfigs) == 2
    strokes = sketch_plots.pen_strokes(DRAWINGS[0])
    assert sum(map(len, strokes)) == len(DRAWINGS[0])
    with pytest.raises(ValueError, match="temperature must be >= 0"):
        generate_strokes(model, head, 1, 2, jax.random.key(0), temperature=-1.0)


@pytest.mark.slow
@pytest.mark.skipif(not is_here("omniglot-strokes"), reason="omniglot-strokes is not here")
def test_real_omniglot_drawings_are_read():
    note = Sketches().load(0).notes[0]
    assert note.startswith("30,000 drawings, 1,000 drawings, 1,000 drawings to train")
    assert note.endswith("noise of width 1.")


def test_invalid_settings_are_refused():
    with pytest.raises(ValueError, match="noise must be >= 0"):
        Sketches(noise=-1.0)
    with pytest.raises(ValueError, match="components"):
        Sketches(components=0)
