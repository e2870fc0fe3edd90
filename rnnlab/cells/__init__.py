"""The cells: one contract, one file each."""

from rnnlab.cells.gru import GRU as GRU
from rnnlab.cells.linear import LinearCarry as LinearCarry
from rnnlab.cells.linear import LinearCell as LinearCell
from rnnlab.cells.lru import LRU as LRU
from rnnlab.cells.lstm import LSTM as LSTM
from rnnlab.cells.lstm import LSTMCarry as LSTMCarry
from rnnlab.cells.mamba import Mamba as Mamba
from rnnlab.cells.mamba import MambaCarry as MambaCarry
from rnnlab.cells.mingru import MinGRU as MinGRU
from rnnlab.cells.minlstm import MinLSTM as MinLSTM
from rnnlab.cells.nnx_cell import NNXCell as NNXCell
from rnnlab.cells.rglru import RGLRU as RGLRU
from rnnlab.cells.rnn import VanillaRNN as VanillaRNN
from rnnlab.registry import cell_entries

CELLS = {name: entry.load() for name, entry in cell_entries().items()}
"""The cells by name, from `rnnlab.registry.REGISTRY`."""
