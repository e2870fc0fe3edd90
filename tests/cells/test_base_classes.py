"""Base classes of cells: a subclass without a method that they call is named in one line."""

import flax.nnx as nnx
import jax.numpy as jnp
import pytest

from rnnlab import errors
from rnnlab.cells.linear import LinearCell
from rnnlab.cells.nonlinear import NonlinearCell
from rnnlab.recurrent import Recurrent


class NoCarry(Recurrent):
    in_features = features = 3


class NoUpdate(NoCarry):
    def initial_carry(self, batch_shape):
        return jnp.zeros((*batch_shape, 3))


class NoPreactivations(LinearCell):
    pass


class NoCoefficients(LinearCell):
    def preactivations(self, inputs):
        return (inputs,)


class NoStepFunctions(NonlinearCell):
    num_gates = 1


def nonlinear_cell():
    init = nnx.initializers.ones
    inits = {"kernel_init": init, "recurrent_init": init, "bias_init": init}
    others = {"dtype": None, "param_dtype": jnp.float32, "backend": "auto", "rngs": nnx.Rngs(0)}
    return NoStepFunctions(3, 3, **inits, **others)


@pytest.mark.parametrize(
    ("make", "method"),
    [
        (NoCarry, "initial_carry"),
        (NoUpdate, "update or run_sequence"),
        (lambda: NoPreactivations(3, 3, rngs=nnx.Rngs(0)), "coefficients"),
        (lambda: NoCoefficients(3, 3, rngs=nnx.Rngs(0)), "coefficients"),
        (nonlinear_cell, "step_functions"),
    ],
)
def test_call_of_a_class_without_a_method_raises(make, method):
    with pytest.raises(errors.MissingMethodError, match=f"must define {method}, got") as caught:
        make()(jnp.ones((2, 3)))
    assert errors.code(caught.value) == errors.USAGE_ERROR


def test_linear_cell_without_preactivations_raises():
    class Cell(LinearCell):
        @staticmethod
        def coefficients(x):
            return x, x

    with pytest.raises(errors.MissingMethodError, match="must define preactivations, got"):
        Cell(3, 3, rngs=nnx.Rngs(0))(jnp.ones((2, 3)))
