"""Does a CRF over the tags of a sentence help a recurrent model to find named entities?

Command:  rnnlab run experiments/training/entities.py --preset cpu
          rnnlab run experiments/training/entities.py --preset cells
          rnnlab run experiments/training/entities.py --preset tried
Device:   two cores of a shared x86 machine.
Expected: a test F1 of entities of at least 0.60 for minGRU with the CRF, 2 to 4 points above
          single tags whose decoding excludes what IOB2 does not allow, which are above single tags
          without that; GRU within 2 points of minGRU; and none of them above a CRF on features of
          words (0.671), since 4,383 sentences are few and the words are not pretrained.
Paper:    none on these tags. On the same sentences with the tags of DaNE, Flair with pretrained
          words has 0.818 (huggingface.co/flair/ner-danish).

The data are not part of the package: `rnnlab data` gets them.
"""

from rnnlab import Entities, Experiment, ModelConfig, Preset, TrainConfig

SEEDS = {"train.seed": (0, 1, 2)}

EXPERIMENT = Experiment(
    Entities(batch_size=32),
    ModelConfig(
        width=64,
        depth=1,
        expansion=1,
        conv_kernel_size=None,
        mlp_expansion=None,
        dropout=0.3,
        bidirectional=True,
    ),
    TrainConfig(
        steps=800,
        learning_rate=3e-3,
        weight_decay=0.05,
        schedule="cosine",
        warmup_steps=50,
        eval_every=200,
    ),
)

OUTPUTS = "data.output+data.constraints"
KINDS = (("linear_chain", "decoding"), ("softmax", "decoding"), ("softmax", "none"))
TRIED = ((0.0, 0.3), (0.5, 0.0), (0.5, 0.3), (0.5, 0.5), (2.0, 0.3))

PRESETS = {
    "cpu": Preset(EXPERIMENT, {OUTPUTS: KINDS, **SEEDS}),
    "cells": Preset(EXPERIMENT, {"model.cell": ("mingru", "minlstm", "gru"), **SEEDS}),
    "tried": Preset(EXPERIMENT, {"data.word_dropout+model.dropout": TRIED, **SEEDS}),
}
