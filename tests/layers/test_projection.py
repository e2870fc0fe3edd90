"""The dense layer under the contract of cells."""

from flax import nnx

from rnnlab.layers import Projection
from rnnlab.testing import check_cell


def test_projection_keeps_the_contract():
    check_cell(Projection(3, 4, rngs=nnx.Rngs(0)))
