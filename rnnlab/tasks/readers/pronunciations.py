"""Reader of pronouncing dictionaries in the format of cmudict."""

import os
import re
from pathlib import Path

from rnnlab.tasks.readers.errors import data_error, quote_cell
from rnnlab.tasks.readers.text import read_text

ALTERNATIVE = re.compile(r"\(\d+\)$")
"""End of a word that has another pronunciation in a line before."""

Phones = tuple[str, ...]


def read_pronunciations(
    path: str | os.PathLike, *, stress: bool = False
) -> dict[str, tuple[Phones, ...]]:
    """Returns the pronunciations of each word of a dictionary, in the order of the file.

    A line has a word and its phones, separated by white space, such as `CAT K AE1 T`. A number in
    parentheses behind the word marks another pronunciation of it. What follows a `#` is a comment,
    and so is a line that starts with `;;;`. Words are in lower case. Equal pronunciations are one.

    Args:
      path: the file.
      stress: whether the digits behind vowels stay, which mark their stress.

    Raises:
      DataError: the file has no text or no word, or a line has a word without phones.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "words.dict")
    ...     _ = file.write_text("read R EH1 D\\nread(2) R IY1 D # present\\n")
    ...     read_pronunciations(file)
    {'read': (('R', 'EH', 'D'), ('R', 'IY', 'D'))}
    """
    path = Path(path)
    found: dict[str, dict[Phones, None]] = {}
    for number, line in enumerate(read_text(path).split("\n"), 1):
        word, *phones = line.partition("#")[0].split() or [""]
        if not word or word.startswith(";;;"):
            continue
        if not phones:
            reason = f"must have phones behind the word, got only {quote_cell(word)}; add them"
            raise data_error(path, reason, line=number)
        if not stress:
            phones = [phone.rstrip("0123456789") or phone for phone in phones]
        found.setdefault(ALTERNATIVE.sub("", word).lower(), {})[tuple(phones)] = None
    if not found:
        raise data_error(path, "must have a word, got only comments; add a line such as CAT K AE T")
    return {word: tuple(phones) for word, phones in found.items()}
