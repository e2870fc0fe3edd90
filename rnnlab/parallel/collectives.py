"""The collectives of a compiled program: which devices exchange what, and how many bytes."""

import re
from typing import NamedTuple

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")

_OPERATION = re.compile(rf" = (.*?) ({'|'.join(KINDS)})(?:-start)?\(")
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")
_COMPUTATION = re.compile(r"^(ENTRY )?%?[\w.\-]+ .*\{$")


class Collective(NamedTuple):
    """An exchange between devices.

    Attributes:
      kind: one of `KINDS`.
      shapes: the shapes of the arrays that one device has after it.
      num_bytes: the bytes of these arrays.
      is_repeated: whether it is outside of the program's main computation, as in the body of a
        loop, which may execute it more than once.
    """

    kind: str
    shapes: tuple[tuple[int, ...], ...]
    num_bytes: int
    is_repeated: bool


def collectives(program: str) -> list[Collective]:
    """Returns the collectives of a program, in the order of its text.

    Args:
      program: the optimized HLO, `jitted.lower(...).compile().as_text()`.

    >>> collectives("ENTRY %main () -> f32[] {\\n %x = (f32[2,3]{1,0}, f32[]) all-reduce(%a)\\n}")
    [Collective(kind='all-reduce', shapes=((2, 3), ()), num_bytes=28, is_repeated=False)]
    """
    found, is_entry = [], False
    for line in program.splitlines():
        if heading := _COMPUTATION.match(line):
            is_entry = heading[1] is not None
        if operation := _OPERATION.search(line):
            arrays = _ARRAY.findall(operation[1])
            shapes = tuple(tuple(int(n) for n in sizes.split(",") if n) for *_, sizes in arrays)
            num_bytes = 0
            for (_, bits, _), shape in zip(arrays, shapes, strict=True):
                size = max(int(bits or 8) // 8, 1)
                for n in shape:
                    size *= n
                num_bytes += size
            found.append(Collective(operation[2], shapes, num_bytes, not is_entry))
    return found


def total_bytes(found: list[Collective]) -> dict[str, int]:
    """Returns the bytes of collectives by kind, without kinds that do not occur.

    >>> total_bytes([Collective("all-reduce", ((2,),), 8, False)])
    {'all-reduce': 8}
    """
    return {
        kind: sum(c.num_bytes for c in found if c.kind == kind)
        for kind in KINDS
        if any(c.kind == kind for c in found)
    }
