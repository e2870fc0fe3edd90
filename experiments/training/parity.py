"""Can a minimal cell track parity, and does it depend on the range of its decay?

Command:  rnnlab run experiments/training/parity.py --preset cpu
Device:   one core of a shared x86 machine; 5 minutes for 6 runs.
Expected: trained up to length 40 and tested at 41 to 256, a decay in (0, 1) stays near 50%, below
          65%, and one in (-1, 1) reaches 95% or more. The baseline is the most common answer for a
          length.
Paper:    positive decays cannot solve parity (arXiv 2411.12537); arXiv 2410.01201 does not test it.
"""

from rnnlab import Experiment, FormalLanguage, ModelConfig, Preset, TrainConfig

PRESETS = {
    "cpu": Preset(
        Experiment(
            FormalLanguage("parity"),
            ModelConfig(
                width=64,
                depth=2,
                expansion=1,
                conv_kernel_size=None,
                mlp_expansion=None,
            ),
            TrainConfig(
                steps=800,
                learning_rate=3e-3,
                schedule="cosine",
                warmup_steps=50,
                eval_every=200,
            ),
        ),
        {
            "model.cell": ("mingru",),
            "model.decay_range": ((0, 1), (-1, 1)),
            "train.seed": (0, 1, 2),
        },
        # The decay must change a state's sign and the input leave it as it is: b may be 0.
        {"mingru": {"candidate": "identity"}, "minlstm": {"candidate": "identity"}},
    ),
}
