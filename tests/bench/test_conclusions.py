"""Every benchmark ends in sentences, whose numbers are those of the records."""

from pathlib import Path

import pytest

from rnnlab.bench.speedup import SpeedupBenchmark
from rnnlab.bench.speedup_table import conclusion
from rnnlab.cli.benchmarks import BENCHMARKS
from rnnlab.cli.commands import load
from rnnlab.records import read

RESULTS = Path(__file__).parent.parent.parent / "experiments" / "results"


def committed(name):
    return list(read(RESULTS / name / "rows.jsonl"))


def test_speedup_compares_the_fastest_classic_cell_and_a_python_loop():
    found = conclusion(committed("gpu_speedup"))
    said = (
        "fastest GRU (torch) takes 13 to 18 times as long as one of rnnlab's minGRU",
        "a Python loop 579 to 1669 times (the paper, on a T4 GPU: 175 to 1324)",
        "fastest LSTM (torch) takes 6.78 to 16 times",
    )
    for part in said:
        assert part in found


def record(cell, implementation, seconds, length=512, pass_="train"):
    return {
        "cell": cell,
        "implementation": implementation,
        "step_seconds": seconds,
        "length": length,
        "pass": pass_,
        "started": "now",
    }


def test_speedup_names_the_fastest_at_each_length_and_ignores_the_forward_pass():
    measured = [
        *(record("mingru", "rnnlab", 1.0, n) for n in (512, 4096)),
        *(record("gru", "rnnlab", s, n) for s, n in ((2.0, 512), (6.0, 4096))),
        *(record("gru", "torch", s, n) for s, n in ((3.0, 512), (4.0, 4096))),
        record("mingru", "rnnlab", 1.0, pass_="forward"),
        record("gru", "rnnlab", 99.0, pass_="forward"),
    ]
    assert conclusion(measured) == (
        "A training step of the fastest GRU (rnnlab or torch) takes 2.00 to 4.00 times as long as "
        "one of rnnlab's minGRU."
    )
    assert "No classic cell" in conclusion(measured[:2])
    assert "forward pass" in conclusion(measured[-2:])


SAID = {
    "scan": ("scan_bandwidth", "Forward, relative to the bandwidth bound: sequential 0.74 to 3.07"),
    "layer": ("layer_overhead", "A training step of minGRU takes 1.10 to 1.30 times as long"),
    "libraries": ("libraries", "The fastest LSTM (torch) takes 1.54 to 2.01 times as long"),
    "scaling": ("scaling", "The time of a step grows as length to the power: rnn 0.96"),
    "streaming": ("streaming", "The size of the state does not depend on the number of tokens."),
    "export": ("export", "A step in ONNX Runtime takes 0.53 to 1.02 times as long"),
    "serving": ("serving", "0 requests failed."),
    "serving-churn": ("serving_churn", "0 otherwise, 0 failed."),
    "newton": ("newton", "Newton's iteration converged in 14 of 15 cases."),
    "malloc": ("malloc", "With memory kept, a training step takes 0.71 to 0.88 of the time."),
    "accuracy": ("scan_accuracy", "published log form 5e-03"),
    "language-model": (
        "language_model",
        "The model in torch, log space, takes 2.93 times",
    ),
}


@pytest.mark.parametrize("name", BENCHMARKS)
def test_conclusion_of_every_benchmark_states_numbers_of_its_records(name):
    benchmark = load(BENCHMARKS[name][0])
    results, said = SAID[name]
    measured = committed(results)
    assert said in benchmark.conclusion(measured)
    # After an interrupt there may be a single record.
    assert benchmark.conclusion(measured[:1])


def test_speedup_times_the_training_step_first():
    assert SpeedupBenchmark().resolved().passes == ("train", "forward")
