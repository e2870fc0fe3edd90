"""How many cycles does a turbofan engine have left, and do recurrent cells beat window features?

Command:  rnnlab run experiments/training/turbofan.py --preset cpu
Data:     rnnlab data get cmapss-fd001
Device:   two cores of a shared x86 machine; 6 minutes for 12 runs.
Expected: RMSE against the capped truth of 13 to 14.5 for minGRU, a mean over 3 seeds. Gradient
          boosting on window features reached 11.1 in a trial, so that the cells do not win; the
          training mean has 42. (Inputs and layers were chosen in trials, by validation.)
Paper:    none of minimal cells. LSTM 16.14 and 14.93, CNN 16.97 (arXiv 2604.27234), with a truth
          that is not always stated.
"""

from rnnlab import Experiment, ModelConfig, Preset, TrainConfig, Turbofan

PRESETS = {
    "cpu": Preset(
        Experiment(
            Turbofan(batch_size=16),
            ModelConfig(
                width=32,
                depth=2,
                expansion=1,
                conv_kernel_size=None,
                mlp_expansion=2,
                dropout=0.2,
            ),
            TrainConfig(
                steps=300,
                learning_rate=3e-3,
                weight_decay=0.01,
                schedule="cosine",
                warmup_steps=40,
                eval_every=25,
            ),
        ),
        {"model.cell": ("mingru", "minlstm", "gru", "lstm"), "train.seed": (0, 1, 2)},
    ),
}
