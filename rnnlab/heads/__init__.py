"""Heads, which give outputs a meaning: quantiles, where classes or values do not suffice.

A head gives a model's outputs names, and is the loss that trains them. A task chooses it, as
`rnnlab.tasks.data.TaskData.loss`.
"""

from rnnlab.heads.base import Head
from rnnlab.heads.quantiles import Quantiles

__all__ = ["Head", "Quantiles"]
