"""Which cells learn to add two marked numbers over 600 time steps?

Command:  rnnlab run experiments/training/adding.py --preset cpu
Device:   one core of a shared x86 machine; 17 minutes for the four cells.
Expected: mean squared error below 0.005 for at least one minimal and one classic cell; the best
          constant has 1/6.
Paper:    with about 70,000 parameters, LSTM 0.164, GRU 5.3e-5, RNN 0.177, TCN 5.8e-5
          (arXiv 1803.01271, table 1, where the markers may be anywhere).
"""

from rnnlab import Adding, Experiment, ModelConfig, Preset, TrainConfig

PRESETS = {
    "cpu": Preset(
        Experiment(
            Adding(length=600, batch_size=32, evaluation_size=256),
            ModelConfig(width=32, depth=2, expansion=1, mlp_expansion=2),
            TrainConfig(
                steps=750,
                learning_rate=3e-3,
                schedule="cosine",
                warmup_steps=100,
                eval_every=250,
            ),
        ),
        {"model.cell": ("mingru", "minlstm", "gru", "lstm")},
    ),
    "paper": Preset(
        Experiment(
            Adding(length=600, batch_size=32, evaluation_size=1000),
            ModelConfig(width=128, depth=1, expansion=1, conv_kernel_size=None, mlp_expansion=None),
            TrainConfig(steps=30_000, learning_rate=2e-3, grad_clip_norm=0.5, eval_every=500),
        ),
        {"model.cell": ("rnn", "gru", "lstm", "mingru", "minlstm", "tcn")},
    ),
}
