"""Does a cell forecast a series with gaps better than the value of last year?

Command:  rnnlab run experiments/training/forecasting.py --preset cpu
          rnnlab run experiments/training/forecasting.py --data.path FILE --data.column NAME
Device:   one core of a shared x86 machine; 5 minutes for 12 runs.
Expected: weekly CO2, 13 weeks ahead, walk-forward over the last 15%: an RMSE of at most half of the
          seasonal naive forecast's.
Paper:    none.

The second command trains on your own CSV file, with a header, a column of values, gaps, and a
column of dates if it has one.
"""

from rnnlab import Experiment, Forecasting, ModelConfig, Preset, TrainConfig

PRESETS = {
    "cpu": Preset(
        Experiment(
            Forecasting(),
            ModelConfig(width=32, depth=2, expansion=1, mlp_expansion=2, dropout=0.1),
            TrainConfig(
                steps=400,
                learning_rate=3e-3,
                weight_decay=0.01,
                schedule="cosine",
                warmup_steps=40,
                eval_every=50,
            ),
        ),
        {"model.cell": ("mingru", "minlstm", "gru", "lstm"), "train.seed": (0, 1, 2)},
    ),
}
