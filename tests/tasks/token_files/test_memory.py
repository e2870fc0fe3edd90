"""The memory of a process that trains on a token file: pages of the file do not stay in it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rnnlab import records
from rnnlab.tasks.token_files.encoders import ByteEncoder
from rnnlab.tasks.token_files.writing import write_token_file
from rnnlab.tasks.tokens import Tokens

SCRIPT = Path(__file__).parents[3] / "experiments" / "studies" / "token_files.py"
pytestmark = pytest.mark.skipif(
    not Path("/proc/self/clear_refs").exists(), reason="Linux reports the memory by kind"
)


def pages_of_files():
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(x for x in lines if x.startswith("RssFile")).split()[1])


@pytest.mark.parametrize("order", ["random", "epoch", "stateful"])
def test_pages_that_were_read_do_not_stay_in_the_process(tmp_path, order):
    pieces = ((np.zeros(1 << 22, np.uint8), k == 0, 0) for k in range(16))
    file = write_token_file(tmp_path / "a.tokens", ByteEncoder(), pieces)
    data = Tokens(file.path, length=4096, batch_size=64, order=order).load(seed=0)
    data.train_batch(0)
    before = pages_of_files()
    for n in range(100):  # reads most of 64 MB
        data.train_batch(n)
    assert pages_of_files() - before < 8e6


@pytest.mark.slow
def test_training_on_2_gb_stays_less_than_400_mb_above_its_start(tmp_path):
    results = tmp_path / "rows.jsonl"
    words = ["--updates", "200", "--folder", str(tmp_path), "--results", str(results)]
    subprocess.run([sys.executable, str(SCRIPT), *words], check=True, capture_output=True)
    (row,) = [x for x in records.read(results) if x["source"] == "training"]
    assert row["file_bytes"] == 2_000_000_000
    assert row["peak_above_start_bytes"] < 400e6
    assert row["growth_over_updates_bytes"] < 100e6
    assert row["pages_of_file_bytes"] < 100e6
