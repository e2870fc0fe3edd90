"""Runs on a mesh: the same result as on one device, resumed with the same bits, in parts only."""

import jax
import numpy as np
import pytest
from flax import nnx

from rnnlab import Adding, Experiment, MeshConfig, ModelConfig, TrainConfig, resume, run
from rnnlab.atomic_io import read_json
from rnnlab.errors import CheckpointError
from rnnlab.records import read
from rnnlab.runs.api import build_model
from rnnlab.runs.resume_policy import ResumePolicy
from rnnlab.runs.trained_model import load
from rnnlab.train.callbacks import Reporter

pytestmark = pytest.mark.devices(8)

MESH = MeshConfig(data=4, fsdp=True)
EXPERIMENT = Experiment(
    # 10 evaluation examples: 4 devices do not divide them.
    Adding(length=7, batch_size=8, evaluation_size=10),
    ModelConfig(width=16, depth=1),
    TrainConfig(steps=4, eval_every=2, log_every=1),
)


@pytest.fixture(autouse=True)
def small_arrays_are_divided(monkeypatch):
    monkeypatch.setattr("rnnlab.parallel.rules.FSDP_MIN_SIZE", 64)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        yield


def metrics_of(path):
    return [
        {k: v for k, v in record.items() if k not in ("seconds", "tokens_per_second")}
        for record in read(path / "metrics.jsonl")
        if "resumed_from" not in record
    ]


def test_run_on_a_mesh_equals_one_device_and_resumes_with_the_same_bits(tmp_path):
    quiet = Reporter()
    one = run(tmp_path / "one", EXPERIMENT, quiet)
    mesh = run(tmp_path / "mesh", EXPERIMENT, quiet, mesh=MESH)
    assert read_json(tmp_path / "mesh" / "config.json")["mesh"] == {
        "data": 4,
        "time": 1,
        "model": 1,
        "fsdp": True,
    }
    assert "mesh" not in read_json(tmp_path / "one" / "config.json")
    for a, b in zip(metrics_of(tmp_path / "one"), metrics_of(tmp_path / "mesh"), strict=True):
        assert a.keys() == b.keys()
        assert a.pop("set", None) == b.pop("set", None)
        for name in a:
            assert b[name] == pytest.approx(a[name], rel=1e-4, abs=1e-6), name
    assert mesh["metrics"]["test"]["mse"] == pytest.approx(one["metrics"]["test"]["mse"], rel=1e-4)
    before = metrics_of(tmp_path / "mesh")
    resume(tmp_path / "mesh", quiet, ResumePolicy(from_step=2))
    again = metrics_of(tmp_path / "mesh")[len(before) :]
    assert again == [record for record in before if record["step"] > 2]
    assert load(tmp_path / "mesh").model is not None  # on one device


def test_resume_on_another_mesh_without_permission_raises(tmp_path):
    run(tmp_path / "run", EXPERIMENT, Reporter(), mesh=MESH)
    policy = ResumePolicy(from_step=2)
    with pytest.raises(CheckpointError, match="--allow-other-mesh"):
        resume(tmp_path / "run", Reporter(), policy, mesh=MeshConfig(data=2))


def test_model_on_a_mesh_has_the_parameters_of_one_device_in_parts():
    data = EXPERIMENT.data.load(0)
    one = nnx.state(build_model(EXPERIMENT, data), nnx.Param)
    on_mesh = Experiment(EXPERIMENT.data, EXPERIMENT.model, EXPERIMENT.train, MESH)
    divided = nnx.state(build_model(on_mesh, data, on_mesh=True), nnx.Param)
    for x, y in zip(jax.tree.leaves(one), jax.tree.leaves(divided), strict=True):
        np.testing.assert_allclose(y, x, rtol=1e-6, atol=1e-7)
    large = [x for x in jax.tree.leaves(divided) if x.size > 64]
    assert large
    assert all(x.addressable_shards[0].data.size == x.size // 4 for x in large)


def test_batch_size_that_the_mesh_does_not_divide_raises(tmp_path):
    with pytest.raises(ValueError, match=r"the batch size must be a multiple of mesh\.data, 3"):
        run(tmp_path / "run", EXPERIMENT, Reporter(), mesh=MeshConfig(data=3))
