"""Configure the C library's malloc to keep freed memory.

XLA allocates the buffers of every call. glibc maps large buffers from the system and unmaps them
when they are freed, so that each training step touches all pages of its buffers for the first time:
the system clears every page (4 kB) and enters it in a page table. On a CPU that is a large part of
a step that is bound by memory bandwidth.
"""

import ctypes

# Constants of glibc's malloc.h.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX, M_ARENA_MAX = -1, -2, -4, -8
INT32_MAX = 2**31 - 1

_keeps_memory = False


def keep_memory() -> bool:
    """Makes malloc keep freed memory for later allocations until the process ends.

    The process then holds as much memory as it ever needed. Call this before the first array is
    made; it cannot be undone. Returns False, and changes nothing, if the C library is not glibc.
    """
    global _keeps_memory
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {
        M_MMAP_MAX: 0,  # allocate large buffers on the heap instead of mapping each one
        M_TRIM_THRESHOLD: INT32_MAX,  # never shrink the heap
        M_TOP_PAD: 64 * 2**20,  # grow it in steps of 64 MB
        M_ARENA_MAX: 1,  # one heap for all threads: those of other threads are limited in size
    }
    _keeps_memory = all(mallopt(option, value) == 1 for option, value in settings.items())
    return _keeps_memory


def keeps_memory() -> bool:
    """Whether `keep_memory` has configured this process."""
    return _keeps_memory
