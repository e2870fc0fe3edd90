"""malloc keeps freed memory if it is configured to."""

import subprocess
import sys

import pytest

from rnnlab import errors
from rnnlab.cli import main

SCRIPT = """
import resource, sys
import numpy as np
from rnnlab.malloc import keep_memory, keeps_memory

if sys.argv[1] == "keep":
    assert keep_memory()
assert keeps_memory() == (sys.argv[1] == "keep")

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
def test_page_faults_with_kept_memory_stay_below_the_default():
    def faults(how):
        command = [sys.executable, "-c", SCRIPT, how]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert faults("keep") < 10 < faults("default")


ENTRY = """
import sys
from rnnlab.cli import main
from rnnlab.malloc import keeps_memory

sys.argv = ["rnnlab", *sys.argv[1:]]
try:
    main.entry()
except SystemExit:
    print(keeps_memory())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc's malloc")
@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["run", "--help"], True),
        (["resume", "--help"], True),
        (["resume", "--help", "--no-malloc-keep-memory"], False),
        (["verify", "--help"], False),
        (["verify", "--help", "--malloc-keep-memory"], True),
    ],
)
def test_malloc_is_configured_by_default_in_commands_that_train(words, expected):
    command = [sys.executable, "-c", ENTRY, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == str(expected)


def test_malloc_flag_without_glibc_is_an_error_only_if_given(capsys, monkeypatch):
    monkeypatch.setattr(main, "keep_memory", lambda: False)
    assert main.main(["verify", ".", main.KEEP], owns_process=True) == errors.USAGE_ERROR
    assert f"{main.KEEP} needs glibc" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main.main(["run", "--help"], owns_process=True)
    assert stopped.value.code == 0
