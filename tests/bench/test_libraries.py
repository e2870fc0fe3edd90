"""Libraries and scaling: equal outputs before timing, and limits on what is run."""

import jax.numpy as jnp
import pytest

from rnnlab.bench import libraries
from rnnlab.bench.libraries import LibrariesBenchmark, library_cases
from rnnlab.bench.scaling import ScalingBenchmark
from rnnlab.bench.variants import LayerVariant, naive_variant

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")

SMALL = {"shapes": ("2x8x4",), "cells": ("mingru",), "repeats": 1}


def test_libraries_variant_with_other_outputs_is_listed_and_not_timed(tmp_path, monkeypatch):
    def wrong(name, workload):
        variant = naive_variant(name, workload)
        return LayerVariant(lambda params, xs: 1.01 * variant.outputs(params, xs), variant.params)

    monkeypatch.setattr(libraries, "naive_variant", wrong)
    measured = list(LibrariesBenchmark(**SMALL, out=tmp_path).run())
    by_name = {r["implementation"]: r for r in measured}
    assert by_name["naive JAX"]["seconds"] is None
    assert by_name["naive JAX"]["difference"] == pytest.approx(0.01, rel=1e-2)
    assert by_name["rnnlab"]["seconds"] > 0
    assert by_name["rnnlab"]["over_mingru"] == 1
    assert "not timed" in [line[5] for line in LibrariesBenchmark.table(measured).lines]


def test_library_cases_on_a_gpu_include_cudnn_and_pallas(monkeypatch):
    monkeypatch.setattr(libraries, "available", lambda cell, platform: False)
    assert [c.backend for c in library_cases("lstm", "gpu", 128)] == ["scan", "scan", "cudnn"]
    assert "pallas" in [c.backend for c in library_cases("mingru", "gpu", 128)]


def test_scaling_program_beyond_the_memory_cap_is_not_run(tmp_path):
    benchmark = ScalingBenchmark(
        start="2x8x4",
        layers=("mingru", "transformer"),
        axes=("length",),
        lengths=(4, 64),
        repeats=1,
        memory_cap=2e-5,  # 20 kB
        out=tmp_path,
    )
    measured = {(r["layer"], r["length"]): r for r in benchmark.run()}
    assert measured["transformer", 4]["step_seconds"] > 0
    large = measured["transformer", 64]
    assert large["temp_bytes"] > 20_000
    assert large["step_seconds"] is None
    # Attention's window grows with the length, a cell's state does not.
    assert large["state_bytes"] > measured["transformer", 4]["state_bytes"]
    assert measured["mingru", 64]["state_bytes"] == 4 * jnp.float32(0).nbytes
    assert len(benchmark.table([*measured.values()]).lines) == 2
