"""Why can a step of PyTorch with 2 threads take many times as long as with 1?

Command:  python experiments/studies/torch_threads.py
Needs:    the extra peers.
Device:   2 cores of an x86 machine, two minutes; the machine's other programs had a lower priority.
Result:   experiments/results/torch_threads/rows.jsonl and a table in docs/deploy.md.

PyTorch's threads are those of OpenMP, which wait actively for each other at the end of a parallel
operation. So a step proceeds only while each of them has a core. The study times the step of
`rnnlab bench export`, a GRU of width 128 and depth 2, without other programs and with four busy
loops per core, at the same priority. Processes differ in the variable OMP_WAIT_POLICY, which OpenMP
reads once.

Expected, written before this run and after tries: without other programs 2 threads take as long as
1 thread; with them 3 to 6 times as long. With the policy passive, which lets a thread sleep while
it waits, 1.2 to 1.3 times as long with other programs, but up to 3 times as long without.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import jax
import numpy as np
from flax import nnx

from rnnlab import provenance, records
from rnnlab.bench.base import RATIO_QUARTILES, Column, key_column, make_table, ratio_column
from rnnlab.bench.timing import TimedProgram, compare_to_reference, time_interleaved
from rnnlab.bench.torch_steps import torch_step
from rnnlab.models import ModelConfig
from rnnlab.records import Record
from rnnlab.tables import Table, device_label, print_table

OUT = Path(__file__).parent.parent / "results" / "torch_threads" / "rows.jsonl"
VOCABULARY, REPEATS = 256, 5
STEPS = {1: 200, 64: 40}
"""Time steps per measurement, by number of streams."""
LOOPS_PER_CORE = 4
POLICIES = {"active": "default", "passive": "passive"}
"""Labels of the values of OMP_WAIT_POLICY. Active is what the process does without it."""
COLUMNS = (
    key_column("batch_size", "streams"),
    Column("other programs", lambda r: f"{r['busy']} busy loops" if r["busy"] else "none"),
    Column("OMP_WAIT_POLICY", lambda r: POLICIES[r["policy"]]),
    Column("µs per step, 1 thread", lambda r: f"{1e6 * r['reference_seconds']:,.0f}"),
    key_column("threads"),
    Column("µs per step", lambda r: f"{1e6 * r['seconds']:,.0f}"),
    ratio_column("relative to 1 thread"),
    RATIO_QUARTILES,
)


def table(measured: Sequence[Record]) -> Table:
    """Returns the table, one row per measurement of several threads, next to that of one."""
    title = f"width 128, depth 2, vocabulary {VOCABULARY}; {device_label(measured[0])}"
    several = (record for record in measured if record["threads"] > 1)
    ordered = sorted(several, key=lambda r: (r["batch_size"], r["busy"], r["policy"]))
    return make_table(title, COLUMNS, ordered, ())


def measure(policy: str) -> Iterator[Record]:
    """Yields the records of this process, which has a policy, without those of its environment."""
    config = ModelConfig("gru", width=128, depth=2)
    model = config.build(VOCABULARY, vocab_size=VOCABULARY, rngs=nnx.Rngs(0))
    rng = np.random.default_rng(0)
    for busy in (0, LOOPS_PER_CORE * os.cpu_count()):
        for streams, steps in STEPS.items():
            tokens = rng.integers(0, VOCABULARY, (steps, streams), np.int32)
            counts = range(1, os.cpu_count() + 1)
            programs = [
                TimedProgram(
                    partial(torch_step(model, streams, count).stream, tokens),
                    wait=lambda logits: None,
                )
                for count in counts
            ]
            with busy_loops(busy):
                seconds = time_interleaved(programs, REPEATS) / steps
            for threads, program, times in zip(counts, programs, seconds, strict=True):
                yield {
                    "seed": 0,
                    "policy": policy,
                    "busy": busy,
                    "batch_size": streams,
                    "threads": threads,
                    "length": steps,
                    "repeats": REPEATS,
                    **compare_to_reference(program, times, seconds[0]),
                }


@contextmanager
def busy_loops(count: int) -> Iterator[None]:
    """Runs processes that compute without a pause."""
    command = [sys.executable, "-c", "while True: pass"]
    processes = [subprocess.Popen(command) for _ in range(count)]
    try:
        time.sleep(0.2 if processes else 0)  # until they run
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--policy", choices=POLICIES, help=argparse.SUPPRESS)
    parsed = parser.parse_args()
    if parsed.policy:
        for record in measure(parsed.policy):
            print(json.dumps(record), flush=True)
        return 0
    common = {"benchmark": "torch_threads", **provenance.environment(jax.devices()[0])}
    measured = []
    for policy in POLICIES:
        environment = {name: x for name, x in os.environ.items() if name != "OMP_WAIT_POLICY"}
        if policy == "passive":
            environment["OMP_WAIT_POLICY"] = policy
        command = [sys.executable, __file__, "--policy", policy]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
        for line in done.stdout.decode().splitlines():
            measured.append({**common, **json.loads(line)})
            records.append(OUT, measured[-1])
    print_table(table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
