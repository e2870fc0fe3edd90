"""How fast is an update of the minGRU language model, compared with the published log-space form?

Command:  rnnlab bench language-model --out experiments/results/language_model
Device:   2 cores of a shared x86 machine; 1 minute.
Result:   experiments/results/language_model/rows.jsonl, and a table in docs/results.md.

Both are the model of char_lm's preset cpu: rnnlab's own update, dropout and clipping included, and
the same sizes in PyTorch with the paper's cumulative sums of logarithms (arXiv 2410.01201, appendix
B), in interleaved rounds. Expected: at least 2 times the updates per second; the log-space form
computes exp, log and two cumulative sums over arrays that an in-place loop reads once.
"""

import sys
from pathlib import Path

from rnnlab.bench.language_model import LanguageModelBenchmark
from rnnlab.cli.bench import run

RESULTS = Path(__file__).parent.parent / "results"
EXPERIMENT = LanguageModelBenchmark(out=RESULTS / "language_model")

if __name__ == "__main__":
    sys.exit(run(EXPERIMENT))
