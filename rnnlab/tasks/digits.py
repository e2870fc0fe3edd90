"""Handwritten digits read as sequences of pixels or of rows."""

from dataclasses import dataclass

import numpy as np

from rnnlab.optional import extra
from rnnlab.tasks.data import FIXED, TaskData, generator
from rnnlab.tasks.labelled_data import labelled, stratified, supervised
from rnnlab.validation import require_one_of, require_positive_int


@dataclass(frozen=True)
class Digits:
    """Which of the ten digits an image of 8 × 8 pixels shows, asked after its last pixel.

    The 1797 images of scikit-learn, read row by row and scaled from 0..16 to 0..1. Training,
    validation and test parts are the same for every seed, and hold each digit in the same share. A
    small kin of sequential MNIST, whose files would be a download.

    Attributes:
      width: pixels a step: 1 reads 64 steps, 8 reads the 8 rows.
      permuted: whether the pixels come in an order drawn once and for all, which takes
        neighbourhood away.
      batch_size: images a batch.
      valid, test: shares held out.
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
        pixels, labels = extra("sklearn.datasets").load_digits(return_X_y=True)
        pixels, labels = (pixels / 16).astype(np.float32), labels.astype(np.int32)
        if self.permuted:
            pixels = pixels[:, generator(FIXED, pixels.shape[1]).permutation(pixels.shape[1])]
        images = pixels.reshape(len(pixels), -1, self.width)
        taken, *kept = stratified(labels, [self.valid, self.test])
        if self.train_fraction < 1:
            taken = taken[stratified(labels[taken], [self.train_fraction])[1]]
        train, valid, test = (labelled(images[rows], labels[rows]) for rows in (taken, *kept))
        return supervised(
            train,
            {"valid": valid, "test": test},
            out_features=10,
            batch_size=self.batch_size,
            seed=seed,
        )
