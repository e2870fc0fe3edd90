"""Text as the tokens of a tokenizer: what a training fixes, and predictions for every token."""

import functools
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnnlab.tasks.text_preparation import TextPreparation
from rnnlab.tasks.token_files.encoders import load_tokenizer, vocab_size_of


@dataclass(frozen=True)
class TokenizerPreparation(TextPreparation):
    """The tokenizer and the windows of a training on a text.

    `vocabulary` is empty, since a token is not a symbol of the text. Positions of predictions count
    tokens.

    Attributes:
      tokenizer: the content of a `tokenizer.json` of the package tokenizers.
    """

    tokenizer: str = field(default="", repr=False)

    @property
    def symbols(self) -> tuple[str, ...]:
        """The token of each id, as the tokenizer writes it."""
        tokens = [""] * vocab_size_of(self._loaded)
        for token, number in self._loaded.get_vocab(with_added_tokens=True).items():
            tokens[number] = token
        return tuple(tokens)

    @property
    def of_bytes(self) -> bool:
        """False: a tokenizer reads characters."""
        return False

    def encode(self, content: str | bytes) -> np.ndarray:
        """Returns the token ids of a text, (time,) of int32, without special tokens.

        Raises:
          ValueError: the package tokenizers is not installed.
        """
        text = content if isinstance(content, str) else content.decode()
        return np.array(self._loaded.encode(text, add_special_tokens=False).ids, np.int32)

    def decode(self, ids: np.ndarray) -> str:
        """Returns the text of token ids, special tokens included."""
        return self._loaded.decode(np.asarray(ids).tolist(), skip_special_tokens=False)

    @property
    def _loaded(self) -> Any:
        return _load(self.tokenizer)


@functools.lru_cache(maxsize=2)
def _load(content: str) -> Any:
    return load_tokenizer(content, "the tokenizer of the training")
