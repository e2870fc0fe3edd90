"""A transducer: an encoder of the inputs, a network of the labels so far, and a joint of both."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Bool, Float, Int, Key

from rnnlab.argument_errors import explain_constructor
from rnnlab.call_arguments import (
    BatchShape,
    RandomSource,
    accept_batch_size,
    call_key,
    split_arguments,
)
from rnnlab.dtypes import compute_dtype
from rnnlab.losses.label_sequences import BLANK, label_counts
from rnnlab.models.decoding.decoded import Decoded
from rnnlab.models.decoding.transducer import transducer_decode
from rnnlab.models.joint import Joint, node_log_probs
from rnnlab.models.sequence_model import ModelCarry, SequenceModel
from rnnlab.validation import require_positive_int, require_shape


@explain_constructor
class Transducer(nnx.Module):
    """Predicts labels while it reads inputs, without a given alignment of the two.

    At a time step it emits labels, each a function of the inputs so far and of the labels before,
    until it predicts the blank, class 0, which leads to the next time step. Labels are classes
    from 1 on. The prediction network reads class 0 in place of a label at the beginning.

    A call computes what `rnnlab.transducer_loss` needs; `rnnlab.models.decoding` finds
    the labels of inputs, also as a stream, unless the encoder is bidirectional.

    Args:
      encoder: a model of the inputs.
      predictor: a model of tokens, the labels so far: its vocab_size is `out_features`.
      out_features: number of classes with the blank.
      rngs: source of the keys of the joint's parameters.
      frames: number of time steps whose logits are in memory at the same time.
      dtype: dtype of the joint; None is `param_dtype`. Log probabilities are float32 or wider.
      param_dtype: dtype of the joint's parameters.

    Raises:
      ValueError: the two networks have different features, the predictor's tokens are not the
        classes, or the shapes or dtypes of a call are invalid.

    Source: Graves, arXiv 1211.3711; the joint is that of Graves et al., arXiv 1303.5778.

    >>> from rnnlab import MinGRU
    >>> rngs = nnx.Rngs(0)
    >>> encoder = SequenceModel(MinGRU(8, 8, rngs=rngs), 6, in_features=2, rngs=rngs)
    >>> predictor = SequenceModel(MinGRU(8, 8, rngs=rngs), 6, vocab_size=5, rngs=rngs)
    >>> model = Transducer(encoder, predictor, 5, rngs=rngs)
    >>> carry, nodes = model(jnp.ones((3, 7, 2)), labels=jnp.array([[4, 1], [2, -1], [-1, -1]]))
    >>> nodes.shape
    (3, 7, 3, 2)
    """

    def __init__(
        self,
        encoder: nnx.Module,
        predictor: nnx.Module,
        out_features: int,
        *,
        rngs: nnx.Rngs,
        frames: int = 8,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        require_positive_int(out_features=out_features, frames=frames)
        for name, model in (("encoder", encoder), ("predictor", predictor)):
            if not isinstance(model, SequenceModel):
                raise ValueError(
                    f"{name} must be a SequenceModel, got a {type(model).__name__}; put it into one"
                )
        if encoder.features != predictor.features:
            raise ValueError(
                f"predictor must have out_features {encoder.features}, those of the encoder, got "
                f"{predictor.features}; the joint adds both"
            )
        if predictor.vocab_size != out_features:
            raise ValueError(
                f"predictor must have vocab_size {out_features}, the number of classes with the "
                f"blank, got {predictor.vocab_size}; it reads labels"
            )
        self.encoder = encoder
        self.predictor = predictor
        self.features = out_features
        self.frames = frames
        self.dtype = compute_dtype(dtype, param_dtype)
        self.param_dtype = jnp.dtype(param_dtype)
        self.joint = Joint(
            encoder.features, out_features, rngs=rngs, dtype=self.dtype, param_dtype=param_dtype
        )

    @property
    def out_features(self) -> int:
        """Number of classes with the blank."""
        return self.features

    @property
    def vocab_size(self) -> int | None:
        """Number of token ids of the encoder's inputs; None if they are values."""
        return self.encoder.vocab_size

    @property
    def in_features(self) -> int | None:
        """Number of values per time step; None if the inputs are tokens."""
        return self.encoder.in_features

    @property
    def uses_gaps(self) -> bool:
        """Whether calls need `gaps`, the time since the previous input."""
        return self.encoder.uses_gaps

    @property
    def uses_labels(self) -> bool:
        """Calls need `labels`."""
        return True

    @accept_batch_size
    def initial_carry(self, batch_shape: BatchShape = ()) -> ModelCarry:
        """Returns the initial carry of the encoder."""
        return self.encoder.initial_carry(batch_shape)

    def __call__(
        self,
        carry: Any = None,
        xs: Float[Array, "*batch time in_features"] | Int[Array, "*batch time"] | None = None,
        *,
        labels: Int[Array, "*batch label_time"] | None = None,
        reset: Bool[Array, "*batch time"] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
        gaps: Float[Array, "*batch time"] | None = None,
        key: Key[Array, ""] | None = None,
        rngs: RandomSource | None = None,
    ) -> tuple[ModelCarry, Float[Array, "*batch time nodes 2"]]:
        """Returns the encoder's last carry and two log probabilities per node, `node_log_probs`.

        `model(xs, labels=labels)` starts from `initial_carry`.

        Args:
          carry, xs, mask, gaps, key, rngs: as in a call of a `SequenceModel`.
          labels: classes from 1 on; negative after the end of a sequence.
          reset: None. Packed sequences have no labels of their own.
        """
        carry, xs = split_arguments(carry, xs)
        key = call_key(key, rngs)
        if labels is None:
            raise ValueError(
                "labels must be given to a Transducer, got None; pass labels=, or call encode for "
                "the encoder's outputs"
            )
        if reset is not None:
            raise ValueError(
                "reset must be None for a Transducer, whose labels belong to one sequence, got an "
                "array; give each sequence an example of its own"
            )
        keys = (None, None) if key is None else tuple(jax.random.split(key))
        carry, encoded = self.encode(carry, xs, mask=mask, gaps=gaps, key=keys[0])
        return carry, self.lattice(encoded, labels, key=keys[1])

    def encode(
        self,
        carry: Any = None,
        xs: Float[Array, "*batch time in_features"] | Int[Array, "*batch time"] | None = None,
        *,
        mask: Bool[Array, "*batch time"] | None = None,
        gaps: Float[Array, "*batch time"] | None = None,
        key: Key[Array, ""] | None = None,
    ) -> tuple[ModelCarry, Float[Array, "*batch time features"]]:
        """Returns the encoder's last carry and its outputs, which the joint reads."""
        carry, xs = split_arguments(carry, xs)
        return self.encoder(carry, xs, mask=mask, gaps=gaps, key=key)

    def lattice(
        self,
        encoded: Float[Array, "*batch time features"],
        labels: Int[Array, "*batch label_time"],
        *,
        key: Key[Array, ""] | None = None,
    ) -> Float[Array, "*batch time nodes 2"]:
        """Returns the two log probabilities of each node, for outputs of `encode`."""
        labels = jnp.asarray(labels)
        batch = encoded.shape[:-2]
        require_shape("labels", labels, (*batch, labels.shape[-1]), "with the batch axes of xs")
        # What follows the labels reads the blank; no node before it depends on that.
        tokens = jnp.pad(jnp.maximum(labels, BLANK), [(0, 0)] * len(batch) + [(1, 0)])
        _, predicted = self.predictor(None, tokens, key=key)
        return node_log_probs(self.joint, encoded, predicted, labels, self.frames)

    def decode(
        self,
        xs: Float[Array, "batch time in_features"] | Int[Array, "batch time"],
        mask: Bool[Array, "batch time"] | None = None,
        *,
        max_length: int,
        beam: int = 1,
        begin: int | None = None,
        end: int | None = None,
        length_penalty: float = 0.0,
    ) -> Decoded:
        """Returns the most likely labels, as `rnnlab.models.decoding.transducer.transducer_decode`.

        Args:
          xs, mask: inputs.
          max_length: greatest number of labels.
          beam: number of hypotheses; 1 is greedy decoding.
          begin, end: None. The blank begins and ends a sequence.
          length_penalty: 0. The blanks give sequences of all lengths a probability.
        """
        for name, value in (("begin", begin), ("end", end), ("length_penalty", length_penalty)):
            if value:
                raise ValueError(
                    f"{name} must be {0.0 if name == 'length_penalty' else None} for a Transducer, "
                    f"whose blanks end a sequence, got {value}; omit it"
                )
        found = transducer_decode(self, xs, mask=mask, beam=beam, max_labels=max_length)
        return Decoded(found.labels, found.scores, label_counts(found.labels))
