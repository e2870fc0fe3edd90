"""The allocator keeps its pages when it is asked to."""

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import numpy as np
from rnnlab.malloc import keep_pages

if sys.argv[1] == "keep":
    assert keep_memory()

def once():
    return float(np.full(5_000_000, 1.0).sum())

for _ in range(3):
    once()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    once()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's allocator")
def test_kept_pages_are_not_handed_out_again():
    def faults(how):
        command = [sys.executable, "-c", SCRIPT, how]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert faults("keep") < 10 < faults("as it is")
