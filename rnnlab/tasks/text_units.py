"""Vocabularies of sentences, learned in the training part: characters, or pairs of bytes (BPE)."""

import functools
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np

from rnnlab.optional import require_module
from rnnlab.tasks.token_files.encoders import load_tokenizer, vocab_size_of
from rnnlab.validation import require_one_of

Units = Literal["bpe", "characters"]
"""The tokens of a sentence."""

SPECIAL = ("<end>", "<begin>", "<unknown>")
"""The first token ids: the end and the begin of a sentence, and a character that is not known."""

BEGIN, UNKNOWN = 1, 2

MIN_CHARACTER_COUNT = 3
"""Occurrences from which on a character has a token id."""

SMALLEST_BPE = 256 + len(SPECIAL)


@dataclass(frozen=True)
class TextUnits:
    """The tokens of the sentences of one language.

    Attributes:
      characters: the character of each token id after `SPECIAL`; empty for byte pairs.
      tokenizer: the content of a `tokenizer.json` of the package tokenizers; empty for characters.
    """

    characters: tuple[str, ...] = field(default=(), repr=False)
    tokenizer: str = field(default="", repr=False)

    @classmethod
    def learn(cls, sentences: Sequence[str], units: Units, size: int) -> "TextUnits":
        """Returns the tokens of sentences.

        Args:
          sentences: of the training part.
          units: `"characters"`: those that occur `MIN_CHARACTER_COUNT` times; others share one id.
            `"bpe"`: frequent sequences of bytes within words, learned by the package tokenizers;
            every sentence has tokens.
          size: number of token ids of byte pairs, at most.

        Raises:
          ValueError: units are unknown, size is too small, or the package is not installed.

        Source: Sennrich et al. (2016), arXiv 1508.07909, on bytes as in GPT-2.

        >>> units = TextUnits.learn(["aab", "bba"], "characters", 0)
        >>> units.encode("abc").tolist(), units.decode(np.array([3, 4]))
        ([3, 4, 2], 'ab')
        """
        require_one_of("units", units, get_args(Units))
        if units == "characters":
            counts = Counter(character for sentence in sentences for character in sentence)
            return cls(tuple(sorted(x for x, n in counts.items() if n >= MIN_CHARACTER_COUNT)))
        if size < SMALLEST_BPE:
            raise ValueError(
                f"vocab_size must be >= {SMALLEST_BPE} for byte pairs, 256 bytes and "
                f"{len(SPECIAL)} special tokens, got {size}; raise --data.vocab-size"
            )
        package = require_module("tokenizers", "sequences")
        tokenizer = package.Tokenizer(package.models.BPE())
        tokenizer.pre_tokenizer = package.pre_tokenizers.ByteLevel(add_prefix_space=True)
        tokenizer.decoder = package.decoders.ByteLevel()
        trainer = package.trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=list(SPECIAL),
            initial_alphabet=sorted(package.pre_tokenizers.ByteLevel.alphabet()),
            show_progress=False,
        )
        tokenizer.train_from_iterator(sentences, trainer)
        return cls(tokenizer=json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False))

    @property
    def symbols(self) -> tuple[str, ...]:
        """The text of each token id, as the vocabulary has it."""
        if self.characters:
            return (*SPECIAL, *self.characters)
        loaded = _load(self.tokenizer)
        found = [""] * vocab_size_of(loaded)
        for token, number in loaded.get_vocab(with_added_tokens=True).items():
            found[number] = token
        return tuple(found)

    def encode(self, sentence: str) -> np.ndarray:
        """Returns the token ids of a sentence, (time,) of int32, without begin and end."""
        return self.encode_all([sentence])[0]

    def encode_all(self, sentences: Sequence[str]) -> list[np.ndarray]:
        """Returns the token ids of each sentence."""
        if self.characters:
            ids = {name: k for k, name in enumerate(self.characters, len(SPECIAL))}
            return [np.array([ids.get(x, UNKNOWN) for x in s], np.int32) for s in sentences]
        encoded = _load(self.tokenizer).encode_batch(list(sentences), add_special_tokens=False)
        return [np.array(x.ids, np.int32) for x in encoded]

    def decode(self, ids: np.ndarray) -> str:
        """Returns the sentence of token ids, without special tokens."""
        return self.decode_all([ids])[0]

    def decode_all(self, sentences: Sequence[np.ndarray]) -> list[str]:
        """Returns the sentence of each sequence of token ids."""
        kept = [[int(k) for k in ids if k >= len(SPECIAL)] for ids in sentences]
        if self.characters:
            first = len(SPECIAL)
            return ["".join(self.characters[k - first] for k in ids).strip() for ids in kept]
        return [x.strip() for x in _load(self.tokenizer).decode_batch(kept)]


@functools.lru_cache(maxsize=4)
def _load(content: str) -> Any:
    return load_tokenizer(content, "the tokenizer of the training")
