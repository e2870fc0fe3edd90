"""Smaller models: weights as integers, and units removed."""

from rnnlab.compress.fine_tune import fine_tune, tuning_config
from rnnlab.compress.prune import prune, pruned_config
from rnnlab.compress.quantize import Quantized, leaf_encodings, quantize, sensitivity
from rnnlab.compress.rounding import encode, rounded
from rnnlab.compress.straight_through import StraightThrough

__all__ = [
    "Quantized",
    "StraightThrough",
    "encode",
    "fine_tune",
    "leaf_encodings",
    "prune",
    "pruned_config",
    "quantize",
    "rounded",
    "sensitivity",
    "tuning_config",
]
