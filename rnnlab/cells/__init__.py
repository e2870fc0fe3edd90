"""The cells: one contract, one file each."""

from rnnlab.cells.gru import GRU as GRU
from rnnlab.cells.lstm import LSTM as LSTM
from rnnlab.cells.lstm import LSTMCarry as LSTMCarry
from rnnlab.cells.mingru import MinGRU as MinGRU
from rnnlab.cells.minlstm import MinLSTM as MinLSTM
from rnnlab.cells.rnn import VanillaRNN as VanillaRNN

CELLS = {"rnn": VanillaRNN, "gru": GRU, "lstm": LSTM, "mingru": MinGRU, "minlstm": MinLSTM}
"""The cells by the names that the command line uses."""
