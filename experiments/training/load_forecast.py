"""Does one recurrent model of 414 hourly series beat the seasonal naive forecast and its intervals?

Command:  rnnlab run experiments/training/load_forecast.py --preset cpu
          rnnlab run experiments/training/load_forecast.py --preset lstm
          rnnlab run experiments/training/load_forecast.py --preset student_t
Data:     rnnlab data get m4-hourly
Device:   two cores of a shared x86 machine; 12 minutes for the 9 runs of cpu.
Expected: MASE of minGRU below 1.0 and MSIS below 8, with 92% to 98% of the values inside the 95%
          interval; the seasonal naive forecast has a MASE of 1.193. minLSTM and LSTM are within
          0.03 of minGRU and GRU. The head of Student t distributions has a MASE within 0.05 of that
          of the quantiles and a higher MSIS, because quantiles are trained by what MSIS scores.
Paper:    none of minimal cells.
"""

from rnnlab import Experiment, ManySeries, ModelConfig, Preset, TrainConfig

MEASURED = Experiment(
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
)

PRESETS = {
    "cpu": Preset(
        MEASURED,
        {"model.cell": ("mingru", "minlstm", "gru"), "train.seed": (0, 1, 2)},
    ),
    "lstm": Preset(MEASURED, {"model.cell": ("lstm",), "train.seed": (0, 1, 2)}),
    "student_t": Preset(
        MEASURED.override({"data.head": "student_t"}),
        {"model.cell": ("mingru", "gru"), "train.seed": (0, 1, 2)},
    ),
}
