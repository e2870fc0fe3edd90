"""Runs of an encoder-decoder: on one device and on a mesh, and resumed."""

import jax
import pytest
from reversal import Reversal, exact

from rnnlab import Experiment, MeshConfig, ModelConfig, TrainConfig, resume, run
from rnnlab.records import read
from rnnlab.runs.resume_policy import ResumePolicy
from rnnlab.train.callbacks import Reporter
from rnnlab.train.metrics import METRICS, DecodedMetric

pytestmark = pytest.mark.devices(8)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr("rnnlab.parallel.rules.FSDP_MIN_SIZE", 64)
    monkeypatch.setitem(METRICS, "exact", DecodedMetric(exact, True))
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def experiment(beam=1, **settings):
    return Experiment(
        Reversal(beam=beam),
        ModelConfig("gru", width=8, depth=1, conv_kernel_size=None, **settings),
        TrainConfig(steps=4, eval_every=2, log_every=1, learning_rate=1e-2),
    )


def metrics_of(path):
    return [
        {k: v for k, v in record.items() if k not in ("seconds", "tokens_per_second")}
        for record in read(path / "metrics.jsonl")
        if "resumed_from" not in record
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "mesh"),
    [
        ({"beam": 2}, MeshConfig(data=4, fsdp=True)),
        ({"input_feeding": True}, MeshConfig(data=4)),
        ({}, MeshConfig(data=2, model=2)),
    ],
)
def test_encoder_decoder_on_a_mesh_equals_one_device_and_resumes(settings, mesh, tmp_path):
    one = run(tmp_path / "one", experiment(**settings), Reporter())
    found = run(tmp_path / "mesh", experiment(**settings), Reporter(), mesh=mesh)
    for a, b in zip(metrics_of(tmp_path / "one"), metrics_of(tmp_path / "mesh"), strict=True):
        assert a.pop("set", None) == b.pop("set", None)
        assert b == pytest.approx(a, rel=1e-3, abs=1e-5)
    assert "gradient_norm/decoder attention 0" in metrics_of(tmp_path / "one")[1]
    assert found["metrics"]["test"] == pytest.approx(one["metrics"]["test"], rel=1e-3)
    before = metrics_of(tmp_path / "mesh")
    resume(tmp_path / "mesh", Reporter(), ResumePolicy(from_step=2))
    again = metrics_of(tmp_path / "mesh")[len(before) :]
    assert again == [record for record in before if record["step"] > 2]


def test_source_on_a_mesh_that_divides_time_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"mesh\.time must be 1 for data with .* second sequences"):
        run(tmp_path / "run", experiment(), Reporter(), mesh=MeshConfig(time=2))
