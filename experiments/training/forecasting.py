"""Does a cell forecast a series better than naive forecasts and classical models do?

Command:  rnnlab run experiments/training/forecasting.py --preset cpu
          rnnlab run experiments/training/forecasting.py --preset short
          rnnlab run experiments/training/forecasting.py --data.path FILE --data.column NAME
Device:   two cores of a shared x86 machine; 5 minutes for 12 runs, 8 for the 30 of `short`.
Expected: weekly CO2, 13 weeks ahead, walk-forward over the last 15%: an RMSE of at most half of the
          seasonal naive forecast's, and above that of ARIMA.
          The short series: with values scaled by their own past, an RMSE below the seasonal naive
          forecast's on each, and at most 0.8 times that of values scaled by the training part where
          the amplitude grows (airline) or the seasons dominate (equipment). ETS or ARIMA is better
          than the cell on at least two of the five, as on most series of a few hundred values.
Paper:    none.

The preset `short` has series of 144 to 309 values, which grow or have a season. The third command
trains on your own file, with a header, a column of values, gaps, and a column of dates if it has
one.
"""

from rnnlab import Experiment, Forecasting, ModelConfig, Preset, TrainConfig

MODEL = ModelConfig(width=32, depth=2, expansion=1, mlp_expansion=2, dropout=0.1)
TRAIN = TrainConfig(
    steps=400,
    learning_rate=3e-3,
    weight_decay=0.01,
    schedule="cosine",
    warmup_steps=40,
    eval_every=50,
)
PRESETS = {
    "cpu": Preset(
        Experiment(Forecasting(), MODEL, TRAIN),
        {"model.cell": ("mingru", "minlstm", "gru", "lstm"), "train.seed": (0, 1, 2)},
    ),
    "short": Preset(
        Experiment(Forecasting(horizon=12, length=36), MODEL, TRAIN),
        {
            "data.series": ("airline", "equipment", "gdp", "seatbelts", "sunspots"),
            "data.normalization": ("series", "auto"),
            "train.seed": (0, 1, 2),
        },
    ),
}
