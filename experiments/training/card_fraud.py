"""Does a recurrent model find card frauds of the next day better than gradient boosting?

Command:  rnnlab run experiments/training/card_fraud.py --preset cpu --data.path creditcard.csv
Device:   not measured: the file cannot be part of the repository. Its sha256 is
          76274b691b16a6c49d3f159c883398e03ccd6d1ee12d9d8ee38f4b4b98551a89, 150,828,752 bytes.
Expected: no. The table has no cards, so the transactions before one are of other customers, and the
          order has little to add. An average precision of minGRU near that of boosting would be a
          good result.
Paper:    none with this protocol.

The protocol: the first day trains and validates, the second tests, equal rows are dropped, and the
average precision counts. The licence of the file is that of the Open Data Commons (DbCL).
"""

from rnnlab import CardFraud, Experiment, ModelConfig, Preset, TrainConfig

PRESETS = {
    "cpu": Preset(
        Experiment(
            CardFraud(length=128, balance=0.5),
            ModelConfig(
                width=64, depth=2, expansion=1, conv_kernel_size=None, mlp_expansion=2, dropout=0.2
            ),
            TrainConfig(
                steps=600,
                learning_rate=2e-3,
                weight_decay=0.05,
                schedule="cosine",
                warmup_steps=50,
                eval_every=100,
            ),
        ),
        {"model.cell": ("mingru", "gru"), "train.seed": (0, 1, 2)},
    ),
}
