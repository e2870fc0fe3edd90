"""Tags of words in the scheme IOB2, and the entities that they mark."""

from collections.abc import Sequence
from typing import NamedTuple

OUTSIDE = "O"
"""The tag of a word that is in no entity."""

FIRST, FURTHER = "BSU", "IEL"
"""Prefixes of the first and of a further word of an entity in IOB2, IOBES and BILOU. S and U mark
an entity of one word, E and L the last word."""


class Entity(NamedTuple):
    """A named entity: its type, and its words `start` to `end - 1`."""

    type: str
    start: int
    end: int


def find_entities(tags: Sequence[str]) -> list[Entity]:
    """Returns the entities of a sentence whose tags are IOB2.

    An entity is B-TYPE and all I-TYPE that follow directly. An I- tag without them is in no
    entity, as in the strict mode of seqeval.

    >>> find_entities(["B-PER", "I-PER", "O", "I-LOC", "B-LOC"])
    [Entity(type='PER', start=0, end=2), Entity(type='LOC', start=4, end=5)]
    """
    found, start = [], None
    for k, tag in enumerate([*tags, OUTSIDE]):
        if start is not None and tag != f"I-{tags[start][2:]}":
            found.append(Entity(tags[start][2:], start, k))
            start = None
        if tag.startswith("B-"):
            start = k
    return found


def forbidden_pairs(tags: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Returns the pairs (previous, next) of numbers of tags that IOB2 does not allow.

    I-TYPE follows only B-TYPE and I-TYPE.

    >>> forbidden_pairs(["O", "B-PER", "I-PER"])
    ((0, 2),)
    """
    return tuple(
        (p, q)
        for p, before in enumerate(tags)
        for q, tag in enumerate(tags)
        if tag.startswith("I-") and before not in (f"B-{tag[2:]}", tag)
    )


def to_iob2(tags: Sequence[str]) -> tuple[str, ...]:
    """Returns the tags of a sentence in IOB2, of tags in IOB1, IOB2, IOBES or BILOU.

    A first word of an entity gets B-, any other one I-. An I- tag that continues no entity of its
    type starts one.

    >>> to_iob2(["I-PER", "E-PER", "O", "S-LOC", "I-ORG"])
    ('B-PER', 'I-PER', 'O', 'B-LOC', 'B-ORG')
    """
    found, before = [], OUTSIDE
    for tag in tags:
        if tag == OUTSIDE:
            found.append(tag)
        else:
            continues = tag[0] in FURTHER and found and found[-1][2:] == tag[2:]
            # Behind the last word of an entity, another one of the same type starts.
            continues = continues and before[0] not in "ELSU"
            found.append(f"{'I' if continues else 'B'}-{tag[2:]}")
        before = tag
    return tuple(found)
