"""rnnlab: the lab bench for recurrent sequence models in JAX.

The linear recurrence `h[t] = a[t] h[t-1] + b[t]` solved in parallel, the minimal cells that are
that recurrence, and the classic cells beside them.

Names are imported when they are first used, so that the command line can take a run's lock, and
note signals, before JAX is there.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rnnlab.cells import CELLS as CELLS
    from rnnlab.cells import GRU as GRU
    from rnnlab.cells import LSTM as LSTM
    from rnnlab.cells import LSTMCarry as LSTMCarry
    from rnnlab.cells import MinGRU as MinGRU
    from rnnlab.cells import MinLSTM as MinLSTM
    from rnnlab.cells import VanillaRNN as VanillaRNN
    from rnnlab.layers import Attention as Attention
    from rnnlab.layers import Bidirectional as Bidirectional
    from rnnlab.layers import Block as Block
    from rnnlab.layers import CausalConv as CausalConv
    from rnnlab.layers import Stack as Stack
    from rnnlab.models import SequenceModel as SequenceModel
    from rnnlab.scan import gated_scan as gated_scan
    from rnnlab.scan import linear_scan as linear_scan
    from rnnlab.scan import log_linear_scan as log_linear_scan

__version__ = "0.1.0"

_NAMES = {
    "rnnlab.cells": "CELLS GRU LSTM LSTMCarry MinGRU MinLSTM VanillaRNN",
    "rnnlab.models": "SequenceModel",
    "rnnlab.layers": "Attention Bidirectional Block CausalConv Stack",
    "rnnlab.scan": "gated_scan linear_scan log_linear_scan",
}
_HOME = {name: home for home, names in _NAMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'rnnlab' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
