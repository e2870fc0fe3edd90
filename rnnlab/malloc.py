"""What the C library does with memory that a program gives back.

XLA asks for the buffers of each call anew. On Linux the C library maps large ones from the system
and unmaps them afterwards, so that a training step touches every page of its buffers for the first
time, again and again: the system clears each page (4 kB) and enters it in a table. On a CPU that is
a large share of a step that is bound by memory.
"""

import ctypes

# Of glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
LARGEST = 2**31 - 1


def keep_memory() -> bool:
    """Has the C library keep freed memory for the next call, in this process, from now on.

    The process then holds as much memory as it ever needed at once. Call it before the first array
    is made. Does nothing and returns False where the C library is not glibc.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {
        M_MMAP_MAX: 0,  # large buffers from the heap too, not each mapped on its own
        M_TRIM_THRESHOLD: LARGEST,  # the heap never shrinks
        M_TOP_PAD: 64 * 2**20,  # and grows by as much at once
        M_ARENA_MAX: 1,  # one heap for all threads: the others' are of limited size
    }
    return all(mallopt(option, value) == 1 for option, value in settings.items())
