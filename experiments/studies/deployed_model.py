"""What does a trained model cost where it runs: bytes, loss, time of a step, tokens per second?

Command:  python experiments/studies/deployed_model.py --runtime node_modules/onnxruntime-web/dist
Needs:    the extras onnx, litert and peers, `npm install onnxruntime-web`, and Chromium.
Device:   2 cores of an x86 machine; a minute without the training, which takes 15 on busy cores.
Result:   experiments/results/deployment/rows.jsonl and the table in the README.

The model is the minGRU of `experiments/training/char_lm.py --preset cpu`, seed 0. Every runtime
reads the test part of the text, in windows of 128 characters from a new state, through its step;
the loss is that of its own logits. Then steps of 1 and of 64 streams are timed in interleaved
rounds of one process; those of the browser follow, in its own process.

PyTorch has no minGRU. Its model is a GRU of the same widths, with the same blocks around the cell,
and random weights: a step takes the same time whatever their values are.

Expected, written before the run, from a prototype: ONNX Runtime takes half of the time of the
jitted step and LiteRT less; int8 in ONNX Runtime saves bytes and no time, since the model is in
the cache; int8 in LiteRT is the fastest; the browser takes 2 to 4 times as long as ONNX Runtime.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from flax import nnx
from scipy.special import log_softmax

from rnnlab import provenance, records
from rnnlab.bench.export import TORCH
from rnnlab.bench.steps import StepProgram, jitted_step, litert_step, onnx_step
from rnnlab.bench.timing import TimedProgram, time_interleaved, time_keys
from rnnlab.bench.torch_steps import torch_step
from rnnlab.export import flatten_carry, litert, onnx_int8, onnx_int8_blocks
from rnnlab.export.browser import RUNTIME_FILES
from rnnlab.export.onnx import write
from rnnlab.load_module import load
from rnnlab.models import SequenceModel
from rnnlab.models.config import ModelConfig, count_parameters
from rnnlab.records import Record
from rnnlab.runs.api import load_trained_model, run
from rnnlab.tables import Table, print_table
from rnnlab.tasks.batch import IGNORE_INDEX
from rnnlab.tasks.data import TaskData

HERE = Path(__file__).parent
OUT = HERE.parent / "results" / "deployment" / "rows.jsonl"
SEED, REPEATS = 0, 15
STEPS = {1: 500, 64: 100}
"""Time steps per measurement, by number of streams."""
REFERENCE, BROWSER = "JAX", "browser"
IMPLEMENTATIONS = {
    REFERENCE: "JAX, jitted step",
    "ONNX": "ONNX Runtime",
    "ONNX int8": "ONNX Runtime, int8",
    "ONNX int8 blocks": "ONNX Runtime, int8 in blocks",
    "LiteRT": "LiteRT",
    "LiteRT int8": "LiteRT, int8",
    BROWSER: "ONNX Runtime Web in Chromium",
    TORCH: "PyTorch, blocks of `nn.GRU`",
}
"""Label of a table row, by the key `implementation` of a record."""


def trained(folder: Path) -> tuple[SequenceModel, TaskData]:
    """Returns the model of the run in a folder, which is trained first if it is not there."""
    char_lm = load(HERE.parent / "training" / "char_lm.py", "an experiment")
    experiment = char_lm.PRESETS["cpu"].override({"model.cell": "mingru", "train.seed": SEED})
    run(folder, experiment, name="char_lm", preset="cpu")
    return load_trained_model(folder)


def peer(model: SequenceModel) -> SequenceModel:
    """Returns a GRU of the widths of the model, with random weights."""
    config = ModelConfig("gru", width=128, depth=2, expansion=2)
    return config.build(model.out_features, vocab_size=model.vocab_size, rngs=nnx.Rngs(SEED))


def programs(
    model: SequenceModel, streams: int, device: jax.Device
) -> tuple[dict[tuple[str, int | None], StepProgram], dict[str, int]]:
    """Returns the steps by implementation and threads, and the bytes of each implementation."""
    counts = range(1, os.cpu_count() + 1)
    bytes_of = {REFERENCE: 4 * count_parameters(model)}
    found = {(REFERENCE, None): jitted_step(model, streams, device)}
    files = {
        "ONNX": (onnx_step, write(model, "step")),
        "ONNX int8": (onnx_step, onnx_int8.write(model, "step")),
        "ONNX int8 blocks": (onnx_step, onnx_int8_blocks.write(model, "step")),
        "LiteRT": (litert_step, litert.write(model, "step", batch_size=streams)),
        "LiteRT int8": (litert_step, litert.write(model, "step", batch_size=streams, int8=True)),
    }
    for name, (make, content) in files.items():
        bytes_of[name] = len(content)
        found |= {(name, count): make(content, model, streams, count) for count in counts}
    gru = peer(model)
    bytes_of[TORCH] = 4 * count_parameters(gru)
    found |= {(TORCH, count): torch_step(gru, streams, count) for count in counts}
    return found, bytes_of


def text(data: TaskData, streams: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns inputs and targets (time, streams) of the test part; targets of padding are < 0."""
    batches = list(data.eval_sets["test"]())
    inputs, targets = (
        np.concatenate([getattr(batch, key) for batch in batches]) for key in ("inputs", "targets")
    )
    missing = -len(inputs) % streams
    inputs = np.pad(inputs, ((0, missing), (0, 0)))
    targets = np.pad(targets, ((0, missing), (0, 0)), constant_values=IGNORE_INDEX)
    return [
        tuple(np.ascontiguousarray(x[k : k + streams].T) for x in (inputs, targets))
        for k in range(0, len(inputs), streams)
    ]


def loss(program: StepProgram, windows: Sequence[tuple[np.ndarray, np.ndarray]]) -> float:
    """Returns the nats per character of a step, each window from a new state."""
    total, count = 0.0, 0
    for inputs, targets in windows:
        keep = targets >= 0
        logits = program.all_logits(inputs)[keep].astype(np.float64)
        total -= log_softmax(logits, -1)[np.arange(len(logits)), targets[keep]].sum()
        count += len(logits)
    return float(total / count)


def measure(model: SequenceModel, data: TaskData, runtime: Path) -> Iterator[Record]:
    """Yields the records, without the keys that all records share."""
    device, windows = jax.devices("cpu")[0], text(data, max(STEPS))
    reference, losses = {}, {}
    for streams in sorted(STEPS, reverse=True):
        steps, bytes_of = programs(model, streams, device)
        if not losses:
            read = {name: step for (name, _), step in steps.items() if name != TORCH}
            losses = {name: loss(step, windows) for name, step in read.items()}
        tokens = np.random.default_rng(SEED).integers(
            0, model.vocab_size, (STEPS[streams], streams), np.int32
        )
        timed = [
            TimedProgram(partial(step.stream, tokens), wait=lambda logits: None)
            for step in steps.values()
        ]
        seconds = time_interleaved(timed, REPEATS) / STEPS[streams]
        reference[streams] = seconds[0]
        for (name, threads), times in zip(steps, seconds, strict=True):
            yield {
                **_keys(name, threads, streams, bytes_of[name], losses.get(name)),
                **time_keys(times),
                **time_keys(times / seconds[0], "ratio"),
            }
    yield from in_browser(model, windows, runtime, reference)


def in_browser(
    model: SequenceModel,
    windows: Sequence[tuple[np.ndarray, np.ndarray]],
    runtime: Path,
    reference: Mapping[int, np.ndarray],
) -> Iterator[Record]:
    """Yields the records of the browser, relative to the median of the reference."""
    from deployment_parts.browser import run_in_browser  # next to this file

    content = write(model, "step")
    carry = flatten_carry(model.initial_carry((1,)))
    plan = {
        "text": [
            {"inputs": inputs.tolist(), "targets": targets.tolist()} for inputs, targets in windows
        ],
        "carry": [{"name": name, "shape": x.shape[1:]} for name, x in carry.items()],
        "vocabulary": model.vocab_size,
        "steps": STEPS,
        "repeats": REPEATS,
    }
    results = run_in_browser(content, runtime, plan)
    size = len(content) + sum((runtime / name).stat().st_size for name in RUNTIME_FILES.values())
    for streams, found in sorted(results["times"].items(), key=lambda pair: -int(pair[0])):
        times = np.array(found)
        yield {
            **_keys(BROWSER, 1, int(streams), size, results["nll"]),
            "model_bytes": len(content),
            "browser": results["browser"].rpartition("Chrome/")[2].split(".")[0],
            **time_keys(times),
            **time_keys(times / np.median(reference[int(streams)]), "ratio"),
        }


def _keys(
    name: str, threads: int | None, streams: int, size: int, nll: float | None
) -> dict[str, Any]:
    return {
        "implementation": name,
        "threads": threads,
        "batch_size": streams,
        "length": STEPS[streams],
        "bytes": size,
        "nll": nll,
        "dtype": "float32",
        "repeats": REPEATS,
    }


def table(measured: Sequence[Record]) -> Table:
    """Returns the table, one row per implementation, each at its faster number of threads."""
    lines = []
    for name, label in IMPLEMENTATIONS.items():
        found = [r for r in measured if r["implementation"] == name]
        if not found:
            continue
        one, many = (
            min((r for r in found if r["batch_size"] == streams), key=lambda r: r["seconds"])
            for streams in STEPS
        )
        lines.append(
            (
                label,
                _megabytes(one),
                "untrained" if one["nll"] is None else f"{one['nll']:.4f}",
                f"{1e6 * one['seconds']:,.0f}",
                f"{1e6 * one['seconds_q1']:,.0f} to {1e6 * one['seconds_q3']:,.0f}",
                f"{one['ratio']:.2f}",
                f"{many['batch_size'] / many['seconds']:,.0f}",
            )
        )
    headings = (
        *("step of the model in", "MB", "nll", "µs per step, 1 stream", "quartiles, µs"),
        *("relative to JAX", "tokens/s, 64 streams"),
    )
    return Table(description(measured), headings, lines, optional=("quartiles, µs",))


def description(measured: Sequence[Record]) -> str:
    """Returns what was measured, and where."""
    first = measured[0]
    return (
        f"{first['parameters']:,} parameters; {first['processor']}, {first['cores']} cores; jax "
        f"{first['versions']['jax']}, ONNX Runtime {first['onnxruntime']}, LiteRT "
        f"{first['litert']}, torch {first['versions']['torch'].partition('+')[0]}"
    )


def _megabytes(record: Record) -> str:
    model, whole = record.get("model_bytes", record["bytes"]), record["bytes"]
    rest = "" if whole == model else f" + {(whole - model) / 1e6:.1f} of the runtime"
    return f"{model / 1e6:.2f}{rest}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--run", type=Path, default=Path("runs/compression"))
    parser.add_argument("--runtime", type=Path, default=Path("node_modules/onnxruntime-web/dist"))
    parsed = parser.parse_args()
    model, data = trained(parsed.run)
    model.eval()
    common = {
        "benchmark": "deployment",
        **provenance.environment(jax.devices()[0]),
        "command": "python experiments/studies/deployed_model.py",
        "seed": SEED,
        "parameters": count_parameters(model),
        "onnxruntime": version("onnxruntime"),
        "litert": version("ai-edge-litert"),
    }
    measured = []
    for record in measure(model, data, parsed.runtime):
        measured.append({**common, **record})
        records.append(OUT, measured[-1])
    print_table(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
