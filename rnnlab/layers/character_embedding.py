"""Embedding of words by a vector per known word and a convolution over their characters."""

import jax.numpy as jnp
from flax import nnx
from jax import Array
from jax.typing import DTypeLike
from jaxtyping import Float, Int

from rnnlab.dtypes import compute_dtype
from rnnlab.recurrent import dense
from rnnlab.validation import require_positive_int


class CharacterEmbedding(nnx.Module):
    """Embeds words as the sum of a vector per known word and one made of their characters.

        embedded = words[word] + dense(max over characters of relu(conv(vectors[characters])))

    A word is its id followed by the ids of its characters, all integers. Word 0 is any word that
    the vocabulary lacks; it is then known by its characters. Character 0 is padding, on the right.

    Args:
      num_words: number of word ids.
      num_characters: number of character ids.
      features: width of the outputs.
      rngs: source of the keys of the parameters.
      character_width: width of the vector of a character.
      kernel_size: number of neighboring characters that the convolution reads, odd.
      dtype: dtype of the computation; None is `param_dtype`.
      param_dtype: dtype of the parameters.

    Raises:
      ValueError: a size is less than 1, or kernel_size is even.

    Source: Ma and Hovy, arXiv 1603.01354, section 2.1, for the convolution.

    >>> import jax.numpy as jnp
    >>> from flax import nnx
    >>> layer = CharacterEmbedding(3, 5, 8, rngs=nnx.Rngs(0))
    >>> layer(jnp.array([[2, 4, 1, 0], [0, 3, 3, 3]])).shape  # words of 2 and 3 characters
    (2, 8)
    """

    def __init__(
        self,
        num_words: int,
        num_characters: int,
        features: int,
        *,
        rngs: nnx.Rngs,
        character_width: int = 32,
        kernel_size: int = 3,
        dtype: DTypeLike | None = None,
        param_dtype: DTypeLike = jnp.float32,
    ):
        require_positive_int(
            num_words=num_words,
            num_characters=num_characters,
            features=features,
            character_width=character_width,
            kernel_size=kernel_size,
        )
        if kernel_size % 2 == 0:
            raise ValueError(f"kernel_size must be odd, got {kernel_size}; pass {kernel_size + 1}")
        self.num_words, self.num_characters = num_words, num_characters
        self.features = features
        self.character_width, self.kernel_size = character_width, kernel_size
        self.dtype = compute_dtype(dtype, param_dtype)
        self.param_dtype = jnp.dtype(param_dtype)
        # The two terms start at equal scales, and their sum at the norm of other embeddings.
        init = nnx.initializers.normal((2 * features) ** -0.5)
        self.words = nnx.Param(init(rngs.params(), (num_words, features), param_dtype))
        unit = nnx.initializers.normal(1.0)
        shape = (num_characters, character_width)
        self.characters = nnx.Param(unit(rngs.params(), shape, param_dtype))
        inner, fan_in = nnx.initializers.lecun_normal(), kernel_size * character_width
        self.conv_kernel = nnx.Param(inner(rngs.params(), (fan_in, features), param_dtype))
        self.conv_bias = nnx.Param(jnp.zeros((features,), param_dtype))
        outer = nnx.initializers.normal(features**-1)
        self.out_kernel = nnx.Param(outer(rngs.params(), (features, features), param_dtype))

    def __call__(self, ids: Int[Array, "*batch symbols"]) -> Float[Array, "*batch features"]:
        """Returns the embedded words.

        Args:
          ids: of a word and of its characters. One out of range is read as the nearest valid id.
        """
        word, characters = ids[..., 0], ids[..., 1:]
        vectors = jnp.take(self.words[...], word, axis=0, mode="clip").astype(self.dtype)
        if not characters.shape[-1]:
            return vectors
        is_real = (characters > 0)[..., None]
        read = jnp.take(self.characters[...], characters, axis=0, mode="clip").astype(self.dtype)
        read = jnp.where(is_real, read, 0)  # zeros also mark both ends of a word
        half, length = self.kernel_size // 2, characters.shape[-1]
        padded = jnp.pad(read, [(0, 0)] * (read.ndim - 2) + [(half, half), (0, 0)])
        near = [padded[..., k : k + length, :] for k in range(self.kernel_size)]
        y = dense(jnp.concatenate(near, -1), self.conv_kernel[...], self.conv_bias[...], self.dtype)
        # relu is at least 0, the value of positions without a character.
        largest = jnp.where(is_real, y, 0).max(-2, initial=0)
        return vectors + largest @ self.out_kernel[...].astype(self.dtype)
