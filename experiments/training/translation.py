"""Does a small encoder-decoder translate better than the nearest sentence that it has read?

Command:  rnnlab run experiments/training/translation.py --preset cpu
          rnnlab run experiments/training/translation.py --preset cells
          rnnlab run experiments/training/translation.py --preset input_feeding
          rnnlab run experiments/training/translation.py --preset characters
          rnnlab run experiments/training/translation.py --preset beam
Device:   two cores of a shared x86 machine; 5 minutes per run.
Expected: a test BLEU of minGRU at least 10 above that of the translation of the nearest training
          sentence; a BLEU of the GRU with input feeding not above that of the GRU without it by
          more than the spread of seeds.
Paper:    none on this split. Recurrent models with attention are those of Bahdanau et al. 2014
          (arXiv 1409.0473) and Luong et al. 2015 (arXiv 1508.04025).

The data are not part of the package: `rnnlab data get tatoeba-fra` gets them. They are English and
French sentences of up to 8 words of Tatoeba (CC BY 2.0 FR; manythings.org/anki, tatoeba.org), as
byte pairs that are learned in the training part. BLEU and chrF are those of sacrebleu on whole
sentences, with all translations of a sentence as references, so compare them only with the
baselines of the same table.
"""

from rnnlab import Experiment, ModelConfig, Preset, TrainConfig, Translation

SEEDS = {"train.seed": (0, 1, 2)}

EXPERIMENT = Experiment(
    Translation(max_words=8, vocab_size=2000, batch_size=64),
    ModelConfig(width=128, depth=2, expansion=1, conv_kernel_size=None, mlp_expansion=2),
    TrainConfig(
        steps=3200,
        learning_rate=3e-3,
        weight_decay=0.01,
        schedule="cosine",
        warmup_steps=100,
        eval_every=800,
    ),
)

PRESETS = {
    "cpu": Preset(EXPERIMENT, {"model.cell": ("mingru",), **SEEDS}),
    "cells": Preset(EXPERIMENT, {"model.cell": ("minlstm", "gru"), **SEEDS}),
    "input_feeding": Preset(
        EXPERIMENT.override({"model.input_feeding": True}), {"model.cell": ("gru",), **SEEDS}
    ),
    "characters": Preset(
        EXPERIMENT.override({"data.units": "characters"}), {"model.cell": ("mingru",), **SEEDS}
    ),
    "beam": Preset(
        EXPERIMENT.override({"data.beam": 4, "data.length_penalty": 1.0}),
        {"model.cell": ("mingru", "gru"), **SEEDS},
    ),
}
