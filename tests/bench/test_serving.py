"""`rnnlab bench serving` and `serving-churn` on small servers."""

import pytest

from rnnlab.bench.serving import ServingBenchmark
from rnnlab.bench.serving_churn import ServingChurnBenchmark

SMALL = {"width": 8, "depth": 1}


@pytest.mark.slow
def test_serving_benchmark_measures_each_engine(tmp_path):
    pytest.importorskip("onnxruntime")
    options = {"streams": (1, 2), "per_event": (4,), "seconds": 1}
    measured = list(ServingBenchmark(**options, **SMALL, out=tmp_path).run())
    assert [(r["engine"], r["streams"]) for r in measured] == [
        *(("jax", 1), ("jax", 2), ("onnx", 1), ("onnx", 2)),
    ]
    for r in measured:
        assert r["failed"] == r["refused"] == 0
        assert r["gap_seconds"] <= r["gap_seconds_p99"]
        assert r["tokens_per_second"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["mingru", "lstm"])
def test_streams_under_churn_equal_the_streams_alone(tmp_path, cell):
    options = {"streams": 300, "concurrent": 12, "slots": 6, "seconds": 3}
    (found,) = ServingChurnBenchmark(cell=cell, **options, **SMALL, out=tmp_path).run()
    assert found["equal"] + found["near_ties"] == found["streams"] == 300
    assert found["near_ties"] <= 2
    assert found["left"] > 5
    assert found["different"] == found["failed"] == 0
