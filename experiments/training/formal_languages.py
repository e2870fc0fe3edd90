"""Which formal languages does each cell learn so that it generalizes to strings six times as long?

Command:  rnnlab run experiments/training/formal_languages.py --preset cpu
Device:   one core of a shared x86 machine; 45 minutes for 28 runs, with other load.
Expected: strings of up to 40 in training, of 41 to 256 in the test. Even pairs is solved by all
          cells (above 95%); each language by the best cell at least 2 points above the most common
          answer for its length. Modular arithmetic and missing duplicate may stay at that baseline.
Paper:    500,000 updates (arXiv 2410.01201, version 3, whose figures could not be checked).
"""

from rnnlab import Experiment, FormalLanguage, ModelConfig, Preset, TrainConfig

LANGUAGES = (
    "even_pairs",
    "majority",
    "majority_count",
    "cycle_navigation",
    "modular_arithmetic",
    "missing_duplicate",
    "bucket_sort",
)

PRESETS = {
    "cpu": Preset(
        Experiment(
            FormalLanguage(evaluation_size=1024),
            ModelConfig(width=64, depth=2, expansion=1, mlp_expansion=None),
            TrainConfig(
                steps=600,
                learning_rate=3e-3,
                schedule="cosine",
                warmup_steps=50,
                eval_every=200,
            ),
        ),
        {"data.language": LANGUAGES, "model.cell": ("mingru", "minlstm", "gru", "lstm")},
    ),
    # Section C.2: convolution of 4 and minimal cell, no MLP.
    "paper": Preset(
        Experiment(
            FormalLanguage(batch_size=256),
            ModelConfig("minlstm", width=256, depth=2, expansion=1, mlp_expansion=None),
            TrainConfig(steps=500_000, learning_rate=3e-4, weight_decay=0.01, eval_every=1000),
        ),
        {"data.language": LANGUAGES, "train.seed": (0, 1, 2)},
    ),
    "paper_release": Preset(
        Experiment(
            FormalLanguage(batch_size=128),
            ModelConfig(
                "minlstm",
                width=256,
                depth=2,
                expansion=1,
                conv_kernel_size=None,
                mlp_expansion=None,
                options={"normalize": False, "forget_bias": 3.0, "learn_initial_state": True},
            ),
            TrainConfig(
                steps=500_000,
                learning_rate=3e-4,
                weight_decay=0.05,
                weight_decay_gates=False,
                eval_every=1000,
            ),
        ),
        {"data.language": LANGUAGES, "train.seed": (0, 1, 2)},
    ),
}
