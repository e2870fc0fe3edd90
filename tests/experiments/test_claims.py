"""The expected results of two experiments, of depth and of the decay range, trained again."""

from pathlib import Path
from statistics import mean

import pytest

from rnnlab.runs.api import run
from rnnlab.runs.grid import grid, load_presets
from rnnlab.train.callbacks import Reporter

EXPERIMENTS = Path(__file__).parents[2] / "experiments" / "training"

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("implicit_promotion")]


def accuracies(name, folder):
    """Returns test accuracies of the preset `cpu`, by its grid settings except cell and seed."""
    preset = load_presets(EXPERIMENTS / f"{name}.py")["cpu"]
    found = {}
    for number, settings in enumerate(grid(preset.grid)):
        experiment = preset.override(settings)
        result = run(
            folder / str(number), experiment, Reporter(), name=name, preset="cpu", grid=settings
        )
        others = [v for k, v in settings.items() if k not in ("model.cell", "train.seed")]
        found.setdefault(tuple(others), []).append(result["metrics"]["test"]["accuracy"])
    return found


def test_selective_copying_improves_with_depth(tmp_path):
    by_depth = accuracies("selective_copying", tmp_path)
    one, two, three = (mean(by_depth[(depth,)]) for depth in (1, 2, 3))
    assert one > 1 / 14 + 0.2
    assert min(two, three) >= one + 0.25


def test_parity_is_solved_only_with_negative_decays(tmp_path):
    by_range = accuracies("parity", tmp_path)
    assert all(a < 0.65 for a in by_range[((0, 1),)])
    assert all(a >= 0.95 for a in by_range[((-1, 1),)])
