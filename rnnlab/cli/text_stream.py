"""Text of tokens that arrive in parts, for vocabularies and tokenizers."""

from collections.abc import Sequence

from rnnlab.serve.text import TextDecoder
from rnnlab.tasks.text_preparation import TextPreparation

INCOMPLETE = "\ufffd"
"""What a decoder writes in place of a character whose bytes are not all there."""


class TextStream:
    """Decodes the tokens of one text as they arrive. What may still change waits.

    The parts together are the text of all tokens.

    Args:
      preparation: decodes tokens.

    >>> stream = TextStream(TextPreparation(("a", "b"), window=1, batch_size=1))
    >>> stream.feed([0, 1]), stream.feed([0]), stream.finish()
    ('ab', 'a', '')
    """

    def __init__(self, preparation: TextPreparation):
        self._preparation = preparation
        symbols = preparation.vocabulary
        self._by_symbol = TextDecoder(symbols) if symbols else None
        self._tokens: list[int] = []  # of a tokenizer: those that the next text may depend on
        self._shown = 0  # how many of them are in the text already

    def feed(self, tokens: Sequence[int]) -> str:
        """Returns the text that is complete after `tokens`."""
        if self._by_symbol is not None:
            return self._by_symbol.feed(tokens)
        self._tokens += tokens
        new = self._rest()
        if new.endswith(INCOMPLETE):
            return ""
        # A tokenizer may write a token differently at the start of a text: keep those before it.
        self._tokens = self._tokens[self._shown :]
        self._shown = len(self._tokens)
        return new

    def finish(self) -> str:
        """Returns what is left at the end of the text."""
        return self._by_symbol.finish() if self._by_symbol is not None else self._rest()

    def _rest(self) -> str:
        """The text of the tokens that is not shown yet."""
        before = self._preparation.decode(self._tokens[: self._shown]) if self._shown else ""
        return self._preparation.decode(self._tokens)[len(before) :]
