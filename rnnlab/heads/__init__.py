"""Heads, which give outputs a meaning: quantiles, the parameters of a distribution, or tag scores.

A head gives a model's outputs names, and is the loss that trains them. A task chooses it, as
`rnnlab.tasks.data.TaskData.loss`.
"""

from rnnlab.heads.base import Head, SequenceHead
from rnnlab.heads.linear_chain import LinearChain
from rnnlab.heads.mixture import Mixture
from rnnlab.heads.negative_binomial import NegativeBinomial
from rnnlab.heads.quantiles import Quantiles
from rnnlab.heads.student_t import StudentT

__all__ = [
    "Head",
    "LinearChain",
    "Mixture",
    "NegativeBinomial",
    "Quantiles",
    "SequenceHead",
    "StudentT",
]
