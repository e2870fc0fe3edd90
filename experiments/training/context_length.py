"""How do loss and time depend on the window that a language model is trained on?

Command:  rnnlab run experiments/training/context_length.py --preset cpu
Device:   2 cores of a shared x86 machine; 15 minutes for 12 runs.
Expected: every model reads 2048 characters per update and is evaluated on windows of 512. Its loss
          falls as the window grows from 32 to 128, and less beyond; every run stays below the
          unigram by 1 nat. A recurrent model trained on short windows uses its carry beyond them;
          the Transformer does not use positions beyond those it was trained on.
Paper:    none.
"""

from rnnlab import Experiment, ModelConfig, Preset, Text, TrainConfig

WINDOWS = ((32, 64), (128, 16), (512, 4))

PRESETS = {
    "cpu": Preset(
        Experiment(
            Text(evaluation_length=512),
            ModelConfig(width=64, depth=2, expansion=2),
            TrainConfig(
                steps=500,
                learning_rate=3e-3,
                weight_decay=0.01,
                schedule="cosine",
                warmup_steps=50,
                eval_every=250,
            ),
        ),
        {
            "model.cell": ("mingru", "minlstm", "gru", "transformer"),
            "data.length+data.batch_size": WINDOWS,
        },
        {"transformer": {"window": 512}},
    ),
}
