"""Handwritten digits, read as sequences of pixels or of image rows."""

from dataclasses import dataclass

import numpy as np

from rnnlab.optional import require_module
from rnnlab.tasks.data import RngStream, TaskData, rng_for
from rnnlab.tasks.labelled_data import labelled_data, pad_labelled
from rnnlab.tasks.splits import stratified
from rnnlab.validation import require_one_of, require_positive_int


@dataclass(frozen=True)
class Digits:
    """Classify images of 8 × 8 pixels as one of ten digits, after the last pixel.

    The data are the 1797 images of scikit-learn, read row by row and scaled from 0..16 to 0..1. The
    training, validation and test parts are the same for every seed and stratified by digit. The
    task is a small version of sequential MNIST, whose files would have to be downloaded.

    Attributes:
      width: pixels per time step: 1 reads 64 time steps, 8 reads 8 image rows.
      permuted: whether the pixels are in a fixed random order, without spatial structure.
      batch_size: images per batch.
      valid, test: fractions of the images in the validation and the test part.
      train_fraction: fraction of the training part that is trained on, each digit equally.

    Raises:
      ValueError: a setting is out of range, or scikit-learn is not installed.

    Source: the task of arXiv 1504.00941, section 4.2, on other images.

    >>> Digits(width=8)
    Digits(width=8, permuted=False, batch_size=32, valid=0.15, test=0.15, train_fraction=1.0)
    """

    width: int = 1
    permuted: bool = False
    batch_size: int = 32
    valid: float = 0.15
    test: float = 0.15
    train_fraction: float = 1.0

    def __post_init__(self):
        require_positive_int(batch_size=self.batch_size)
        if not 0 < self.train_fraction <= 1:
            raise ValueError(f"train_fraction must be in (0, 1], got {self.train_fraction}; use 1")
        require_one_of("width", self.width, (1, 2, 4, 8, 16, 32, 64))

    def load(self, seed: int) -> TaskData:
        """Loads the images. `seed` orders the training batches."""
        pixels, labels = require_module("sklearn.datasets").load_digits(return_X_y=True)
        pixels, labels = (pixels / 16).astype(np.float32), labels.astype(np.int32)
        if self.permuted:
            pixels = pixels[
                :, rng_for(RngStream.FIXED, pixels.shape[1]).permutation(pixels.shape[1])
            ]
        images = pixels.reshape(len(pixels), -1, self.width)
        trained, *held_out = stratified(labels, [self.valid, self.test])
        if self.train_fraction < 1:
            trained = trained[stratified(labels[trained], [self.train_fraction])[1]]
        train, valid, test = (
            pad_labelled(images[part], labels[part]) for part in (trained, *held_out)
        )
        return labelled_data(
            train,
            {"valid": valid, "test": test},
            out_features=10,
            batch_size=self.batch_size,
            seed=seed,
        )
