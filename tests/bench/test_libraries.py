"""Peers: what is compared is equal, and what is not equal is not timed."""

import jax.numpy as jnp
import pytest

from rnnlab.bench import libraries, scaling
from rnnlab.bench.variants import Form, plain_form

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")

SMALL = {"shapes": ("2x8x4",), "cells": ("mingru",), "repeats": 1}


def test_a_peer_with_other_outputs_is_listed_and_not_timed(tmp_path, monkeypatch):
    def wrong(name, problem):
        form = plain_form(name, problem)
        return Form(lambda params, xs: 1.01 * form.outputs(params, xs), form.params)

    monkeypatch.setattr(libraries, "plain_form", wrong)
    measured = list(libraries.run(libraries.Peers(**SMALL, out=tmp_path)))
    by_name = {r["implementation"]: r for r in measured}
    assert by_name["plain JAX"]["seconds"] is None
    assert by_name["plain JAX"]["difference"] == pytest.approx(0.01, rel=1e-2)
    assert by_name["rnnlab"]["seconds"] > 0
    assert by_name["rnnlab"]["over_mingru"] == 1
    assert "not timed" in [line[5] for line in libraries.table(measured).lines]


def test_a_gpu_has_more_peers(monkeypatch):
    monkeypatch.setattr(libraries, "available", lambda platform: False)
    assert [p.backend for p in libraries.peers("lstm", "gpu")] == ["scan", "scan", "cudnn"]
    assert "pallas" in [p.backend for p in libraries.peers("mingru", "gpu")]


def test_growth_runs_nothing_beyond_the_memory_cap(tmp_path):
    config = scaling.Growth(
        start="2x8x4",
        layers=("mingru", "transformer"),
        axes=("length",),
        lengths=(4, 64),
        repeats=1,
        memory_cap=2e-5,  # 20 kB
        out=tmp_path,
    )
    measured = {(r["layer"], r["length"]): r for r in scaling.run(config)}
    assert measured["transformer", 4]["step_seconds"] > 0
    large = measured["transformer", 64]
    assert large["temp_bytes"] > 20_000
    assert large["step_seconds"] is None
    # Attention's window grows with the length, a cell's state does not.
    assert large["state_bytes"] > measured["transformer", 4]["state_bytes"]
    assert measured["mingru", 64]["state_bytes"] == 4 * jnp.float32(0).nbytes
    assert len(scaling.table([*measured.values()]).lines) == 2
