"""A decoder that reads its own last output, one time step after the other."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Key

from rnnlab.argument_errors import explain_constructor
from rnnlab.call_arguments import BatchShape, accept_batch_size
from rnnlab.dtypes import accumulation_dtype, compute_dtype
from rnnlab.layers.cross_attention import SourceMemory
from rnnlab.layers.decoder_stack import DecoderCarry, DecoderStack
from rnnlab.layers.norm import RMSNorm
from rnnlab.recurrent import time_axis_first
from rnnlab.scan.varying import match_varying


@explain_constructor
class InputFeeding(nnx.Module):
    """A decoder stack that also reads its own output of the time step before.

        y[t] = decoder(x[t] + W norm(y[t-1]), source)

    The output has passed the attention, so that each step knows what was attended to before. That
    makes calls sequential: a `jax.lax.scan` over the time steps, whatever the cells. The stack
    without it computes all time steps in parallel.

    Its carry is that of the stack, with the last output behind the carries of the layers.

    Args:
      decoder: the stack.
      rngs: source of the parameters' keys.
      dtype: dtype of the computation; None means `param_dtype`. The carry is float32 or wider.
      param_dtype: dtype of the parameters.

    Source: Luong et al., arXiv 1508.04025, section 3.3; earlier Bahdanau et al., arXiv 1409.0473,
    whose decoder reads the last context.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import GRU
    >>> from rnnlab.layers import CrossAttentionBlock
    >>> rngs = nnx.Rngs(0)
    >>> block = CrossAttentionBlock(8, 5, rngs=rngs, heads=1, mlp_expansion=None)
    >>> decoder = InputFeeding(DecoderStack([GRU(8, 8, rngs=rngs)], [block]), rngs=rngs)
    >>> carry = decoder.initial_carry(2)._replace(memory=decoder.read(jnp.ones((2, 6, 5))))
    >>> decoder(carry, jnp.ones((2, 4, 8)))[1].shape
    (2, 4, 8)
    """

    def __init__(
        self,
        decoder: DecoderStack,
        *,
        rngs: nnx.Rngs,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        self.decoder = decoder
        self.in_features = self.features = decoder.features
        self.source_features = decoder.source_features
        self.dtype = compute_dtype(dtype, param_dtype)
        self.param_dtype = jnp.dtype(param_dtype)
        dtypes = {"rngs": rngs, "dtype": self.dtype, "param_dtype": param_dtype}
        self.norm = RMSNorm(decoder.features, **dtypes)
        self.feed = nnx.Linear(decoder.features, decoder.features, use_bias=False, **dtypes)

    @accept_batch_size
    def initial_carry(self, batch_shape: BatchShape = ()) -> DecoderCarry:
        """Returns the initial carry of the stack, with an output of 0."""
        shape = (*batch_shape, self.features)
        output = jnp.zeros(shape, accumulation_dtype(self.dtype))
        carry = self.decoder.initial_carry(batch_shape)
        return carry._replace(layers=(carry.layers, output))

    def read(
        self,
        source: Float[Array, "*batch positions source_features"],
        mask: Bool[Array, "*batch positions"] | None = None,
    ) -> tuple[SourceMemory, ...]:
        """Returns what each attention block keeps of a source."""
        return self.decoder.read(source, mask)

    def __call__(
        self,
        carry: DecoderCarry,
        xs: Float[Array, "*batch time features"],
        *,
        mask: Bool[Array, "*batch time"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[DecoderCarry, Float[Array, "*batch time features"]]:
        """Returns the carry and the outputs of all time steps, 0 where masked."""

        def body(layers, inputs):
            x, mask, key = inputs
            carry, y = self.step(DecoderCarry(layers, memory), x, mask=mask, key=key)
            return carry.layers, y

        layers, memory, inputs = self._scanned(carry, xs, mask, key)
        layers, ys = lax.scan(body, layers, inputs)
        return DecoderCarry(layers, memory), jnp.moveaxis(ys, 0, -2)

    def step(
        self,
        carry: DecoderCarry,
        x: Float[Array, "*batch features"],
        *,
        mask: Bool[Array, "*batch"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[DecoderCarry, Float[Array, "*batch features"]]:
        """Returns the carry and the output of one time step."""
        layers, output = carry.layers
        inner = DecoderCarry(layers, carry.memory)
        inner, y = self.decoder.step(inner, self._fed(x, output), mask=mask, key=key)
        new = y.astype(output.dtype)
        if mask is not None:
            new = jnp.where(jnp.expand_dims(mask, -1), new, output)
        return inner._replace(layers=(inner.layers, new)), y

    def weights(
        self,
        carry: DecoderCarry,
        xs: Float[Array, "*batch time features"],
        *,
        mask: Bool[Array, "*batch time"] | None = None,
    ) -> tuple[Float[Array, "*batch heads time positions"], ...]:
        """Returns the attention weights of each block when the decoder reads `xs`."""

        def body(state, inputs):
            x, mask, _ = inputs
            layers, output = state
            fed = jnp.expand_dims(self._fed(x, output), -2)
            step_mask = None if mask is None else jnp.expand_dims(mask, -1)
            found = self.decoder.weights(DecoderCarry(layers, memory), fed, mask=step_mask)
            carry, _ = self.step(DecoderCarry(state, memory), x, mask=mask)
            return carry.layers, tuple(weights[..., 0, :] for weights in found)

        layers, memory, inputs = self._scanned(carry, xs, mask, None)
        found = lax.scan(body, layers, inputs)[1]
        return tuple(jnp.moveaxis(weights, 0, -2) for weights in found)

    def _fed(self, x: Array, output: Array) -> Array:
        """The input of the stack: an input and the last output."""
        return x.astype(self.dtype) + self.feed(self.norm(output))

    def _scanned(self, carry, xs, mask, key) -> tuple[Any, Any, Any]:
        """The carry of a scan over time, the memory that its body reads, and its inputs."""
        keys = None if key is None else jax.random.split(key, xs.shape[-2])
        # The state after a step varies over the axes of the parameters too.
        _, (layers, memory), inputs = match_varying(
            (nnx.state(self), carry, (time_axis_first(xs, -2), time_axis_first(mask, -1)))
        )
        return layers, memory, (*inputs, keys)
