"""Losses of label sequences with and without an alignment, and of rankings among sampled items.

They are pure functions of arrays. `rnnlab.train.losses` and `rnnlab.heads` read them from batches.
"""

from rnnlab.losses.ctc import ctc_best_path, ctc_loss
from rnnlab.losses.ranking import bpr_max, top1_max
from rnnlab.losses.transducer import transducer_loss

__all__ = ["bpr_max", "ctc_best_path", "ctc_loss", "top1_max", "transducer_loss"]
