"""Sequence models: their settings, the model, and generation of tokens."""

from rnnlab.models.config import ModelConfig as ModelConfig
from rnnlab.models.encoder_decoder import EncoderDecoder as EncoderDecoder
from rnnlab.models.joint import node_log_probs as node_log_probs
from rnnlab.models.sequence_model import SequenceModel as SequenceModel
from rnnlab.models.stack_cells import stack_cells as stack_cells
from rnnlab.models.transducer import Transducer as Transducer
