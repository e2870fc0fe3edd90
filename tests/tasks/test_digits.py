"""Sequential digits against the images of scikit-learn; splits that all seeds share."""

import numpy as np
import pytest

from rnnlab.tasks.batch import IGNORE_INDEX
from rnnlab.tasks.data import RngStream, rng_for
from rnnlab.tasks.digits import Digits
from rnnlab.tasks.splits import stratified

datasets = pytest.importorskip("sklearn.datasets")


@pytest.fixture(scope="module")
def images():
    """The digit of each image by its pixels."""
    pixels, labels = datasets.load_digits(return_X_y=True)
    return {tuple(row): label for row, label in zip(pixels.tolist(), labels.tolist(), strict=True)}


def rows_of(batches):
    """Pixels and digit of every real row."""
    for batch in batches:
        assert batch.inputs.dtype == np.float32
        real = batch.mask.all(axis=1)
        assert (real == batch.mask.any(axis=1)).all()
        assert (batch.targets[:, :-1] == IGNORE_INDEX).all()
        assert (batch.targets[~real, -1] == IGNORE_INDEX).all()
        for x, y in zip(batch.inputs[real], batch.targets[real, -1], strict=True):
            yield tuple((x.ravel() * 16).tolist()), int(y)


@pytest.mark.parametrize("width", [1, 8])
def test_each_image_is_in_one_part_with_its_digit(images, width):
    data = Digits(width=width, batch_size=50).load(seed=0)
    assert data.train_batch(0).inputs.shape == (50, 64 // width, width)
    assert data.in_features == width
    parts = {name: dict(rows_of(make())) for name, make in data.eval_sets.items()}
    # 1797 images less the two held-out parts, in whole batches and what they carry over.
    parts["train"] = dict(rows_of(data.train_batch(n) for n in range(26)))
    assert sum(map(len, parts.values())) == len(images) == 1797
    assert {k: v for part in parts.values() for k, v in part.items()} == images
    for part in parts.values():
        shares = np.bincount(list(part.values())) / len(part)
        assert np.abs(shares - 0.1).max() < 0.01


def test_permuted_images_share_one_permutation(images):
    order = rng_for(RngStream.FIXED, 64).permutation(64)
    for seed in (0, 1):
        data = Digits(permuted=True).load(seed)
        for pixels, digit in rows_of([data.train_batch(0), *data.eval_sets["test"]()]):
            back = np.zeros(64)
            back[order] = pixels
            assert images[tuple(back.tolist())] == digit


def test_seed_orders_only_the_training_part():
    one, two = Digits().load(seed=0), Digits().load(seed=1)
    for name in ("valid", "test"):
        for x, y in zip(one.eval_sets[name](), two.eval_sets[name](), strict=True):
            np.testing.assert_array_equal(x.inputs, y.inputs)
    assert (one.train_batch(0).inputs != two.train_batch(0).inputs).any()
    assert one.fingerprint == two.fingerprint != Digits(width=8).load(seed=0).fingerprint


def test_digits_with_invalid_fractions_raise():
    with pytest.raises(ValueError, match=r"width must be one of 1, 2, 4.* got 3"):
        Digits(width=3)
    with pytest.raises(ValueError, match=r"fractions must be .* got \[0.5, 0.6\]"):
        Digits(valid=0.5, test=0.6).load(seed=0)
    with pytest.raises(
        ValueError,
        match=r"no part empty, got fractions \[0.2\] of 4 examples",
    ):
        stratified(np.array([0, 0, 1, 1]), [0.2])


def test_stratified_keeps_rare_class_in_training():
    train, valid, test = stratified(np.array([0] * 20 + [1] * 2 + [2]), [0.1, 0.6])
    assert 22 in train.tolist()
    assert sorted([*train, *valid, *test]) == list(range(23))
