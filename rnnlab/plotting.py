"""One colour and one name for each kind of layer, in all pictures."""

# From Okabe and Ito's palette, which colour-blind readers can tell apart.
COLORS = {
    "rnn": "#999999",
    "gru": "#D55E00",
    "lstm": "#0072B2",
    "mingru": "#E69F00",
    "minlstm": "#56B4E9",
    "transformer": "#CC79A7",
    "mamba": "#009E73",
    "tcn": "#F0E442",
}
NAMES = {
    "rnn": "RNN",
    "gru": "GRU",
    "lstm": "LSTM",
    "mingru": "minGRU",
    "minlstm": "minLSTM",
    "transformer": "Transformer",
    "mamba": "Mamba",
    "tcn": "TCN",
}
CYCLE = tuple(COLORS.values())[1:]
"""For what is no kind of layer: all but the grey."""
