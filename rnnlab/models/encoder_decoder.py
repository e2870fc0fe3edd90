"""A sequence-to-sequence model: a bidirectional encoder, and a decoder that attends to it."""

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
    require_layer,
    split_arguments,
)
from rnnlab.call_validation import mask_outputs, uses_gaps
from rnnlab.dtypes import accumulation_dtype, compute_dtype
from rnnlab.layers.decoder_stack import DecoderCarry, DecoderStack
from rnnlab.layers.dropout import key_option
from rnnlab.layers.input_feeding import InputFeeding
from rnnlab.layers.norm import RMSNorm
from rnnlab.models.decoding.decoded import Decoded
from rnnlab.models.decoding.source import decode_source
from rnnlab.models.embedding import InputEmbedding
from rnnlab.recurrent import dense
from rnnlab.validation import require_positive_int


@explain_constructor
class EncoderDecoder(nnx.Module):
    """Reads a source with an encoder, and predicts a target step by step while attending to it.

        memory = encoder_norm(encoder(embed(source)))
        y[t] = head(norm(decoder(embed(x[t]), memory)))

    The encoder is bidirectional. The decoder alternates recurrent layers, which read only earlier
    targets, with attention over the encoded source. Under teacher forcing all time steps of the
    targets are computed in parallel, as far as the cells are: attention reads the outputs of the
    recurrent layers of its own time step, and no output is fed back.

    A decoder with `InputFeeding` also reads its own last output, as in the models of Bahdanau and
    Luong. Calls are then sequential, a `jax.lax.scan` over the time steps.

    The loss is that of the next target: inputs are a begin token and the targets, targets are the
    same and an end. `decode` generates, by greedy or beam search. In a stream, `encode` starts it
    and `step` continues: its time and memory grow with the source, not with what was generated.

    Args:
      encoder: a stack that reads the embedded source, such as one of `Bidirectional` blocks.
      decoder: a `DecoderStack` of layers and attention blocks, or `InputFeeding` around one.
      out_features: number of predictions per time step.
      rngs: source of the keys of the parameters.
      vocab_size: number of token ids of the targets; None if they are values.
      in_features: number of values per time step of the targets; None if they are tokens.
      source_vocab_size: number of token ids of the source; None if it has values.
      source_features: number of values per time step of the source; None if it has tokens.
      tie_embeddings: whether the head shares the matrix of the embedding of the targets.
      dtype: dtype of the computation; None is `param_dtype`. Predictions are float32 or wider.
      param_dtype: dtype of the parameters.

    Raises:
      ValueError: the parts do not fit together, the shapes or dtypes of a call are invalid, a token
        id is out of range, or a call has resets: an example has one source and one target.

    Source: Bahdanau et al., arXiv 1409.0473, for attention; the decoder without input feeding
    follows Gehring et al., arXiv 1705.03122, section 3.3, with recurrent layers in place of
    convolutions.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import ModelConfig
    >>> config = ModelConfig(width=8, depth=1)
    >>> sizes = {"vocab_size": 7, "source_vocab_size": 5}
    >>> model = config.build(7, **sizes, rngs=nnx.Rngs(0))
    >>> source, xs = jnp.array([[1, 4, 0, 2]]), jnp.array([[0, 3, 3]])
    >>> carry, logits = model(xs, source=source)
    >>> logits.shape, model.decode(source, max_length=5, begin=0, end=1).labels.shape
    ((1, 3, 7), (1, 1, 5))
    """

    uses_source = True
    """Calls need the source of each example."""

    def __init__(
        self,
        encoder: nnx.Module,
        decoder: DecoderStack | InputFeeding,
        out_features: int,
        *,
        rngs: nnx.Rngs,
        vocab_size: int | None = None,
        in_features: int | None = None,
        source_vocab_size: int | None = None,
        source_features: int | None = None,
        tie_embeddings: bool = False,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        require_layer("encoder", encoder)
        require_layer("decoder", decoder)
        require_positive_int(out_features=out_features)
        if encoder.features != decoder.source_features:
            raise ValueError(
                f"decoder must attend to the {encoder.features} features of the encoder, got "
                f"source_features {decoder.source_features}; build its attention for them"
            )
        if uses_gaps(encoder):
            raise ValueError(
                "encoder must not use the time between inputs, which a source does not have; make "
                "its cells with gap_decay=False"
            )
        if tie_embeddings and out_features != vocab_size:
            raise ValueError(
                f"tie_embeddings requires vocab_size == out_features, got {vocab_size} and "
                f"{out_features}; set tie_embeddings=False"
            )
        self.vocab_size = vocab_size
        self.in_features = in_features
        self.source_vocab_size = source_vocab_size
        self.source_features = source_features
        self.features = out_features
        self.dtype = compute_dtype(dtype, param_dtype)
        self.param_dtype = jnp.dtype(param_dtype)
        dtypes = {"rngs": rngs, "dtype": self.dtype, "param_dtype": param_dtype}
        self.encoder = encoder
        self.decoder = decoder
        self.source_embedding = InputEmbedding(
            encoder.in_features,
            vocab_size=source_vocab_size,
            in_features=source_features,
            **dtypes,
        )
        width = decoder.in_features
        self.embedding = InputEmbedding(
            width, vocab_size=vocab_size, in_features=in_features, **dtypes
        )
        self.encoder_norm = RMSNorm(encoder.features, **dtypes)
        self.norm = RMSNorm(width, **dtypes)
        head = nnx.initializers.normal(0.02)  # predictions start near uniform, or near 0
        self.head_kernel = (
            None
            if tie_embeddings
            else nnx.Param(head(rngs.params(), (width, out_features), param_dtype))
        )
        self.head_bias = nnx.Param(jnp.zeros((out_features,), param_dtype))

    @property
    def out_features(self) -> int:
        """Number of predictions per time step."""
        return self.features

    @property
    def tie_embeddings(self) -> bool:
        """Whether the head shares the matrix of the embedding of the targets."""
        return self.head_kernel is None

    @accept_batch_size
    def initial_carry(self, batch_shape: BatchShape = ()) -> DecoderCarry:
        """Returns the carry before any source: its memory has no positions."""
        return self.decoder.initial_carry(batch_shape)

    def encode(
        self,
        source: Float[Array, "*batch source_time features"] | Int[Array, "*batch source_time"],
        source_mask: Bool[Array, "*batch source_time"] | None = None,
        *,
        key: Key[Array, ""] | None = None,
    ) -> DecoderCarry:
        """Returns the carry before the first target of each source.

        Args:
          source: token ids or values.
          source_mask: False in padding, which is on the right.
          key: randomness of dropout.
        """
        source, mask = self.source_embedding.validate("source", source, source_mask, time=True)
        axes = 1 if self.source_features is None else 2
        batch_shape = source.shape[:-axes]
        encoded = self.encoder(
            self.encoder.initial_carry(batch_shape),
            self.source_embedding(source),
            mask=mask,
            **key_option(self.encoder, key),
        )[1]
        memory = self.decoder.read(self.encoder_norm(encoded), mask)
        return self.decoder.initial_carry(batch_shape)._replace(memory=memory)

    def __call__(
        self,
        carry: Any = None,
        xs: Float[Array, "*batch time in_features"] | Int[Array, "*batch time"] | None = None,
        *,
        source: Array | None = None,
        source_mask: Bool[Array, "*batch source_time"] | None = None,
        reset: Any = None,
        mask: Bool[Array, "*batch time"] | None = None,
        key: Key[Array, ""] | None = None,
        rngs: RandomSource | None = None,
    ) -> tuple[DecoderCarry, Float[Array, "*batch time out_features"]]:
        """Returns the carry and the predictions of all time steps, 0 where masked.

        Args:
          carry: as of `encode` or an earlier call. `model(xs, source=source)` starts from
            `encode(source)`, and so does a carry without a source, of `initial_carry`.
          xs: what the decoder reads: a begin token and the targets before the last one.
          source: the source of each example; None where the carry has it.
          source_mask: False in padding of the source.
          reset: must be None.
          mask: False in padding of `xs`, which is on the right.
          key: randomness of dropout.
          rngs: the same as an `nnx.Rngs` or a stream.
        """
        carry, xs = split_arguments(carry, xs)
        key = call_key(key, rngs)
        self._refuse_resets(reset)
        encoder_key, decoder_key = (None, None) if key is None else jax.random.split(key)
        xs, mask = self.embedding.validate("xs", xs, mask, time=True)
        if source is not None:
            start = self.encode(source, source_mask, key=encoder_key)
            carry = start if carry is None else _require_carry(carry)._replace(memory=start.memory)
        carry, ys = self.decoder(
            _require_source(carry), self.embedding(xs), mask=mask, key=decoder_key
        )
        return carry, self._predict(ys, mask)

    def step(
        self,
        carry: DecoderCarry,
        x: Float[Array, "*batch in_features"] | Int[Array, "*batch"],
        *,
        reset: Any = None,
        mask: Bool[Array, "*batch"] | None = None,
        key: Key[Array, ""] | None = None,
        rngs: RandomSource | None = None,
    ) -> tuple[DecoderCarry, Float[Array, "*batch out_features"]]:
        """Returns the carry and the predictions of one time step, after `encode`."""
        key = call_key(key, rngs)
        self._refuse_resets(reset)
        x, mask = self.embedding.validate("x", x, mask, time=False)
        carry, y = self.decoder.step(_require_source(carry), self.embedding(x), mask=mask, key=key)
        return carry, self._predict(y, mask)

    def decode(
        self,
        xs: Float[Array, "batch source_time features"] | Int[Array, "batch source_time"],
        mask: Bool[Array, "batch source_time"] | None = None,
        *,
        max_length: int,
        begin: int,
        end: int,
        beam: int = 1,
        length_penalty: float = 0.0,
    ) -> Decoded:
        """Returns the most probable targets of each source that a search finds.

        Args:
          xs: the source.
          mask: False in padding of the source.
          max_length: greatest number of labels of a hypothesis, without the end.
          begin: the token that the decoder reads first.
          end: the label that ends a hypothesis.
          beam: number of hypotheses per example; 1 is greedy search.
          length_penalty: exponent of the length normalization, see `beam_search`.

        Raises:
          ValueError: the targets are values, or an argument is out of range.
        """
        return decode_source(
            self,
            xs,
            mask,
            max_length=max_length,
            begin=begin,
            end=end,
            beam=beam,
            length_penalty=length_penalty,
        )

    def alignments(
        self,
        xs: Float[Array, "*batch time in_features"] | Int[Array, "*batch time"],
        *,
        source: Array,
        source_mask: Bool[Array, "*batch source_time"] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
    ) -> tuple[Float[Array, "*batch heads time source_time"], ...]:
        """Returns the attention weights of each decoder layer over the source.

        Args:
          xs, source, source_mask, mask: as of a call.
        """
        xs, mask = self.embedding.validate("xs", xs, mask, time=True)
        carry = self.encode(source, source_mask)
        return self.decoder.weights(carry, self.embedding(xs), mask=mask)

    def _predict(self, ys, mask):
        tied = self.head_kernel is None
        kernel = self.embedding.embedding[...].T if tied else self.head_kernel[...]
        ys = dense(self.norm(ys), kernel, self.head_bias[...], self.dtype)
        return mask_outputs(ys.astype(accumulation_dtype(self.dtype)), mask)

    def _refuse_resets(self, reset):
        if reset is not None:
            raise ValueError(
                f"reset must be None for {type(self).__name__}, whose examples have one source "
                "and one target each; put each pair into an example of its own"
            )


def _require_carry(carry: Any) -> DecoderCarry:
    if not isinstance(carry, DecoderCarry):
        raise ValueError(
            f"carry must be a DecoderCarry, got {type(carry).__name__}; start from encode"
        )
    return carry


def _require_source(carry: Any) -> DecoderCarry:
    """Returns a carry, which must have the memory of a source."""
    if carry is None or not _require_carry(carry).memory[0].keys.shape[-2]:
        raise ValueError(
            "source must be given to an encoder-decoder whose carry has none, got None; pass "
            "source=, or start from encode(source)"
        )
    return carry
