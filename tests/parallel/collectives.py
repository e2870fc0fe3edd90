"""The collectives of a compiled program and their sizes."""

import re

import numpy as np

_COLLECTIVE = re.compile(
    r" = (.*?) (all-reduce|all-gather|all-to-all|reduce-scatter|collective-permute)(?:-start)?\("
)
_ARRAY = re.compile(r"(pred|[a-z]+(\d+))\[([\d,]*)\]")


def collective_bytes(compiled) -> dict[str, list[int]]:
    """Returns the bytes of each array that the collectives of a program return, by their kind."""
    found = {}
    for shapes, kind in _COLLECTIVE.findall(compiled.as_text()):
        for _, bits, sizes in _ARRAY.findall(shapes):
            size = np.prod([int(n) for n in sizes.split(",") if n], dtype=int)
            found.setdefault(kind, []).append(int(size * int(bits or 8) // 8))
    return found
