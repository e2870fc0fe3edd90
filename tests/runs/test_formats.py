"""Every later rnnlab reads a run in the first format of checkpoints.

`tests/data/checkpoint_v1` is a run of 4 steps without its step 2 and its result, with the names of
that time. It was made by:

    task = Adding(length=8, batch_size=4, evaluation_size=8)
    small = {"width": 4, "depth": 1, "expansion": 1, "conv_size": 2, "mlp_expansion": None}
    training = TrainConfig(steps=4, eval_every=2, log_every=1, schedule="plateau")
    experiment = Experiment(task, ModelConfig(**small, dropout=0.1), training)
    run(folder, "golden", "cpu", experiment, {}, Reporter())
"""

import hashlib
import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from rnnlab.cli import main
from rnnlab.runs.api import load_trained_model, resume
from rnnlab.runs.checkpoints import manifest
from rnnlab.runs.resume_policy import ResumePolicy
from rnnlab.train.callbacks import Reporter

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")

GOLDEN = Path(__file__).parent.parent / "data" / "checkpoint_v1"
PARAMETERS = "3b324931396d5f96c3f2f0b54d4f02e31a75f42bfdb829dbccf8d005f3bff8e7"


def test_load_trained_model_reads_the_first_format():
    model, _ = load_trained_model(GOLDEN)
    leaves = b"".join(np.asarray(x).tobytes() for x in jax.tree.leaves(model))
    assert hashlib.sha256(leaves).hexdigest() == PARAMETERS


def test_golden_run_has_the_first_format():
    assert manifest.read_verified_manifest(GOLDEN / "checkpoints" / "4").format == 1
    assert sum(p.stat().st_size for p in GOLDEN.rglob("*") if p.is_file()) < 50_000


def test_resume_continues_a_run_of_the_first_format(tmp_path):
    shutil.copytree(GOLDEN, tmp_path / "run")
    policy = ResumePolicy(
        allow_device_change=True, allow_cores_change=True, allow_versions_change=True
    )
    result = resume(tmp_path / "run", Reporter(), policy)
    assert result["best_step"] == 4
    assert result["metrics"]["valid"]["mse"] == pytest.approx(0.9500197, rel=1e-4)
    assert [point[0] for point in result["curve"]] == [0, 2, 4]


def test_verify_accepts_the_first_format(capsys):
    assert main.main(["verify", str(GOLDEN)]) == 0
    printed = capsys.readouterr().out
    for part in ("config.json", "checkpoints/4", "latest, best", "metrics.jsonl"):
        assert part in printed
