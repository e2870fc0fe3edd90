"""How well does each cell predict the next chord of a Bach chorale?

Command:  rnnlab run experiments/training/chorales.py --preset cpu
          rnnlab run experiments/training/chorales.py --preset paper --data.path JSB_Chorales.mat
Device:   one core of a shared x86 machine; 2 minutes for the four cells.
Expected: nats per time step, summed over 88 keys: at least 1 below repeating the last chord, and
          below the frequencies of the keys.
Paper:    on the .mat file, with about 300,000 parameters: LSTM 8.45, GRU 8.43, RNN 8.91, TCN 8.10
          (arXiv 1803.01271, table 1). The pieces of music21, which the preset cpu uses, are others.
"""

from rnnlab import Chorales, Experiment, ModelConfig, Preset, TrainConfig

MODEL = ModelConfig(width=64, depth=1, expansion=2, dropout=0.3)
TRAIN = TrainConfig(
    steps=500,
    learning_rate=2e-3,
    weight_decay=0.05,
    schedule="cosine",
    warmup_steps=50,
    eval_every=50,
)
CELLS = {"model.cell": ("mingru", "minlstm", "gru", "lstm")}

PRESETS = {
    "cpu": Preset(Experiment(Chorales(limit=120), MODEL, TRAIN), CELLS),
    "paper": Preset(Experiment(Chorales(), MODEL, TRAIN), CELLS),
}
