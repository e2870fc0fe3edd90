"""Does one recurrent model of 414 hourly series beat the seasonal naive forecast and its intervals?

Command:  rnnlab run experiments/training/load_forecast.py --preset cpu
Data:     rnnlab data get m4-hourly
Device:   two cores of a shared x86 machine.
Expected: MASE of minGRU below 1.0 and MSIS below 8, with 92% to 98% of the values inside the 95%
          interval; the seasonal naive forecast has a MASE of 1.193.
Paper:    none of minimal cells.
"""

from rnnlab import Experiment, ManySeries, ModelConfig, Preset, TrainConfig

PRESETS = {
    "cpu": Preset(
        Experiment(
            ManySeries(batch_size=32),
            ModelConfig(width=64, depth=2, expansion=1, mlp_expansion=2, dropout=0.2),
            TrainConfig(
                steps=300,
                learning_rate=3e-3,
                weight_decay=0.01,
                schedule="cosine",
                warmup_steps=40,
                eval_every=50,
            ),
        ),
        {"model.cell": ("mingru", "gru"), "train.seed": (0, 1, 2)},
    ),
}
