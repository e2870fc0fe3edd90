"""A cell outside the package: a QRNN layer, as a user would write it in a file of their own."""

import jax
import jax.numpy as jnp
from flax import nnx

from rnnlab.cells import LinearCarry, LinearCell
from rnnlab.layers import CausalConv


def qrnn_coefficients(forget, candidate, bias):
    """The coefficients of a QRNN: `bias` is learned per feature and constant in time.

    f = sigmoid(forget + bias),  a = f,  b = (1 - f) tanh(candidate)
    """
    f = jax.nn.sigmoid(forget + bias)
    return f, (1 - f) * jnp.tanh(candidate)


class QRNN(LinearCell):
    """Quasi-recurrent network with a causal convolution before and a gate after it.

        u = conv(x),  y[t] = sigmoid(u[t] W) h[t]

    Args:
      taps: taps of the convolution.

    Source: Bradbury et al., "Quasi-Recurrent Neural Networks", arXiv 1611.01576.
    """

    label = "QRNN"
    color = "#117733"
    compared_with = "gru"
    carry_type = LinearCarry
    coefficients = staticmethod(qrnn_coefficients)

    def __init__(self, in_features, features, *, rngs, taps: int = 3, **options):
        super().__init__(in_features, features, rngs=rngs, **options)
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        self.input = nnx.Linear(in_features, features, rngs=rngs, **dtypes)
        self.conv = CausalConv(features, taps, rngs=rngs, **dtypes)
        self.gates = nnx.Linear(features, 3 * features, rngs=rngs, **dtypes)
        self.forget_bias = nnx.Param(jnp.ones((features,), self.param_dtype), weight_decay=False)

    def initial_carry_before_gates(self, batch_shape):
        return self.conv.initial_carry(batch_shape)

    def before_gates(self, carry, xs, apply):
        window, u = apply(self.conv, carry, self.input(xs))
        return window, jnp.split(self.gates(u), 3, -1)

    def preactivations(self, inputs):
        return inputs[:2]

    def operands(self):
        return (self.forget_bias[...],)

    def readout(self, h, inputs):
        return h.astype(self.dtype) * jax.nn.sigmoid(inputs[2])
