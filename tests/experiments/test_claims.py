"""What the experiments' docstrings expect of depth and of the decay's range, trained anew."""

import importlib.util
from pathlib import Path
from statistics import mean

import pytest

from rnnlab.runs.api import run
from rnnlab.runs.grid import grid
from rnnlab.train.callbacks import Reporter

EXPERIMENTS = Path(__file__).parents[2] / "experiments" / "training"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("implicit_promotion")]


def accuracies(name, folder):
    """Test accuracies of an experiment's preset `cpu`, by what the runs differ in beside seeds."""
    spec = importlib.util.spec_from_file_location(name, EXPERIMENTS / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    preset = module.PRESETS["cpu"]
    found = {}
    for number, settings in enumerate(grid(preset.grid)):
        experiment = preset.override(settings)
        result = run(folder / str(number), name, "cpu", experiment, settings, Reporter())
        others = [v for k, v in settings.items() if k not in ("model.cell", "train.seed")]
        found.setdefault(tuple(others), []).append(result["metrics"]["test"]["accuracy"])
    return found


def test_depth_gives_selection(tmp_path):
    by_depth = accuracies("selective_copying", tmp_path)
    one, two, three = (mean(by_depth[(depth,)]) for depth in (1, 2, 3))
    assert one > 1 / 14 + 0.2
    assert min(two, three) >= one + 0.25


def test_parity_needs_decays_that_change_sign(tmp_path):
    by_range = accuracies("parity", tmp_path)
    assert all(a < 0.65 for a in by_range[((0, 1),)])
    assert all(a >= 0.95 for a in by_range[((-1, 1),)])
