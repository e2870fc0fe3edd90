"""Is a recurrent model better than hidden Markov models at spoken digits, also of a new speaker?

Command:  rnnlab run experiments/training/spoken_digits.py --preset cpu
          rnnlab run experiments/training/spoken_digits.py --preset cells
          rnnlab run experiments/training/spoken_digits.py --preset speakers
Data:     rnnlab data get fsdd --from FOLDER
Device:   two cores of a shared x86 machine; 2 minutes per run.
Expected: on the official test part, whose speakers are known, an accuracy of every cell of at least
          0.97, and at least that of a hidden Markov model per digit. On a new speaker 0.05 to 0.3
          less for all, with large differences between speakers: five voices do not cover the sixth.
Paper:    none on these parts that states which speakers were known.

The preset `speakers` tests on each speaker in turn, who is in no other part.
"""

from rnnlab import Experiment, ModelConfig, Preset, SpokenDigits, TrainConfig
from rnnlab.tasks.spoken_digits import SPEAKERS

SEEDS = {"train.seed": (0, 1, 2)}

EXPERIMENT = Experiment(
    SpokenDigits(batch_size=32, augment=("time-mask=0.1", "feature-mask=0.2", "jitter=0.1")),
    ModelConfig(
        width=96,
        depth=2,
        expansion=1,
        conv_kernel_size=4,
        mlp_expansion=2,
        dropout=0.1,
        readout="mean",
    ),
    TrainConfig(
        steps=800,
        learning_rate=2e-3,
        weight_decay=0.01,
        schedule="cosine",
        warmup_steps=50,
        eval_every=100,
    ),
)

PRESETS = {
    "cpu": Preset(EXPERIMENT, SEEDS),
    "cells": Preset(EXPERIMENT, {"model.cell": ("minlstm", "gru"), **SEEDS}),
    "speakers": Preset(EXPERIMENT, {"data.test_speaker": SPEAKERS, **SEEDS}),
}
