"""Sequence layers: attention, convolutions, blocks, stacks and bidirectional wrappers."""

from rnnlab.layers.attention import Attention as Attention
from rnnlab.layers.attention import AttentionCarry as AttentionCarry
from rnnlab.layers.attention_pooling import AttentionPooling as AttentionPooling
from rnnlab.layers.bidirectional import Bidirectional as Bidirectional
from rnnlab.layers.block import Block as Block
from rnnlab.layers.block import BlockCarry as BlockCarry
from rnnlab.layers.character_embedding import CharacterEmbedding as CharacterEmbedding
from rnnlab.layers.conv import CausalConv as CausalConv
from rnnlab.layers.cross_attention import CrossAttention as CrossAttention
from rnnlab.layers.cross_attention import SourceMemory as SourceMemory
from rnnlab.layers.cross_attention_block import CrossAttentionBlock as CrossAttentionBlock
from rnnlab.layers.decoder_stack import DecoderCarry as DecoderCarry
from rnnlab.layers.decoder_stack import DecoderStack as DecoderStack
from rnnlab.layers.dropout import Dropout as Dropout
from rnnlab.layers.input_decay import InputDecay as InputDecay
from rnnlab.layers.input_feeding import InputFeeding as InputFeeding
from rnnlab.layers.output_only import OutputOnly as OutputOnly
from rnnlab.layers.projection import Projection as Projection
from rnnlab.layers.running_mean import RunningMean as RunningMean
from rnnlab.layers.stack import Stack as Stack
