"""Does a recurrent model recommend the next item of a session better than counts of what followed?

Command:  rnnlab run experiments/training/sessions.py --preset cpu
          rnnlab run experiments/training/sessions.py --preset tried
          rnnlab run experiments/training/sessions.py --preset actions
Device:   two cores of a shared x86 machine; under 10 minutes for the 9 runs of cpu.
Expected: minGRU of 1 x 96 reaches a hit rate at 20 of at least 0.88, above a Markov chain of order
          2 by at least 0.02, and a reciprocal rank within 0.01 of that chain's. GRU and minLSTM are
          within 0.01 of minGRU. Losses of sampled items are below the cross entropy: it costs
          little here, where there are 642 items. With the action at each item as an input, hits
          rise by at least 0.01: what is shown next is the system's answer to it.
Paper:    Hidasi and Karatzoglou, arXiv 1706.03847, for the losses; other data, so that its figures
          do not compare.

The data are the sessions of Entree, a recommender of restaurants, which `rnnlab data` gets. The
next restaurant is largely the answer of that system to the visitor, which is why counts of what
followed are strong. The preset `actions` asks for the visitor's own choice instead: which of 7
actions, such as "cheaper", she takes. A user's own log is a table `session,item,time`:

    rnnlab run sessions --data.path clicks.csv
"""

from rnnlab import Experiment, ModelConfig, Preset, Sessions, TrainConfig

SEEDS = {"train.seed": (0, 1, 2)}

EXPERIMENT = Experiment(
    Sessions(batch_size=16),
    ModelConfig(
        width=96, depth=1, expansion=1, conv_kernel_size=None, mlp_expansion=None, dropout=0.2
    ),
    TrainConfig(
        steps=800,
        learning_rate=1e-2,
        weight_decay=0.01,
        schedule="cosine",
        warmup_steps=20,
        eval_every=200,
    ),
)

ACTIONS = EXPERIMENT.override({"data.target": "action", "data.actions": True})

PRESETS = {
    "cpu": Preset(EXPERIMENT, {"model.cell": ("mingru", "minlstm", "gru"), **SEEDS}),
    "tried": Preset(
        EXPERIMENT,
        {
            "data.loss+data.actions": (
                ("softmax", False),
                ("bpr_max", False),
                ("top1_max", False),
                ("softmax", True),
            ),
            **SEEDS,
        },
    ),
    "actions": Preset(ACTIONS, {"model.cell": ("mingru", "gru"), **SEEDS}),
}
