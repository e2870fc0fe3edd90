"""When does it pay to split time into chunks, so that more of a GPU's processors have work?

Command:  python experiments/studies/gpu_time_chunks.py [OUT]
Device:   one NVIDIA GPU of compute capability 9.0 or later (H100, H200); about two minutes.
Result:   OUT (default runs/gpu_time_chunks): rows.jsonl.

The scan's kernel gives one thread block 128 features of one sequence. With more than one chunk of
time it reads its operands twice, 5 N numbers forward instead of 3 N, and has more thread blocks.

Expected: one chunk is faster from about 128 thread blocks, one per processor; with fewer, as many
chunks as give 128 thread blocks are fastest.

Measured on an H200: one chunk is faster from 32 thread blocks. With 1, 4 and 16 thread blocks, 16,
32 and 8 chunks are fastest, so that 128 thread blocks are right except at the shortest length.
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp

from rnnlab import provenance, records
from rnnlab.bench.base import RECORDS_FILE, SHAPE, Column, Workload, key_column, make_table
from rnnlab.bench.timing import compile_keys, compile_program, time_interleaved, time_keys
from rnnlab.scan.pallas import mosaic_gpu, ops
from rnnlab.scan.pallas.driver import KernelBackend
from rnnlab.tables import Table, device_label

SHAPES = ("1x4096x128", "1x65536x512", "2x4096x1024", "4x4096x1024", "6x4096x1024", "8x4096x1024")
CHUNKS = (1, 2, 4, 8, 16, 32, 64)
MOST_THREAD_BLOCKS = 512
REPEATS = 20


def main(out: Path) -> int:
    device = jax.devices()[0]
    for shape in SHAPES:
        workload = Workload.of_shape(shape, device)
        for row in measure(workload, device):
            records.append(out / RECORDS_FILE, row)
            print(shape, row["pass"], row["chunks"], row["share_of_copy"], flush=True)
    return 0


def measure(workload: Workload, device: jax.Device) -> Iterator[records.Record]:
    """The bytes per second of each number of chunks, relative to a copy, in interleaved rounds."""
    keys = jax.random.split(jax.random.key(0), 3)
    size = workload.batch_size, workload.length, workload.width
    a = jax.nn.sigmoid(jax.random.normal(keys[0], size))
    b, dh = (jax.random.normal(key, size) for key in keys[1:])
    h0 = jnp.zeros((size[0], size[2]))
    blocks = thread_blocks(workload.batch_size, workload.width)
    cases = [
        (chunks, pass_, count)
        for chunks in CHUNKS
        if chunks == 1 or blocks * chunks <= MOST_THREAD_BLOCKS
        for pass_, count in (("forward", 3), ("forward + backward", 8))
    ]
    programs = [compile_program(lambda a, b, dh, h0: a + 1, a, b, dh, h0)]
    for chunks, pass_, _ in cases:
        backend = KernelBackend(
            mosaic_gpu.scan_kernel, mosaic_gpu.BLOCK_FEATURES, lambda *_, chunks=chunks: chunks
        )

        def run(a, b, dh, h0, backend=backend, backward=pass_ != "forward"):
            h, last = ops.scan(backend, a, b, h0, None, reverse=False)
            if not backward:
                return h, last
            zeros = jnp.zeros_like(last)
            return h, ops.scan_vjp(backend, a, h, h0, dh, zeros, None, reverse=False)

        programs.append(compile_program(run, a, b, dh, h0))
    copy, *seconds = time_interleaved(programs, REPEATS)
    for (chunks, pass_, count), times, program in zip(cases, seconds, programs[1:], strict=True):
        yield {
            "benchmark": "time_chunks",
            **provenance.environment(device),
            "pass": pass_,
            "chunks": chunks,
            "thread_blocks": blocks,
            **workload.sizes,
            "seed": 0,
            "repeats": REPEATS,
            **compile_keys(program),
            **time_keys(times),
            **time_keys(count * copy / (2 * times), "share_of_copy"),
        }


def thread_blocks(batch_size: int, width: int) -> int:
    return batch_size * -(-width // mosaic_gpu.BLOCK_FEATURES)


def table(measured: Sequence[records.Record]) -> Table:
    columns = (
        SHAPE,
        key_column("thread_blocks", "thread blocks of one chunk"),
        key_column("pass"),
        key_column("chunks"),
        Column("time, ms", lambda r: f"{1e3 * r['seconds']:.3f}"),
        Column("share of a copy", lambda r: f"{r['share_of_copy']:.2f}"),
        Column("used", lambda r: "yes" if r["chunks"] == _used_chunks(r) else ""),
    )
    return make_table(
        device_label(measured[0]), columns, measured, ("batch_size", "length", "width")
    )


def _used_chunks(record: records.Record) -> int:
    return mosaic_gpu.num_time_chunks(*(record[k] for k in ("batch_size", "length", "width")))


if __name__ == "__main__":
    sys.exit(main(Path(*sys.argv[1:2] or ["runs/gpu_time_chunks"])))
