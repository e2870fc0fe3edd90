"""Generate drawings with a model of pen movements: one compiled loop for all points."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jaxtyping import Float, Key

from rnnlab.argument_errors import explain_arguments
from rnnlab.heads import Mixture
from rnnlab.models.sequence_model import SequenceModel
from rnnlab.validation import require_key, require_positive_int


@explain_arguments
def generate_strokes(
    model: SequenceModel,
    head: Mixture,
    count: int,
    length: int,
    key: Key[Array, ""],
    *,
    temperature: float = 1.0,
    grid: float = 0.0,
) -> Float[Array, "count length 3"]:
    """Returns points of new drawings: movements and states of the pen.

    A model reads the movement to the point before, whether the pen was lifted after it, and whether
    a drawing starts, as `rnnlab.tasks.sketch_coding.SketchCoding` makes the inputs.

    Args:
      model: has the outputs of `head`. It is used without dropout.
      head: the mixture density.
      count: number of drawings.
      length: points of each; those after the end of a drawing have no meaning.
      key: of the samples.
      temperature: of movements and pen, see `Mixture.sample`.
      grid: movements are rounded to multiples of it, in the units of the model, as the inputs of
        the training are; 0: they are not.

    Raises:
      ValueError: an argument is out of range, or the model has other inputs or outputs.

    >>> import jax
    >>> from flax import nnx
    >>> from rnnlab import ModelConfig
    >>> head = Mixture(components=2, pen_states=3)
    >>> config = ModelConfig(width=8, depth=1)
    >>> model = config.build(head.out_features, in_features=4, rngs=nnx.Rngs(0))
    >>> generate_strokes(model, head, count=2, length=5, key=jax.random.key(0)).shape
    (2, 5, 3)
    """
    require_positive_int(count=count, length=length)
    require_key("key", key)
    if not 0 <= temperature < float("inf"):
        raise ValueError(f"temperature must be >= 0 and finite, got {temperature}; pass such as 1")
    if (model.in_features, model.features) != (4, head.out_features):
        raise ValueError(
            f"model must have 4 inputs and the {head.out_features} outputs of the head, got "
            f"{model.in_features} and {model.features}; pass a model of drawings"
        )
    graphdef, params = nnx.split(model)
    return _generate(graphdef, head, count, length, params, key, temperature, grid)


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _generate(
    graphdef: Any,
    head: Mixture,
    count: int,
    length: int,
    params: Any,
    key: Array,
    temperature: Array,
    grid: Array,
) -> Array:
    model = nnx.merge(graphdef, params, copy=True)
    model.eval()

    def body(state, t):
        carry, inputs = state
        carry, outputs = model.step(carry, inputs)
        point = head.sample(outputs, jax.random.fold_in(key, t), temperature)
        movement, pen = point[:, :2], point[:, 2:]
        width = jnp.where(grid > 0, grid, 1)
        movement = jnp.where(grid > 0, jnp.round(movement / width) * width, movement)
        lifted = (pen > 0).astype(movement.dtype)
        following = jnp.concatenate([movement, lifted, jnp.zeros_like(lifted)], axis=1)
        return (carry, following), jnp.concatenate([movement, pen], axis=1)

    first = jnp.zeros((count, 4)).at[:, 3].set(1)
    _, points = lax.scan(body, (model.initial_carry((count,)), first), jnp.arange(length))
    return jnp.moveaxis(points, 0, 1)
