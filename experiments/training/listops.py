"""Can a cell evaluate nested list operations from a flat string?

Command:  rnnlab run experiments/training/listops.py --preset cpu
Device:   one core of a shared x86 machine; 17 minutes for the four cells, with other load.
Expected: on expressions of 20 to 80 symbols, at least 10 points above the most common answer.
Paper:    lengths 500 to 2000, 250,000 updates; convolution and MLP help (arXiv 2410.01201,
          version 3, whose figures could not be checked). A Transformer has 36.37% there, as the
          authors of the benchmark report (arXiv 2011.04006).
"""

from rnnlab import Experiment, ListOps, ModelConfig, Preset, TrainConfig

PRESETS = {
    "cpu": Preset(
        Experiment(
            ListOps(
                min_length=20,
                max_length=80,
                max_depth=4,
                max_args=5,
                train_size=20_000,
                batch_size=64,
                evaluation_size=1024,
            ),
            ModelConfig(width=64, depth=2, expansion=2, mlp_expansion=2),
            TrainConfig(
                steps=1000,
                learning_rate=3e-3,
                weight_decay=0.01,
                schedule="cosine",
                warmup_steps=100,
                eval_every=250,
            ),
        ),
        {"model.cell": ("mingru", "minlstm", "gru", "lstm")},
    ),
    # Section C.2.
    "paper": Preset(
        Experiment(
            ListOps(),
            ModelConfig("minlstm", width=128, depth=8, expansion=1),
            TrainConfig(
                steps=250_000,
                learning_rate=1e-3,
                weight_decay=0.05,
                schedule="cosine",
                warmup_steps=25_000,
                eval_every=2500,
            ),
        ),
        {"model.cell": ("mingru", "minlstm")},
    ),
}
