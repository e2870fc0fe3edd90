"""Losses of sequences of labels whose alignment with the time steps is not given.

They are pure functions of arrays. `rnnlab.train.losses` reads them from batches.
"""

from rnnlab.losses.ctc import ctc_best_path, ctc_loss
from rnnlab.losses.transducer import transducer_loss

__all__ = ["ctc_best_path", "ctc_loss", "transducer_loss"]
