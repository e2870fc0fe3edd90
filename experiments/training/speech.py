"""Does a small recurrent model that reads only the past transcribe the speech of new speakers?

Command:  rnnlab run experiments/training/speech.py --preset cpu
          rnnlab run experiments/training/speech.py --preset cells
          rnnlab run experiments/training/speech.py --preset transducer
          rnnlab run experiments/training/speech.py --preset tried
Data:     rnnlab data get an4 --from FOLDER
Device:   two cores of a shared x86 machine; 3 minutes per run of CTC with minGRU.
Expected: a test WER of minGRU below 0.35 and a CER below 0.15: a prototype of 247,000 parameters
          that removed the mean of the whole utterance reached 0.31 and 0.147. A transducer within
          15% of CTC, since 850 texts teach a prediction network little. GRU and minLSTM at most
          0.03 of CER from minGRU, since the order of sounds within a word is short. The mean of
          the utterance is 0.01 of CER better than the running mean.
Paper:    Graves et al., ICML 2006 (CTC); He et al., arXiv 1811.06621 (streaming transducers). On
          this split a public repository reports a WER of 0.051 and a CER of 0.030 by DeepSpeech 2
          with CTC, and 0.165 and 0.098 by a ResNet, from audio with augmentation.

Decoding is greedy, without a language model. The model streams: experiments/studies/
streaming_speech.py measures its delay, its real-time factor and its state.
"""

from rnnlab import Experiment, ModelConfig, Preset, Speech, TrainConfig

MASKS = ("time-mask=0.1", "feature-mask=0.2", "jitter=0.1")
SEEDS = {"train.seed": (0, 1, 2)}

EXPERIMENT = Experiment(
    Speech(batch_size=16, augment=MASKS),
    ModelConfig(width=160, depth=2, expansion=1, conv_kernel_size=4, mlp_expansion=2, dropout=0.1),
    TrainConfig(
        steps=1200,
        learning_rate=3e-3,
        weight_decay=0.01,
        schedule="cosine",
        warmup_steps=100,
        eval_every=200,
    ),
)

CHANGES = "data.mean+data.stack+data.augment+model.bidirectional"
TRIED = (
    ("running", 3, (), False),
    ("utterance", 3, MASKS, False),
    ("running", 2, MASKS, False),
    ("utterance", 3, MASKS, True),
)

PRESETS = {
    "cpu": Preset(EXPERIMENT, SEEDS),
    "cells": Preset(EXPERIMENT, {"model.cell": ("minlstm", "gru"), **SEEDS}),
    "transducer": Preset(EXPERIMENT.override({"data.loss": "transducer"}), SEEDS),
    "tried": Preset(EXPERIMENT, {CHANGES: TRIED, "train.seed": (0,)}),
}
