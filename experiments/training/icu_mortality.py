"""Who dies in intensive care, from irregular measurements of two days: is a minimal cell enough?

Command:  rnnlab run experiments/training/icu_mortality.py --preset cpu
          rnnlab run experiments/training/icu_mortality.py --preset tried
          rnnlab run experiments/training/icu_mortality.py --data.path FILE --data.labels LABELS
Device:   two cores of a shared x86 machine; 6 minutes for 15 runs.
Expected: on set c an AUROC of minGRU of 0.83 to 0.86, a mean over 3 seeds. Boosted trees on six
          summaries per variable win: 0.868, with an average precision of 0.563. The decay with the
          time between measurements is worth less than 0.01.
Paper:    none of minimal cells. The decays are those of GRU-D (arXiv 1606.01865).

The data is a public set: `rnnlab data get physionet2012`. Set a trains, set b selects the update
and the settings, set c is reported. A time step is an hour, which was as good on set b as half an
hour. The preset `tried` has settings that lost on set b: the mean of all outputs as readout, and
other weight decays. Its readout by attention, on three seeds, was added after set c was seen. The
expectation of it is an AUROC within 0.005 of that of the last output.

The last command trains on your own table of events and its labels.
"""

from rnnlab import Experiment, IrregularRecords, ModelConfig, Preset, TrainConfig

MEASURED = Experiment(
    IrregularRecords(),
    ModelConfig(
        width=64,
        depth=1,
        expansion=1,
        conv_kernel_size=None,
        mlp_expansion=None,
        dropout=0.3,
        readout="last",
    ),
    TrainConfig(
        steps=400,
        learning_rate=2e-3,
        weight_decay=5.0,
        schedule="cosine",
        warmup_steps=40,
        eval_every=80,
    ),
)

PRESETS = {
    "cpu": Preset(
        MEASURED,
        {
            "model.cell+model.gap_decay+model.input_decay": (
                ("mingru", False, False),
                ("mingru", True, False),
                ("minlstm", True, False),
                ("gru", True, False),
                ("gru", True, True),
            ),
            "train.seed": (0, 1, 2),
        },
    ),
    "tried": Preset(
        MEASURED,
        {
            "model.readout+train.weight_decay+data.interval": (
                ("mean", 0.1, 0.5),
                ("mean", 5.0, 0.5),
                ("mean", 15.0, 0.5),
                ("mean", 5.0, 1.0),
                ("attention", 5.0, 1.0),
            ),
        },
    ),
}
