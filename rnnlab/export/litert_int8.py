"""LiteRT files with kernels of int8, for the table of formats; see `rnnlab.export.litert`."""

from functools import partial

from rnnlab.export.litert import read as read
from rnnlab.export.litert import write as write_float32

write = partial(write_float32, int8=True)
"""Returns the content of a file; see `rnnlab.export.litert.write`."""
