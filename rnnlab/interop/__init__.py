"""Weights of other libraries, in and out: one module per library, none of which it imports.

`load` returns an `rnnlab.Stack` of cells with the weights of the library's layers, `state_dict` the
weights of such a stack under the library's names, and `carry` and `states` exchange states in the
middle of a sequence. Arrays go out as NumPy arrays.
"""

from rnnlab.interop import flax as flax
from rnnlab.interop import keras as keras
from rnnlab.interop import mingru as mingru
from rnnlab.interop import torch as torch
