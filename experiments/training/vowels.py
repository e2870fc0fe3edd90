"""Does a masked bidirectional cell recognize speakers from sequences of different lengths?

Command:  rnnlab run experiments/training/vowels.py --preset cpu
Device:   one core of a shared x86 machine; 6 minutes for 12 runs.
Expected: test accuracy of minGRU at least 0.96, a mean over 3 seeds; every cell at least 0.90. The
          most common speaker has 0.08.
Paper:    none of minimal cells. Kernel methods reach 0.978 to 0.986, an ensemble of LSTMs 0.989, as
          their authors report.
"""

from rnnlab import Experiment, ModelConfig, Preset, Sequences, TrainConfig

PRESETS = {
    "cpu": Preset(
        Experiment(
            Sequences(batch_size=32),
            ModelConfig(
                width=64,
                depth=2,
                expansion=1,
                mlp_expansion=2,
                dropout=0.3,
                bidirectional=True,
                readout="mean",
            ),
            TrainConfig(
                steps=400,
                learning_rate=2e-3,
                weight_decay=0.05,
                schedule="cosine",
                warmup_steps=40,
                eval_every=50,
            ),
        ),
        {"model.cell": ("mingru", "minlstm", "gru", "lstm"), "train.seed": (0, 1, 2)},
    ),
}
