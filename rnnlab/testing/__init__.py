"""The contracts as tests, for rnnlab's cells and backends and for your own.

>>> from flax import nnx
>>> import rnnlab
>>> from rnnlab.testing import check_cell
>>> check_cell(rnnlab.MinGRU(3, 4, rngs=nnx.Rngs(0)))

`CELL_CHECKS` and `SEQUENCE_CHECKS` map names to single checks, to be parametrized over; every check
raises AssertionError. A Bidirectional cell keeps only the second set: it has no step and no cut.
"""

from rnnlab.testing.cells import CELL_CHECKS as CELL_CHECKS
from rnnlab.testing.cells import SEQUENCE_CHECKS as SEQUENCE_CHECKS
from rnnlab.testing.cells import check_cell as check_cell
from rnnlab.testing.scans import check_scan as check_scan
from rnnlab.testing.tolerances import TOLERANCE as TOLERANCE
from rnnlab.testing.tolerances import assert_close as assert_close
