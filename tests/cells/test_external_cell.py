"""A cell outside the package, as one file: contract, training, resuming, inspecting, timing."""

from pathlib import Path

import jax
import pytest
from flax import nnx

from rnnlab import records
from rnnlab.bench import speedup_table
from rnnlab.cli import main
from rnnlab.registry import find_cell
from rnnlab.testing import CELL_CHECKS, SEQUENCE_CHECKS
from rnnlab.train.optimizer import weight_decay_mask

FILE = Path(__file__).parent.parent / "external" / "qrnn_cell.py"
CELL = f"{FILE}:QRNN"
EXPERIMENT = '''
"""Does the external cell fit a text?"""

from pathlib import Path

from rnnlab import Experiment, ModelConfig, Preset, TrainConfig
from rnnlab.tasks import Text

MODEL = ModelConfig(width=4, depth=1, expansion=1, conv_kernel_size=None, mlp_expansion=None)
TRAIN = TrainConfig(steps=4, eval_every=2, log_every=1)
PRESETS = {{"cpu": Preset(Experiment(Text(Path("{text}"), length=8, batch_size=4), MODEL, TRAIN))}}
'''
CHECKS = {**SEQUENCE_CHECKS, **CELL_CHECKS}

pytestmark = pytest.mark.usefixtures("implicit_promotion", "quick_compile")


@pytest.mark.parametrize("check", CHECKS)
def test_external_cell_keeps_the_contract(check):
    CHECKS[check](find_cell(CELL).load()(3, 4, rngs=nnx.Rngs(0)), jax.random.key(0))


def test_external_cell_trains_resumes_and_is_inspected(tmp_path):
    text, experiment = tmp_path / "text.txt", tmp_path / "small.py"
    text.write_text("abcabcabc " * 60, encoding="utf-8")
    experiment.write_text(EXPERIMENT.format(text=text), encoding="utf-8")
    flags = ["--model.cell", CELL, "--model.taps", "2", "--out", str(tmp_path / "runs")]
    assert main.main(["run", str(experiment), *flags]) == 0
    (result,) = (tmp_path / "runs").rglob("result.json")
    run = str(result.parent)
    result.unlink()
    assert main.main(["resume", run, "--from-step", "2"]) == 0
    assert result.exists()
    assert main.main(["verify", run]) == 0
    assert main.main(["inspect", run, "--out", str(tmp_path / "figures")]) == 0
    assert list((tmp_path / "figures").rglob("*.png"))


def test_external_cell_is_timed_with_the_others(tmp_path, capsys):
    small = ["--lengths", "4", "--batch-size", "2", "--width", "4", "--repeats", "1"]
    flags = [*small, "--passes", "train", "--out", str(tmp_path)]
    assert main.main(["speedup", "--cells", CELL, "mingru", *flags]) == 0
    measured = list(records.read(tmp_path / "rows.jsonl"))
    (own,) = (r for r in measured if r["implementation"] == speedup_table.USER)
    assert own["cell"] == "QRNN"
    assert "QRNN" in capsys.readouterr().out


def test_external_cell_marks_its_own_weight_decay():
    params = nnx.state(find_cell(CELL).load()(3, 4, rngs=nnx.Rngs(0)), nnx.Param)
    mask = nnx.to_pure_dict(weight_decay_mask(params, gates=True))
    assert not mask["forget_bias"]
    assert mask["gates"]["kernel"]
