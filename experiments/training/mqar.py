"""How much can each kind of state recall: multi-query associative recall against its size?

Command:  rnnlab run experiments/training/mqar.py --preset cpu
Device:   one core of a shared x86 machine; 12 minutes for the five models, with other load.
Expected: 4 pairs of 8 keys and 8 values: every model above 90%; the better of the baselines, any
          value of the example, is 1 in 4. (With 32 keys, 32 values and noise between the queries
          the Transformer solved it in 1000 updates, and no recurrent model passed that baseline.)
Paper:    attention solves it at width 64 (arXiv 2312.04927, figure 2, with vocabulary 8192 and
          100,000 examples). Recurrent models work in a narrow range of learning rates only
          (arXiv 2508.19029): vary it, as in --train.learning-rate 1e-3,3e-3,1e-2.
"""

from rnnlab import MQAR, Experiment, ModelConfig, Preset, TrainConfig

PRESETS = {
    "cpu": Preset(
        Experiment(
            MQAR(
                vocab_size=16,
                length=16,
                num_pairs=4,
                noise=False,
                batch_size=128,
                evaluation_size=1024,
            ),
            ModelConfig(width=64, depth=2, expansion=2, mlp_expansion=2),
            TrainConfig(
                steps=1000,
                learning_rate=5e-3,
                schedule="cosine",
                warmup_steps=100,
                eval_every=250,
            ),
        ),
        {"model.cell": ("mingru", "minlstm", "gru", "lstm", "transformer")},
    ),
    "paper": Preset(
        Experiment(
            MQAR(),
            ModelConfig("transformer", width=64, depth=2),
            TrainConfig(steps=50_000, weight_decay=0.1, schedule="cosine", eval_every=1000),
        ),
        {
            "model.cell": ("transformer", "mingru", "minlstm", "mamba"),
            "train.learning_rate": (1e-4, 4.6e-4, 2.2e-3, 1e-2),
        },
    ),
}
