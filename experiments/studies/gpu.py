"""How close to the memory bandwidth does the recurrence run on a GPU, and how fast are others?

Command:  python experiments/studies/gpu.py [OUT [PART ...]]
Device:   one NVIDIA GPU of compute capability 9.0 or later (H100, H200); under 10 minutes.
Result:   OUT (default runs/gpu): one directory per part, with rows.jsonl and sometimes figure.png.
          Parts (default all) run in order of importance; the others still run if one fails.

Expected, from arithmetic: the kernel reads and writes 3 N numbers forward and 8 N forward and
backward, as the bandwidth bound does, and should reach 70% of the bandwidth of a copy or more if
batch times features is 8,192 or more. associative_scan moves 12 N and more, and should stay under a
quarter. A loop over time (lax.scan) should take 8 to 10 microseconds per time step whatever the
batch. At batch 64 the paper reports (T4, against a Python loop) 175 and 235 times for minGRU and
minLSTM at length 512, 1,324 and 1,361 at 4,096; against cuDNN's LSTM a minimal cell should win by
far less.

Measured on an H200: the kernel reaches 97% to 120% of the bandwidth of a copy at 8,192 sequences
times features or more. associative_scan reaches 33% to 57%. A training step by lax.scan takes 22 to
28 microseconds per time step, forward and backward together. The factors against a Python loop are
of the paper's size; those against cuDNN are 7 to 18. docs/gpu.md has the tables.
"""

import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import product
from pathlib import Path

import jax
import numpy as np

from rnnlab import gated_scan, linear_scan, provenance, records
from rnnlab.bench.base import (
    FIGURE_FILE,
    RECORDS_FILE,
    SHAPE,
    Benchmark,
    Column,
    Workload,
    key_column,
    make_table,
)
from rnnlab.bench.libraries import LibrariesBenchmark
from rnnlab.bench.newton_convergence import NewtonBenchmark
from rnnlab.bench.scan import ScanBenchmark
from rnnlab.bench.speedup import SpeedupBenchmark
from rnnlab.bench.timing import (
    compile_keys,
    compile_program,
    quartiles,
    time_interleaved,
    time_keys,
)
from rnnlab.cells.mingru import MinGRUCoefficients
from rnnlab.cells.minlstm import MinLSTMCoefficients
from rnnlab.plotting import save_figure
from rnnlab.scan import resolve_backend
from rnnlab.tables import Table, device_label

sys.path.insert(0, str(Path(__file__).parent.parent.parent / "tests"))
import oracles  # the tests' float64 loops

DTYPES = ("float32", "bfloat16")
SMALL_SHAPES = (16, 128), (5, 1), (8192, 128)
SMALL_OPTIONS = (False, False, "float32"), (True, True, "bfloat16")
SHAPES = ("8x4096x1024", "32x4096x1024", "1x65536x512")
# Smaller, and with a number of features that the kernel pads to a multiple of 128.
SMALLER_SHAPES = ("64x4096x128", "64x512x128", "64x4096x64", "8x1024x200", "1x4096x64")
BFLOAT16_SHAPE = SHAPES[1]


def main(out: Path, chosen: Sequence[str] = ()) -> int:
    parts = {part.__name__: part for part in (parity, bandwidth, scan, speedup, libraries, newton)}
    device = jax.devices()[0]
    ran = resolve_backend("pallas", "gpu")
    print(f"{device.device_kind}; jax {jax.__version__}; pallas runs: {ran}")
    failed = []
    for name in chosen or parts:
        start = time.perf_counter()
        try:
            for record in parts[name](out / name, device):
                print({k: record[k] for k in SHOWN if k in record}, flush=True)
        except Exception:
            failed.append(name)
            print(f"{name} failed: {traceback.format_exc()}", flush=True)
        print(f"{name}: {time.perf_counter() - start:.0f} s", flush=True)
    return 1 if failed else 0


SHOWN = (
    *("case", "backend", "cell", "implementation", "pass", "batch_size", "length", "width"),
    *("relative_error", "bytes_per_second", "share_of_copy", "seconds", "ratio", "step_seconds"),
    *("iterations", "converged"),
)


def parity(out: Path, device: jax.Device) -> Iterator[records.Record]:
    """Every kernel, values and gradients, against the float64 loop."""
    # Time in chunks with steps left over; one tile; less than a tile; chunks without a rest.
    cases = [
        *((777, 200, *options) for options in product(*([False, True],) * 2, DTYPES)),
        *((*shape, *options) for shape, options in product(SMALL_SHAPES, SMALL_OPTIONS)),
    ]
    for length, features, reverse, flags, dtype in cases:
        keys = jax.random.split(jax.random.key(0), 5)
        a = jax.nn.sigmoid(jax.random.normal(keys[0], (2, length, features))).astype(dtype)
        b, dh = (jax.random.normal(k, a.shape).astype(dtype) for k in keys[1:3])
        h0 = jax.random.normal(keys[3], (2, features))
        reset = jax.random.bernoulli(keys[4], 0.1, (2, length)) if flags else None
        run = partial(linear_scan, reset=reset, reverse=reverse, backend="pallas")
        h, pull = jax.jit(partial(jax.vjp, run))(a, b, h0)
        wanted = oracles.linear_scan(a, b, h0, reset, reverse)
        gradients = oracles.linear_scan_gradients(a, b, h0, dh, reset, reverse)
        found = (h, *pull(dh))
        name = f"linear, {dtype}" + (", reverse" * reverse) + (", reset" * flags)
        yield _parity(out, device, name, a.shape, found, (wanted, *gradients))
    for name, coefficients, count, num_params in (
        ("mingru", MinGRUCoefficients(), 2, 0),
        ("minlstm", MinLSTMCoefficients(), 3, 0),
        ("learned rates", _with_learned_rates, 2, 1),
    ):
        keys = jax.random.split(jax.random.key(1), count + num_params + 4)
        shape = (2, 777, 200)
        preactivations = [jax.random.normal(k, shape) for k in keys[:count]]
        params = [jax.random.normal(k, (200,)) for k in keys[count + 4 :]]
        states = [jax.random.normal(k, (2, 200)) for k in keys[count : count + 2]]
        operands = preactivations, params, *states
        flags = {
            "reset": jax.random.bernoulli(keys[count + 2], 0.1, shape[:2]),
            "mask": jax.random.bernoulli(keys[count + 3], 0.8, shape[:2]),
        }
        run = partial(_gated, coefficients, flags)
        found = jax.jit(partial(run, "pallas"))(*operands)
        with jax.enable_x64(True):
            wide = jax.tree.map(lambda x: np.asarray(x, np.float64), operands)
            wanted = jax.jit(partial(run, "sequential"))(*wide)
        yield _parity(out, device, f"{name}, reset and mask", shape, found, wanted)


def _with_learned_rates(gate, x, rate):
    """Coefficients with a learned rate per feature."""
    a = jax.nn.sigmoid(rate * gate)
    return a, (1 - a) * x


def _gated(coefficients, flags, backend, *operands):
    """The states and the gradients of all operands; the states are their own cotangent."""

    def states(preactivations, params, h0, reset_state):
        run = partial(gated_scan, coefficients, backend=backend, **flags)
        return run(preactivations, h0, params=params, reset_state=reset_state)[0]

    h, pull = jax.vjp(states, *operands)
    return jax.tree.leaves((h, pull(h)))


def _parity(out, device, case, shape, found, wanted):
    errors = [
        float(oracles.relative_error(np.asarray(x, np.float64), np.asarray(y, np.float64)))
        for x, y in zip(found, wanted, strict=True)
    ]
    row = {
        "benchmark": "parity",
        **provenance.environment(device),
        "case": case,
        "batch_size": shape[0],
        "length": shape[1],
        "width": shape[2],
        "seed": 0,
        "relative_error": max(errors),
    }
    records.append(out / RECORDS_FILE, row)
    return row


def parity_table(measured: Sequence[records.Record]) -> Table:
    columns = (
        key_column("case"),
        SHAPE,
        Column("max relative error", lambda r: f"{r['relative_error']:.0e}"),
    )
    return make_table(device_label(measured[0]), columns, measured, ("length", "width"))


def bandwidth(out: Path, device: jax.Device) -> Iterator[records.Record]:
    """Bytes per second of the kernel and of a copy, in interleaved rounds."""
    cases = [(s, "float32") for s in (*SHAPES, *SMALLER_SHAPES)] + [(BFLOAT16_SHAPE, "bfloat16")]
    for shape, dtype in cases:
        workload = Workload.of_shape(shape, device, dtype)
        keys = jax.random.split(jax.random.key(0), 3)
        size = (workload.batch_size, workload.length, workload.width)
        a = jax.nn.sigmoid(jax.random.normal(keys[0], size, dtype))
        b, dh = (jax.random.normal(k, size, dtype) for k in keys[1:])

        def forward(backend, a, b, dh):
            return linear_scan(a, b, backend=backend)

        def backward(backend, a, b, dh):
            h, vjp = jax.vjp(partial(linear_scan, backend=backend), a, b)
            return h, vjp(dh)

        programs: dict[tuple[str, str], tuple[Callable, int]] = {
            ("copy", "forward"): (lambda a, b, dh: a + 1, 2)
        }
        for backend in ("pallas", "associative"):
            programs[backend, "forward"] = (partial(forward, backend), 3)
            programs[backend, "forward + backward"] = (partial(backward, backend), 8)
        compiled = [compile_program(program, a, b, dh) for program, _ in programs.values()]
        seconds = time_interleaved(compiled, 20)
        bytes_moved = np.array([count * a.nbytes for _, count in programs.values()])
        rates = bytes_moved[:, None] / seconds
        for k, (backend, pass_) in enumerate(programs):
            row = {
                "benchmark": "bandwidth",
                **provenance.environment(device),
                "backend": backend if backend == "copy" else resolve_backend(backend, "gpu"),
                "pass": pass_,
                **workload.sizes,
                "seed": 0,
                "repeats": 20,
                **compile_keys(compiled[k]),
                **time_keys(seconds[k]),
                "bytes_per_second": quartiles(rates[k])[1],
                **time_keys(rates[k] / rates[0], "share_of_copy"),
            }
            records.append(out / RECORDS_FILE, row)
            yield row


def bandwidth_table(measured: Sequence[records.Record]) -> Table:
    columns = (
        SHAPE,
        key_column("dtype"),
        key_column("pass"),
        key_column("backend"),
        Column("time, ms", lambda r: f"{1e3 * r['seconds']:.3f}"),
        Column("GB/s", lambda r: f"{r['bytes_per_second'] / 1e9:,.0f}"),
        Column("share of a copy", lambda r: f"{r['share_of_copy']:.2f}"),
        Column(
            "quartiles", lambda r: f"{r['share_of_copy_q1']:.2f} to {r['share_of_copy_q3']:.2f}"
        ),
    )
    sections = ("batch_size", "length", "width", "dtype")
    return make_table(device_label(measured[0]), columns, measured, sections)


def scan(out: Path, device: jax.Device) -> Iterator[records.Record]:
    """Every backend relative to the bandwidth bound."""
    yield from _run(ScanBenchmark(shapes=SHAPES, backend=("associative", "pallas"), out=out))


def speedup(out: Path, device: jax.Device) -> Iterator[records.Record]:
    """The paper's size: batch 64, lengths 512 and 4,096, its Python loop at both lengths."""
    yield from _run(
        SpeedupBenchmark(
            cells=("gru", "lstm", "mingru", "minlstm"),
            lengths=(512, 4096),
            batch_size=64,
            backend=("auto", "associative"),
            passes=("train",),
            repeats=3,
            python_loop_max_length=4096,
            out=out,
        )
    )


def libraries(out: Path, device: jax.Device) -> Iterator[records.Record]:
    """cuDNN's LSTM, torch if it is installed, naive JAX."""
    shapes = ("64x4096x128", "8x1024x256")
    yield from _run(LibrariesBenchmark(shapes=shapes, out=out))


def newton(out: Path, device: jax.Device) -> Iterator[records.Record]:
    """Classic cells by Newton's iteration, relative to the loop."""
    yield from _run(NewtonBenchmark(shapes=("1x1024x128", "1x16384x128"), out=out))


def _run(benchmark: Benchmark) -> Iterator[records.Record]:
    measured = []
    for record in benchmark.run():
        measured.append(record)
        yield record
    if (figure := benchmark.figure(measured)) is not None:
        save_figure(figure, benchmark.out / FIGURE_FILE)


if __name__ == "__main__":
    sys.exit(main(Path(*sys.argv[1:2] or ["runs/gpu"]), sys.argv[2:]))
