"""A cell outside the package: an RG-LRU layer, as a user would write it in a file of their own."""

import jax
import jax.numpy as jnp
from flax import nnx

from rnnlab.cells import LinearCarry, LinearCell
from rnnlab.layers import CausalConv

DECAY_SCALE = 8.0


def rglru_coefficients(recurrence_gate, input_gate, x, decay):
    """The coefficients of RG-LRU: `decay` is Lambda, learned per feature and constant in time.

    r = sigmoid(recurrence_gate),  i = sigmoid(input_gate)
    a = exp(-c r softplus(Lambda)),  b = sqrt(1 - a^2) i x
    """
    log_a = -DECAY_SCALE * jax.nn.sigmoid(recurrence_gate) * jax.nn.softplus(decay)
    # expm1 keeps 1 - a^2 exact near a = 1; the bound keeps the square root's gradient finite.
    scale = jnp.sqrt(jnp.maximum(-jnp.expm1(2 * log_a), 1e-6))
    return jnp.exp(log_a), scale * jax.nn.sigmoid(input_gate) * x


class RGLRU(LinearCell):
    """Real-gated linear recurrent unit with a causal convolution before and a gate after it.

        u = conv(x),  y[t] = h[t] * gelu(x[t] W)

    Args:
      taps: taps of the convolution.

    Source: De et al., "Griffin", arXiv 2402.19427.
    """

    label = "RG-LRU"
    color = "#882255"
    compared_with = "gru"
    carry_type = LinearCarry
    coefficients = staticmethod(rglru_coefficients)

    def __init__(self, in_features, features, *, rngs, taps: int = 3, **options):
        super().__init__(in_features, features, rngs=rngs, **options)
        dtypes = {"dtype": self.dtype, "param_dtype": self.param_dtype}
        self.input = nnx.Linear(in_features, features, rngs=rngs, **dtypes)
        self.output_gate = nnx.Linear(in_features, features, rngs=rngs, **dtypes)
        self.conv = CausalConv(features, taps, rngs=rngs, **dtypes)
        self.gates = nnx.Linear(features, 2 * features, rngs=rngs, **dtypes)
        # softplus(Lambda) in (0.0013, 0.013): a^c between 0.9 and 0.99 with open gates.
        decay = jax.random.uniform(rngs.params(), (features,), self.param_dtype, -6.6, -4.3)
        self.decay = nnx.Param(decay, weight_decay=False)

    def initial_carry_before_gates(self, batch_shape):
        return self.conv.initial_carry(batch_shape)

    def before_gates(self, carry, xs, apply):
        window, u = apply(self.conv, carry, self.input(xs))
        return window, (u, xs)

    def preactivations(self, inputs):
        u, _ = inputs
        recurrence_gate, input_gate = jnp.split(self.gates(u), 2, -1)
        return recurrence_gate, input_gate, u

    def operands(self):
        return (self.decay[...],)

    def readout(self, h, inputs):
        _, xs = inputs
        return h.astype(self.dtype) * jax.nn.gelu(self.output_gate(xs))
