"""Which cells can remember ten symbols over a delay?

Command:  rnnlab run experiments/training/copy_memory.py --preset cpu
Device:   one core of a shared x86 machine; 7 minutes for the four cells.
Expected: with a delay of 20 time steps, at least one minimal and one classic cell below half of the
          memoryless baseline of 10 ln 8 / 40 = 0.520 nats. (The delay was chosen after trials: with
          100 time steps minGRU stayed at its baseline for this number of updates.)
Paper:    with a delay of 1000, LSTM 0.0204, GRU 0.0197, RNN 0.0202, the memoryless baseline, and
          TCN 3.5e-5 (arXiv 1803.01271, table 1).
"""

from rnnlab import CopyMemory, Experiment, ModelConfig, Preset, TrainConfig

PRESETS = {
    "cpu": Preset(
        Experiment(
            CopyMemory(delay=20, batch_size=32, evaluation_size=512),
            ModelConfig(width=64, depth=2, expansion=2, mlp_expansion=2),
            TrainConfig(
                steps=1500,
                learning_rate=1e-2,
                schedule="cosine",
                warmup_steps=100,
                eval_every=250,
            ),
        ),
        {"model.cell": ("mingru", "minlstm", "gru", "lstm")},
        {"minlstm": {"forget_bias": 4.0}},
    ),
    "paper": Preset(
        Experiment(
            CopyMemory(delay=1000),
            ModelConfig(width=64, depth=1, expansion=1, conv_kernel_size=None, mlp_expansion=None),
            TrainConfig(steps=30_000, learning_rate=5e-4, eval_every=500),
        ),
        {"model.cell": ("rnn", "gru", "lstm", "mingru", "minlstm", "tcn")},
    ),
}
