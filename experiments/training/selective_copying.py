"""Does depth give minimal cells the selection by content that one layer of them lacks?

Command:  rnnlab run experiments/training/selective_copying.py --preset cpu
Device:   one core of a shared x86 machine; 25 minutes for 9 runs.
Expected: 2 or 3 layers at least 25 points of accuracy above 1 layer; 1 layer at least 20 points
          above chance, which is 1 in 14.
Paper:    length 4096, 16 tokens, 400,000 updates: minGRU reaches 99.5% with 3 layers, and the gain
          from 1 to 2 layers is large (arXiv 2410.01201, section 4.1).
"""

from rnnlab import Experiment, ModelConfig, Preset, SelectiveCopying, TrainConfig

PRESETS = {
    "cpu": Preset(
        Experiment(
            SelectiveCopying(length=64, tokens=8, batch_size=64),
            ModelConfig(width=64, expansion=4, conv_kernel_size=None, mlp_expansion=None),
            TrainConfig(
                steps=1000,
                learning_rate=3e-3,
                schedule="cosine",
                warmup_steps=50,
                eval_every=250,
            ),
        ),
        {"model.cell": ("mingru",), "model.depth": (1, 2, 3), "train.seed": (0, 1, 2)},
    ),
    # Section C.2.
    "paper": Preset(
        Experiment(
            SelectiveCopying(batch_size=32),
            ModelConfig(
                width=64,
                depth=3,
                expansion=6,
                conv_kernel_size=None,
                mlp_expansion=None,
                dropout=0.1,
            ),
            TrainConfig(
                steps=400_000,
                optimizer="adam",
                learning_rate=1e-4,
                grad_accum_steps=2,
                eval_every=1000,
                patience=50,
            ),
        ),
        {"model.cell": ("mingru", "minlstm"), "model.depth": (1, 2, 3)},
        {
            "mingru": {"learn_initial_state": True},
            "minlstm": {"normalize": False, "forget_bias": 3.0, "learn_initial_state": True},
        },
    ),
    # The configuration files published with the paper.
    "paper_release": Preset(
        Experiment(
            SelectiveCopying(batch_size=32),
            ModelConfig(
                width=64,
                depth=3,
                expansion=6,
                conv_kernel_size=None,
                mlp_expansion=None,
                dropout=0.1,
            ),
            TrainConfig(
                steps=400_000,
                learning_rate=3e-4,
                weight_decay=0.05,
                weight_decay_gates=False,
                grad_accum_steps=2,
                eval_every=1000,
                patience=50,
            ),
        ),
        {"model.cell": ("mingru", "minlstm"), "model.depth": (1, 2, 3)},
        {
            "mingru": {"learn_initial_state": True},
            "minlstm": {"normalize": False, "forget_bias": 3.0, "learn_initial_state": True},
        },
    ),
}
