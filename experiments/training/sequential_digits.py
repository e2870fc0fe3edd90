"""Can a cell recognize a digit from its pixels, one at a time?

Command:  rnnlab run experiments/training/sequential_digits.py --preset cpu
Device:   one core of a shared x86 machine; 9 minutes for 12 runs.
Expected: 64 time steps of one pixel, predicted from the mean of the outputs: accuracy of at least
          0.85 for every cell; the most common digit has 0.10. (The mean was chosen after trials:
          with the last output, minimal cells stayed below that.) Logistic regression, a linear SVM
          and an MLP see all pixels at the same time.
Paper:    on the 28 x 28 digits of MNIST, LSTM 87.2, GRU 96.2, RNN 21.5, TCN 99.0 (arXiv 1803.01271,
          table 1): other images, whose files would have to be downloaded.
"""

from rnnlab import Digits, Experiment, ModelConfig, Preset, TrainConfig

PRESETS = {
    "cpu": Preset(
        Experiment(
            Digits(width=1, batch_size=32),
            ModelConfig(
                width=64, depth=2, expansion=1, mlp_expansion=2, dropout=0.1, readout="mean"
            ),
            TrainConfig(
                steps=800,
                learning_rate=3e-3,
                weight_decay=0.01,
                schedule="cosine",
                warmup_steps=50,
                eval_every=100,
            ),
        ),
        {"model.cell": ("mingru", "minlstm", "gru", "lstm"), "train.seed": (0, 1, 2)},
    ),
}
