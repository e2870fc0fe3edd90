"""Draws the figures of the experiments from their records.

Command:  python tools/update_figures.py    (writes experiments/results/*/figure.png and
docs/training_step.png)
"""

from collections.abc import Callable, Sequence

from committed_records import RESULTS, committed_records  # next to this file
from front_figure import front_figure
from matplotlib.figure import Figure
from rare_classes_figure import scores_figure

from rnnlab import load_module
from rnnlab.bench.base import FIGURE_FILE
from rnnlab.bench.scaling import ScalingBenchmark
from rnnlab.bench.scan import ScanBenchmark
from rnnlab.bench.speedup import SpeedupBenchmark
from rnnlab.cli.plot_runs import curves_figure
from rnnlab.plotting import save_figure
from rnnlab.records import Record

STUDIES = RESULTS.parent / "studies"
DOCS = RESULTS.parent.parent / "docs"
FIGURES: dict[str, Callable[[Sequence[Record]], Figure]] = {
    "beat_scores": load_module.load(STUDIES / "beat_scores.py", "a study").figure,
    "char_lm": curves_figure,
    "gpu_scan": ScanBenchmark.figure,
    "gpu_speedup": SpeedupBenchmark.figure,
    "icu_reliability": load_module.load(STUDIES / "icu_reliability.py", "a study").figure,
    "load_forecast": curves_figure,
    "load_pit": load_module.load(STUDIES / "load_pit.py", "a study").figure,
    "nab": load_module.load(STUDIES / "nab.py", "a study").figure,
    "rare_beats": scores_figure,
    "scaling": ScalingBenchmark.figure,
    "scan_bandwidth": ScanBenchmark.figure,
    "scan_bandwidth_malloc_kept": ScanBenchmark.figure,
    "speedup": SpeedupBenchmark.figure,
    "speedup_paper_size": SpeedupBenchmark.figure,
}
"""What draws the figure of each experiment that has one."""


if __name__ == "__main__":
    for name, draw in FIGURES.items():
        save_figure(draw(committed_records(name)), RESULTS / name / FIGURE_FILE)
    save_figure(front_figure(), DOCS / "training_step.png")
