"""The joint of a transducer, and the two numbers per node of its lattice that the loss needs."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from rnnlab.argument_errors import explain_constructor
from rnnlab.dtypes import accumulation_dtype, compute_dtype
from rnnlab.losses.label_sequences import BLANK
from rnnlab.recurrent import dense
from rnnlab.validation import require_positive_int, require_shape

JointFn = Callable[[Array, Array], Array]
"""A joint: `(encoded, predicted) -> logits`, of arrays whose leading axes broadcast."""


def node_log_probs(
    joint: JointFn,
    encoded: Float[Array, "*batch time features"],
    predicted: Float[Array, "*batch nodes features"],
    labels: Int[Array, "*batch label_time"],
    frames: int = 8,
) -> Float[Array, "*batch time nodes 2"]:
    """Returns the log probabilities of the blank and of the next label at each node (t, u).

    The logits of all nodes, (*batch, time, nodes, classes), are never in memory at the same time:
    they are computed for some time steps after the other, and again in the backward pass. Memory
    is linear in time steps x labels.

    Args:
      joint: the logits of nodes, with class 0 as the blank.
      encoded: outputs of the encoder.
      predicted: outputs of the prediction network after 0, 1, ..., label_time labels.
      labels: classes from 1 on; what follows a sequence, negative, does not count.
      frames: number of time steps at a time.

    Returns:
      The two log probabilities, which `rnnlab.transducer_loss` accepts as `x[..., 0]` and
      `x[..., :-1, 1]`. Those of the label at the last node, after all labels, do not count.

    Raises:
      ValueError: shapes do not fit, or frames is not an int >= 1.

    >>> import jax.numpy as jnp
    >>> def joint(encoded, predicted):
    ...     return encoded + predicted
    >>> encoded, predicted = jnp.zeros((7, 4)), jnp.zeros((3, 4))
    >>> x = node_log_probs(joint, encoded, predicted, jnp.array([2, 1]))
    >>> x.shape, float(jnp.exp(x[0, 0, 1]))
    ((7, 3, 2), 0.25)
    """
    require_positive_int(frames=frames)
    batch, time, count = encoded.shape[:-2], encoded.shape[-2], labels.shape[-1]
    require_shape("predicted", predicted, (*batch, count + 1, predicted.shape[-1]), "one per node")
    axis = len(batch)
    frames = min(frames, max(time, 1))
    slices = -(-time // frames)
    padding = [(0, 0)] * axis + [(0, slices * frames - time), (0, 0)]
    encoded = jnp.pad(encoded, padding).reshape(*batch, slices, frames, encoded.shape[-1])
    following = jnp.pad(jnp.maximum(labels, BLANK), [(0, 0)] * axis + [(0, 1)])
    following = following[..., None, :, None]
    predicted = jnp.expand_dims(predicted, -3)

    @jax.checkpoint
    def some_frames(encoded):
        logits = joint(jnp.expand_dims(encoded, -2), predicted)
        log_probs = jax.nn.log_softmax(logits.astype(accumulation_dtype(logits.dtype)))
        where = jnp.broadcast_to(following, (*log_probs.shape[:-1], 1))
        emit = jnp.take_along_axis(log_probs, where, -1, mode="clip")
        return jnp.concatenate([log_probs[..., BLANK : BLANK + 1], emit], -1)

    nodes = lax.map(some_frames, jnp.moveaxis(encoded, axis, 0))
    nodes = jnp.moveaxis(nodes, 0, axis)
    return nodes.reshape(*batch, slices * frames, count + 1, 2)[..., :time, :, :]


@explain_constructor
class Joint(nnx.Module):
    """The logits of a node: a dense layer of the tanh of the sum of both networks' outputs.

        logits[t, u] = tanh(encoded[t] + predicted[u]) @ kernel + bias

    Args:
      in_features: number of outputs of each network.
      features: number of classes, with class 0 as the blank.
      rngs: source of the key of the kernel.
      dtype: dtype of the computation; None is `param_dtype`. Logits are float32 or wider.
      param_dtype: dtype of the parameters.

    >>> joint = Joint(4, 3, rngs=nnx.Rngs(0))
    >>> joint(jnp.ones((5, 1, 4)), jnp.ones((1, 2, 4))).shape
    (5, 2, 3)
    """

    def __init__(
        self,
        in_features: int,
        features: int,
        *,
        rngs: nnx.Rngs,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        require_positive_int(in_features=in_features, features=features)
        self.in_features = in_features
        self.features = features
        self.dtype = compute_dtype(dtype, param_dtype)
        self.param_dtype = jnp.dtype(param_dtype)
        init = nnx.initializers.lecun_normal()
        self.kernel = nnx.Param(init(rngs.params(), (in_features, features), param_dtype))
        self.bias = nnx.Param(jnp.zeros((features,), param_dtype))

    def __call__(
        self,
        encoded: Float[Array, "*left in_features"],
        predicted: Float[Array, "*right in_features"],
    ) -> Float[Array, "*nodes features"]:
        """Returns the logits of all pairs of outputs whose leading axes broadcast."""
        hidden = jnp.tanh(encoded.astype(self.dtype) + predicted.astype(self.dtype))
        logits = dense(hidden, self.kernel[...], self.bias[...], self.dtype)
        return logits.astype(accumulation_dtype(self.dtype))
