"""Does the forecast of the next heartbeat find anomalous ones, next to scores of single beats?

Command:  rnnlab run experiments/training/beat_anomalies.py --preset cpu
          rnnlab run experiments/training/beat_anomalies.py --preset reconstruction
Data:     rnnlab data get mitbih
Device:   two cores of a shared x86 machine; 14 minutes for 9 runs.
Expected: average precision of supraventricular beats (S) above 0.62, which a score of only how
          early a beat comes has, since the forecast knows the rhythm. For ventricular beats (V)
          about 0.95, as the distance from the patient's usual beat has. A first series of runs
          selected the step by the average precision of S on 4 patients, which chose models that
          were hardly trained (0.640 of minGRU); it is in results/beat_anomalies_tried. The
          likelihood of normal beats selects a later step and needs no labels.
          A reconstruction from both sides is expected to have about 0.95 on V, too, and less than
          the forecast on S: the pause after a premature beat shows that it came early.
Paper:    none of minimal cells.

The preset `reconstruction` hides every eighth beat and reconstructs it with a bidirectional model.
A hidden beat cannot be copied. An autoencoder of visible beats needs a bottleneck instead, whose
width decides what it cannot copy; principal components among the baselines are such a one.
"""

from rnnlab import BeatAnomalies, Experiment, ModelConfig, Preset, TrainConfig

MEASURED = Experiment(
    BeatAnomalies(length=256, batch_size=32),
    ModelConfig(width=64, depth=2, expansion=1, mlp_expansion=2, dropout=0.1),
    TrainConfig(
        steps=400,
        learning_rate=2e-3,
        weight_decay=0.01,
        schedule="cosine",
        warmup_steps=40,
        eval_every=50,
    ),
)

PRESETS = {
    "cpu": Preset(
        MEASURED,
        {"model.cell": ("mingru", "minlstm", "gru"), "train.seed": (0, 1, 2)},
    ),
    "reconstruction": Preset(
        MEASURED.override({"data.method": "reconstruction", "model.bidirectional": True}),
        {"model.cell": ("mingru",), "train.seed": (0, 1, 2)},
    ),
}
