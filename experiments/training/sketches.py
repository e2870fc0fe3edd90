"""Does a recurrent model draw letters of unknown alphabets, point by point?

Command:  rnnlab run experiments/training/sketches.py --preset cpu
          rnnlab run experiments/training/sketches.py --preset tried
          rnnlab sample runs/latest
Device:   two cores of a shared x86 machine; under 12 minutes for the 6 runs of cpu.
Expected: minGRU of 2 x 128 is at least 0.5 nats per point below a mixture of 10 for each state of
          the pen, the best density without memory, and at most 0.35 nats for the pen. GRU is within
          0.05 nats per point of minGRU. Fewer components cost likelihood: 5 at least 0.02 nats more
          than 20.
Paper:    Graves, arXiv 1308.0850, section 4, on English handwriting in other units, so that its
          figures do not compare.

The data are drawings of Omniglot, which `rnnlab data` gets. Movements are on a grid and get uniform
noise of its width, so that nats per point are an upper bound of those of the grid points. `rnnlab
sample` draws a picture of new drawings next to real ones.
"""

from rnnlab import Experiment, ModelConfig, Preset, Sketches, TrainConfig

SEEDS = {"train.seed": (0, 1, 2)}

EXPERIMENT = Experiment(
    Sketches(batch_size=16),
    ModelConfig(
        width=128, depth=2, expansion=1, conv_kernel_size=None, mlp_expansion=2, dropout=0.0
    ),
    TrainConfig(
        steps=1200,
        learning_rate=3e-3,
        weight_decay=0.01,
        schedule="cosine",
        warmup_steps=20,
        eval_every=200,
    ),
)

PRESETS = {
    "cpu": Preset(EXPERIMENT, {"model.cell": ("mingru", "gru"), **SEEDS}),
    "tried": Preset(EXPERIMENT, {"data.components": (1, 5, 20), "train.seed": (0,)}),
}
