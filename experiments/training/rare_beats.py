"""Does a recurrent model find rare heartbeats of new patients better than gradient boosting?

Command:  rnnlab run experiments/training/rare_beats.py --preset cpu
          rnnlab run experiments/training/rare_beats.py --preset tried
          rnnlab run experiments/training/rare_beats.py --preset random_split
Device:   two cores of a shared x86 machine; 5 minutes for 9 runs and boosting.
Expected: a test macro-F1 of minGRU of at least 0.578, that of boosting with class weights on other
          features of the same data; and a lower average precision of V than that of boosting, since
          a ventricular beat is known by its shape without its neighbours.
Paper:    de Chazal et al. 2004 report an accuracy of 0.862 and a mean sensitivity of 0.832 on these
          parts, an ensemble of SVMs 0.945 and 0.703 (github.com/mondejar/ecg-classification).

The data are not part of the package: `rnnlab data` gets them. The preset `random_split` is an error
on purpose. It shows the scores that an evaluation claims whose parts share patients.
"""

from rnnlab import Experiment, ModelConfig, Preset, RareBeats, TrainConfig

AUGMENT = ("jitter=0.2", "scale=0.2", "time-warp=0.1", "feature-mask=0.3")
SEEDS = {"train.seed": (0, 1, 2)}

EXPERIMENT = Experiment(
    RareBeats(length=128, batch_size=16, class_weights=0.5, augment=AUGMENT),
    ModelConfig(
        width=64, depth=2, expansion=1, conv_kernel_size=None, mlp_expansion=2, dropout=0.3
    ),
    TrainConfig(
        steps=400,
        learning_rate=2e-3,
        weight_decay=0.05,
        schedule="cosine",
        warmup_steps=20,
        eval_every=100,
    ),
)

CHANGES = "data.class_weights+data.focusing+data.balance+data.augment+model.bidirectional"
TRIED = (
    (0.0, 0.0, 0.0, (), False),
    (0.5, 0.0, 0.0, (), False),
    (1.0, 0.0, 0.0, AUGMENT, False),
    (0.5, 2.0, 0.0, AUGMENT, False),
    (0.0, 0.0, 0.5, AUGMENT, False),
    (0.5, 0.0, 0.0, AUGMENT, True),
)

PRESETS = {
    "cpu": Preset(EXPERIMENT, {"model.cell": ("mingru", "minlstm", "gru"), **SEEDS}),
    "tried": Preset(EXPERIMENT, {CHANGES: TRIED, **SEEDS}),
    "random_split": Preset(
        EXPERIMENT.override({"data.split": "random"}), {"model.cell": ("mingru",), **SEEDS}
    ),
}
