"""Train a model with the rounded weights that it is stored with."""

from collections.abc import Mapping
from typing import Any

import jax
from flax import nnx

from rnnlab.bundle.encodings import Integers
from rnnlab.call_validation import uses_gaps
from rnnlab.compress.rounding import rounded
from rnnlab.models import SequenceModel
from rnnlab.models.parameters import path_name


class StraightThrough(nnx.Module):
    """A model that computes with rounded weights and whose gradient changes the exact ones.

    The backward pass treats rounding as the identity. `rnnlab.train` trains it as any model.

    Args:
      model: the model, whose parameters these are.
      encodings: of the weights that are rounded, by name, as `leaf_encodings` returns them.

    Source: Bengio et al., arXiv 1308.3432; Jacob et al., arXiv 1712.05877, section 3.

    >>> import jax.numpy as jnp
    >>> from rnnlab import ModelConfig
    >>> from rnnlab.compress import leaf_encodings, quantize
    >>> model = ModelConfig("mingru", width=8, depth=1).build(5, vocab_size=5, rngs=nnx.Rngs(0))
    >>> rounds = StraightThrough(model, leaf_encodings(model, 4))
    >>> xs = jnp.array([[1, 2, 3]])
    >>> bool(jnp.allclose(rounds(xs=xs)[1], quantize(model, 4).model(xs)[1], atol=1e-6))
    True
    """

    def __init__(self, model: SequenceModel, encodings: Mapping[str, Integers]):
        self.model = model
        self.encodings = tuple(sorted(encodings.items()))

    @property
    def uses_gaps(self) -> bool:
        """Whether calls need `gaps`, the time since the previous input."""
        return uses_gaps(self.model)

    @property
    def body(self) -> nnx.Module:
        """The body of the model."""
        return self.model.body

    def embed(self, xs: Any) -> jax.Array:
        """Returns the inputs of the body."""
        return self._rounded().embed(xs)

    def initial_carry(self, batch_shape: Any = ()) -> Any:
        """Returns the initial carry of the model."""
        return self.model.initial_carry(batch_shape)

    def __call__(self, carry: Any = None, xs: Any = None, **options: Any) -> tuple[Any, jax.Array]:
        """Returns the result of the model's call, with rounded weights."""
        return self._rounded()(carry, xs, **options)

    def _rounded(self) -> SequenceModel:
        encodings = dict(self.encodings)
        graphdef, params, rest = nnx.split(self.model, nnx.Param, ...)

        def round_one(path: tuple[Any, ...], x: jax.Array) -> jax.Array:
            name = path_name(path)
            return rounded(x, encodings[name]) if name in encodings else x

        return nnx.merge(graphdef, jax.tree.map_with_path(round_one, params), rest, copy=True)
