"""Permutations of single indices: bijections that depend on their numbers and look random."""

import numpy as np
import pytest

from rnnlab.tasks.batching.scattered import scattered


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 16, 17, 1000, 4096, 4097])
def test_scattered_is_a_permutation_for_every_size(size):
    images = scattered(np.arange(size), size, 0, 3)
    np.testing.assert_array_equal(np.sort(images), np.arange(size))


def test_scattered_index_has_one_image_whatever_is_asked_with_it():
    whole = scattered(np.arange(1000), 1000, 5)
    np.testing.assert_array_equal(scattered(np.array([7, 999, 7]), 1000, 5), whole[[7, 999, 7]])


def test_scattered_order_depends_on_every_number():
    orders = [scattered(np.arange(500), 500, *x) for x in ((0, 0), (0, 1), (1, 0))]
    assert all((x != y).mean() > 0.9 for x, y in zip(orders, orders[1:] + orders[:1], strict=True))


def test_scattered_images_look_uniform():
    """Neighbors and halves of the order are no closer than those of a random permutation."""
    size, count = 10_000_019, 20_000
    images = scattered(np.arange(count), size, 1) / size
    assert abs(images.mean() - 0.5) < 0.01
    assert abs(np.corrcoef(images[1:], images[:-1])[0, 1]) < 0.03
    histogram = np.histogram(images, 20, (0, 1))[0]
    assert ((histogram - count / 20) ** 2 / (count / 20)).sum() < 50  # chi-squared of 19 degrees


def test_scattered_huge_size_stays_in_range():
    images = scattered(np.array([0, 2**61]), 2**62, 0)
    assert ((images >= 0) & (images < 2**62)).all()
