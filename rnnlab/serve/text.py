"""Text of tokens that arrive in parts."""

import codecs
from collections.abc import Sequence

from rnnlab.tasks.text_preparation import byte_of


class TextDecoder:
    """Decodes the tokens of one stream. Bytes of a character wait until it is complete.

    Args:
      vocabulary: the symbol of each token.

    >>> decoder = TextDecoder(("<0x61>", "<0xC3>", "<0xA9>"))
    >>> decoder.feed([0, 1]), decoder.feed([2]), decoder.finish()
    ('a', 'é', '')
    """

    def __init__(self, vocabulary: Sequence[str]):
        self._symbols = vocabulary
        is_bytes = bool(vocabulary) and len(vocabulary[0]) > 1
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace") if is_bytes else None

    def feed(self, tokens: Sequence[int]) -> str:
        """Returns the text that is complete after `tokens`; bytes that are invalid are U+FFFD."""
        if not self._symbols:
            return ""
        symbols = [self._symbols[token] for token in tokens]
        if self._decoder is None:
            return "".join(symbols)
        return self._decoder.decode(bytes(map(byte_of, symbols)))

    def finish(self) -> str:
        """Returns what is left at the end of the stream."""
        return "" if self._decoder is None else self._decoder.decode(b"", final=True)
