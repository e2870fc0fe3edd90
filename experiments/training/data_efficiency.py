"""How does the score of each model depend on the fraction of the data that it is trained on?

Command:  rnnlab run experiments/training/data_efficiency.py --preset cpu
Device:   one core of a shared x86 machine; 5 minutes for 18 runs.
Expected: digits read by image rows, in 8 time steps: every score rises with the fraction; with all
          data each model has at least 0.90, and with a tenth at least 0.50, where the most common
          digit has 0.10.
Paper:    none.
"""

from rnnlab import Digits, Experiment, ModelConfig, Preset, TrainConfig

PRESETS = {
    "cpu": Preset(
        Experiment(
            Digits(width=8, batch_size=32),
            ModelConfig(width=64, depth=2, expansion=1, mlp_expansion=2, dropout=0.1),
            TrainConfig(
                steps=300,
                learning_rate=3e-3,
                weight_decay=0.05,
                schedule="cosine",
                warmup_steps=30,
                eval_every=100,
            ),
        ),
        {
            "model.cell": ("rnn", "gru", "lstm", "mingru", "minlstm", "transformer"),
            "data.train_fraction": (0.1, 0.3, 1.0),
        },
    ),
}
