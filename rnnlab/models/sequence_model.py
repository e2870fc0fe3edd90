"""A sequence model: an embedding, a body of cells or layers, and a head."""

from typing import Any, NamedTuple

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
from rnnlab.call_validation import mask_outputs, uses_gaps, validate_call, validate_carry
from rnnlab.dtypes import accumulation_dtype, compute_dtype
from rnnlab.layers.attention_pooling import AttentionPooling
from rnnlab.layers.character_embedding import CharacterEmbedding
from rnnlab.layers.dropout import key_option
from rnnlab.layers.input_decay import InputDecay
from rnnlab.layers.norm import RMSNorm
from rnnlab.layers.running_mean import RunningMean
from rnnlab.recurrent import dense
from rnnlab.validation import require_flags, require_one_of, require_positive_int, require_tokens

READOUTS = ("last", "mean", "attention")


class ModelCarry(NamedTuple):
    """The carry of a model: those of its body and of its pooling, () without one."""

    body: Any
    readout: Any


@explain_constructor
class SequenceModel(nnx.Module):
    """Embeds its input, runs a body over it, and makes predictions at every time step.

        y[t] = head(readout(norm(body(embed(x[t])))))

    The loss decides what the `out_features` predictions mean: logits of the next token or of a
    class, logits of several labels, or values. The label of a whole sequence is predicted at its
    last time step. The model keeps the contract of a cell: it streams, chunks, packs and pads as
    its body does. Inputs are values (*batch, time, in_features) or token ids (*batch, time).

    Args:
      body: a cell, block or stack; a model with a `Bidirectional` body has no `step`.
      out_features: number of predictions per time step.
      rngs: source of the keys of the parameters.
      vocab_size: number of token ids; None if the inputs are values.
      in_features: number of values per time step; None if the inputs are tokens.
      readout: what predictions are made from: `"last"` is the body's output at the time step,
        `"mean"` the mean of its outputs so far, which at the last step is that of the sequence,
        `"attention"` their mean weighted by the attention of a learned query.
      tie_embeddings: whether the head shares the embedding's matrix.
      input_decay: number of variables whose values fade while they are not observed, at the start
        of the inputs; see `rnnlab.layers.InputDecay`. 0: none.
      word_sizes: numbers of words and of characters, where a time step is a word: its id and those
        of its characters, `in_features` integers; see `rnnlab.layers.CharacterEmbedding`. None for
        all other inputs.
      dtype: dtype of the computation; None is `param_dtype`. Predictions are float32 or wider.
      param_dtype: dtype of the parameters.

    Raises:
      ValueError: neither or both of vocab_size and in_features are given, the sizes do not allow
        tied embeddings, the shapes or dtypes of a call are invalid, or a token id is out of range.
        Within `jax.jit` ids are unknown, and one out of range is read as the nearest valid id:
        validate them on the host.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> from rnnlab import MinGRU
    >>> rngs = nnx.Rngs(0)
    >>> model = SequenceModel(MinGRU(8, 8, rngs=rngs), 5, vocab_size=5, rngs=rngs)
    >>> carry, logits = model(model.initial_carry((2,)), jnp.array([[1, 4, 0], [2, 2, 3]]))
    >>> logits.shape
    (2, 3, 5)
    """

    def __init__(
        self,
        body: nnx.Module,
        out_features: int,
        *,
        rngs: nnx.Rngs,
        vocab_size: int | None = None,
        in_features: int | None = None,
        readout: str = "last",
        tie_embeddings: bool = False,
        input_decay: int = 0,
        word_sizes: tuple[int, int] | None = None,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        if (vocab_size is None) == (in_features is None):
            raise ValueError(
                "exactly one of vocab_size (for token ids) and in_features (for values) must be "
                f"given, got vocab_size={vocab_size} and in_features={in_features}"
            )
        require_one_of("readout", readout, READOUTS)
        require_layer("body", body)
        sizes = {"vocab_size": vocab_size, "in_features": in_features, "out_features": out_features}
        require_positive_int(**{name: size for name, size in sizes.items() if size is not None})
        if tie_embeddings and (out_features, body.features) != (vocab_size, body.in_features):
            raise ValueError(
                "tie_embeddings requires in_features == features of the body and vocab_size == "
                f"out_features, got {body.in_features}, {body.features}, {vocab_size}, "
                f"{out_features}; set tie_embeddings=False"
            )
        self.vocab_size = vocab_size
        self.in_features = in_features
        self.features = out_features
        self.dtype = compute_dtype(dtype, param_dtype)
        self.param_dtype = jnp.dtype(param_dtype)
        self.body = body
        width = body.in_features
        # Embeddings of norm about 1: the residual stream then starts at the scale of the branches,
        # and tied logits at that of a separate head.
        init = nnx.initializers.normal(width**-0.5)
        self.embedding = (
            None
            if vocab_size is None
            else nnx.Param(init(rngs.params(), (vocab_size, width), param_dtype))
        )
        dtypes = {"dtype": self.dtype, "param_dtype": param_dtype}
        if input_decay and in_features is None:
            raise ValueError(
                f"input_decay must be 0 where inputs are tokens, got {input_decay}; omit it"
            )
        if word_sizes is not None and (in_features is None or input_decay):
            raise ValueError(
                "word_sizes must be used with in_features, integers per word, and without "
                f"input_decay, got in_features={in_features} and input_decay={input_decay}; "
                "correct them"
            )
        self.decay = InputDecay(input_decay, in_features, **dtypes) if input_decay else None
        self.words = (
            None
            if word_sizes is None
            else CharacterEmbedding(*word_sizes, width, rngs=rngs, **dtypes)
        )
        are_values = in_features is not None and word_sizes is None
        self.project = nnx.Linear(in_features, width, rngs=rngs, **dtypes) if are_values else None
        self.norm = RMSNorm(body.features, rngs=rngs, **dtypes)
        poolings = {
            "last": lambda: None,
            "mean": lambda: RunningMean(body.features, dtype=self.dtype),
            "attention": lambda: AttentionPooling(body.features, rngs=rngs, **dtypes),
        }
        self.pooling = poolings[readout]()
        head = nnx.initializers.normal(0.02)  # predictions start near uniform, or near 0
        self.head_kernel = (
            None
            if tie_embeddings
            else nnx.Param(head(rngs.params(), (body.features, out_features), param_dtype))
        )
        self.head_bias = nnx.Param(jnp.zeros((out_features,), param_dtype))

    @property
    def out_features(self) -> int:
        """Number of predictions per time step."""
        return self.features

    @property
    def uses_gaps(self) -> bool:
        """Whether calls need `gaps`, the time since the previous input."""
        return uses_gaps(self.body)

    @property
    def word_sizes(self) -> tuple[int, int] | None:
        """Numbers of words and of characters; None where time steps are not words."""
        return None if self.words is None else (self.words.num_words, self.words.num_characters)

    @property
    def readout(self) -> str:
        """The source of the predictions, one of `READOUTS`."""
        return {RunningMean: "mean", AttentionPooling: "attention"}.get(type(self.pooling), "last")

    @property
    def tie_embeddings(self) -> bool:
        """Whether the head shares the embedding's matrix."""
        return self.head_kernel is None

    @accept_batch_size
    def initial_carry(self, batch_shape: BatchShape = ()) -> ModelCarry:
        """Returns the initial carry of the body and of the pooling."""
        pooled = () if self.pooling is None else self.pooling.initial_carry(batch_shape)
        return ModelCarry(self.body.initial_carry(batch_shape), pooled)

    def __call__(
        self,
        carry: Any = None,
        xs: Float[Array, "*batch time in_features"] | Int[Array, "*shape"] | None = None,
        *,
        reset: Bool[Array, "*batch time"] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
        gaps: Float[Array, "*batch time"] | None = None,
        key: Key[Array, ""] | None = None,
        rngs: RandomSource | None = None,
    ) -> tuple[ModelCarry, Float[Array, "*batch time out_features"]]:
        """Returns the last carry and the predictions of all time steps, 0 where masked.

        `model(xs)` starts from `initial_carry`. Arguments are those of a cell's call.
        """
        carry, xs = split_arguments(carry, xs)
        key = call_key(key, rngs)
        carry, xs, reset, mask = self._validate(carry, xs, reset, mask, time=True)
        return self.predict(carry, self.embed(xs), reset=reset, mask=mask, gaps=gaps, key=key)

    def step(
        self,
        carry: ModelCarry,
        x: Float[Array, "*batch in_features"] | Int[Array, "*shape"],
        *,
        reset: Bool[Array, "*batch"] | None = None,
        mask: Bool[Array, "*batch"] | None = None,
        gaps: Float[Array, "*batch"] | None = None,
        key: Key[Array, ""] | None = None,
        rngs: RandomSource | None = None,
    ) -> tuple[ModelCarry, Float[Array, "*batch out_features"]]:
        """Returns the carry and the predictions of one time step."""
        key = call_key(key, rngs)
        carry, x, reset, mask = self._validate(carry, x, reset, mask, time=False)
        pooling = None if self.pooling is None else self.pooling.step
        flags = {"reset": reset, "mask": mask}
        return self._run(self.body.step, pooling, carry, self.embed(x), gaps, key, **flags)

    def embed(
        self, xs: Float[Array, "*batch in_features"] | Int[Array, "*shape"]
    ) -> Float[Array, "*batch width"]:
        """Returns the inputs of the body for values, token ids, or words."""
        if self.words is not None:
            return self.words(xs)
        if self.project is not None:
            return self.project(xs if self.decay is None else self.decay.update((), xs)[1])
        return jnp.take(self.embedding[...], xs, axis=0, mode="clip").astype(self.dtype)

    def predict(
        self,
        carry: ModelCarry,
        embedded: Float[Array, "*batch time width"],
        *,
        reset: Bool[Array, "*batch time"] | None = None,
        mask: Bool[Array, "*batch time"] | None = None,
        gaps: Float[Array, "*batch time"] | None = None,
        key: Key[Array, ""] | None = None,
        rngs: RandomSource | None = None,
    ) -> tuple[ModelCarry, Float[Array, "*batch time out_features"]]:
        """Returns the result of a call for embedded inputs.

        `model(carry, xs)` is `model.predict(carry, model.embed(xs))`.
        """
        key = call_key(key, rngs)
        return self._run(
            self.body, self.pooling, carry, embedded, gaps, key, reset=reset, mask=mask
        )

    def _validate(self, carry, xs, reset, mask, *, time):
        if self.words is not None:
            return self._validate_words(carry, xs, reset, mask, time=time)
        if self.vocab_size is None:
            return validate_call(self, carry, xs, reset, mask, time=time)
        name, xs = ("xs", jnp.asarray(xs)) if time else ("x", jnp.asarray(xs))
        if not jnp.issubdtype(xs.dtype, jnp.integer) or xs.ndim < time:
            layout = "(*batch, time)" if time else "(*batch,)"
            raise ValueError(
                f"{name} must be token ids, integers of shape {layout}, got shape {xs.shape} and "
                f"dtype {xs.dtype}"
            )
        reset, mask = (None if flag is None else jnp.asarray(flag) for flag in (reset, mask))
        require_flags(xs.shape, f"the shape of {name}", reset=reset, mask=mask)
        require_tokens(name, xs, self.vocab_size, mask)
        carry = validate_carry(self, carry, xs.shape[:-1] if time else xs.shape)
        return carry, xs, reset, mask

    def _validate_words(self, carry, xs, reset, mask, *, time):
        name, xs = ("xs", jnp.asarray(xs)) if time else ("x", jnp.asarray(xs))
        is_fit = jnp.issubdtype(xs.dtype, jnp.integer) and xs.ndim > time
        if not is_fit or xs.shape[-1] != self.in_features:
            layout = "(*batch, time, in_features)" if time else "(*batch, in_features)"
            raise ValueError(
                f"{name} must be ids of words and characters, integers of shape {layout} with "
                f"in_features {self.in_features}, got shape {xs.shape} and dtype {xs.dtype}"
            )
        reset, mask = (None if flag is None else jnp.asarray(flag) for flag in (reset, mask))
        shape = xs.shape[:-1]
        require_flags(shape, f"the shape of {name} without features", reset=reset, mask=mask)
        num_words, num_characters = self.word_sizes
        require_tokens(f"{name}[..., 0]", xs[..., 0], num_words, mask)
        is_real = None if mask is None else mask[..., None]
        require_tokens(f"{name}[..., 1:]", xs[..., 1:], num_characters, is_real)
        return validate_carry(self, carry, shape[:-1] if time else shape), xs, reset, mask

    def _run(self, body, pooling, carry, x, gaps, key, *, reset, mask):
        flags = {"reset": reset, "mask": mask}
        options = key_option(self.body, key) | ({} if gaps is None else {"gaps": gaps})
        state, y = body(carry.body, x, **flags, **options)
        y = self.norm(y)
        pooled = carry.readout
        if pooling is not None:
            pooled, y = pooling(pooled, y, **flags)
        kernel = self.embedding[...].T if self.head_kernel is None else self.head_kernel[...]
        y = dense(y, kernel, self.head_bias[...], self.dtype).astype(accumulation_dtype(self.dtype))
        return ModelCarry(state, pooled), mask_outputs(y, mask)
