"""The public names of rnnlab, by the module that defines them.

This is the only list: type checkers read it, and `rnnlab/__init__.py` imports from it on use.
"""

from rnnlab import analysis as analysis
from rnnlab import bench as bench
from rnnlab import cells as cells
from rnnlab import export as export
from rnnlab import interop as interop
from rnnlab import layers as layers
from rnnlab import losses as losses
from rnnlab import models as models
from rnnlab import runs as runs
from rnnlab import scan as scan
from rnnlab import tasks as tasks
from rnnlab import testing as testing
from rnnlab import train as train
from rnnlab.cells import CELLS as CELLS
from rnnlab.cells import GRU as GRU
from rnnlab.cells import LSTM as LSTM
from rnnlab.cells import LSTMCarry as LSTMCarry
from rnnlab.cells import Mamba as Mamba
from rnnlab.cells import MinGRU as MinGRU
from rnnlab.cells import MinLSTM as MinLSTM
from rnnlab.cells import NNXCell as NNXCell
from rnnlab.cells import VanillaRNN as VanillaRNN
from rnnlab.layers import Attention as Attention
from rnnlab.layers import AttentionPooling as AttentionPooling
from rnnlab.layers import Bidirectional as Bidirectional
from rnnlab.layers import Block as Block
from rnnlab.layers import CausalConv as CausalConv
from rnnlab.layers import Dropout as Dropout
from rnnlab.layers import OutputOnly as OutputOnly
from rnnlab.layers import Stack as Stack
from rnnlab.loading import load as load
from rnnlab.losses import ctc_loss as ctc_loss
from rnnlab.losses import transducer_loss as transducer_loss
from rnnlab.models import ModelConfig as ModelConfig
from rnnlab.models import SequenceModel as SequenceModel
from rnnlab.models import stack_cells as stack_cells
from rnnlab.models.generate import generate as generate
from rnnlab.models.saving import save as save
from rnnlab.parallel.mesh import MeshConfig as MeshConfig
from rnnlab.registry import REGISTRY as REGISTRY
from rnnlab.runs.api import resume as resume
from rnnlab.runs.api import run as run
from rnnlab.runs.experiment import Experiment as Experiment
from rnnlab.runs.experiment import Preset as Preset
from rnnlab.runs.trained_model import TrainedModel as TrainedModel
from rnnlab.scan import gated_scan as gated_scan
from rnnlab.scan import linear_scan as linear_scan
from rnnlab.scan import log_linear_scan as log_linear_scan
from rnnlab.searches.search import search as search
from rnnlab.searches.space import Range as Range
from rnnlab.tasks import MQAR as MQAR
from rnnlab.tasks import TASKS as TASKS
from rnnlab.tasks import Adding as Adding
from rnnlab.tasks import BeatAnomalies as BeatAnomalies
from rnnlab.tasks import CardFraud as CardFraud
from rnnlab.tasks import Chorales as Chorales
from rnnlab.tasks import CopyMemory as CopyMemory
from rnnlab.tasks import Digits as Digits
from rnnlab.tasks import Forecasting as Forecasting
from rnnlab.tasks import FormalLanguage as FormalLanguage
from rnnlab.tasks import IrregularRecords as IrregularRecords
from rnnlab.tasks import ListOps as ListOps
from rnnlab.tasks import ManySeries as ManySeries
from rnnlab.tasks import RareBeats as RareBeats
from rnnlab.tasks import SelectiveCopying as SelectiveCopying
from rnnlab.tasks import Sequences as Sequences
from rnnlab.tasks import Text as Text
from rnnlab.tasks import Tokens as Tokens
from rnnlab.tasks import Turbofan as Turbofan
from rnnlab.train.config import TrainConfig as TrainConfig

__version__: str
