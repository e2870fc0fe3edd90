"""Heads, which give outputs a meaning: quantiles or the parameters of a distribution.

A head gives a model's outputs names, and is the loss that trains them. A task chooses it, as
`rnnlab.tasks.data.TaskData.loss`.
"""

from rnnlab.heads.base import Head
from rnnlab.heads.mixture import Mixture
from rnnlab.heads.negative_binomial import NegativeBinomial
from rnnlab.heads.quantiles import Quantiles
from rnnlab.heads.student_t import StudentT

__all__ = ["Head", "Mixture", "NegativeBinomial", "Quantiles", "StudentT"]
