"""What do chunks of time steps save in scans of a matrix state, and what do they lose in accuracy?

Command:  python experiments/studies/matrix_scans.py
Device:   2 cores of a shared x86 machine; 5 minutes.
Result:   experiments/results/matrix_scans/rows.jsonl and two tables in docs/scan.md.

Time: value and gradients with respect to all operands of `matrix_scan` and `delta_scan`, with a
decay per head and per key feature, against the loop over time step by step through JAX's automatic
differentiation, in the same rounds.

Accuracy: the largest relative error of the outputs in float32 after 65,536 steps, against a float64
loop: decays log-uniform in a range, and for the delta rule also one key that repeats, with beta
close to 2.

Expected: at 4 heads of 32 chunks of 16 take at most a fifth of the time and of the temporary
buffers of the loop; larger chunks are slower on a CPU, since half of the products above the
diagonal are not used. Errors are below 5e-7 for every range of decays, since exponents are sums
only, and at most 5e-5 for the repeated key.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax

from rnnlab import provenance, records
from rnnlab.bench.base import RATIO_QUARTILES, Column, key_column, make_table, ratio_column
from rnnlab.bench.timing import compare_to_reference, compile_program, time_interleaved, time_keys
from rnnlab.records import Record
from rnnlab.scan import delta_scan, matrix_scan
from rnnlab.tables import Table, device_label, format_ms, print_table

OUT = Path(__file__).parent.parent / "results" / "matrix_scans" / "rows.jsonl"
BATCH, LENGTH = 8, 1024
HEADS = ((4, 32), (2, 64))
CHUNKS = (16, 32, 64)
SCANS = {"matrix_scan": matrix_scan, "delta_scan": delta_scan}
LONG = 65536
RANGES = {"0.9 to 1": 0.9, "1e-6 to 1": 1e-6, "1e-30 to 1": 1e-30}
REPEATED = "one repeated key, beta 1.9 to 2, no decay"
MEMORY = Column("XLA temp memory, MB", lambda r: f"{r['temp_bytes'] / 1e6:,.1f}")
SIZE = Column("heads × features", lambda r: f"{r['heads']} × {r['features']}")


def time_table(measured: Sequence[Record]) -> Table:
    """One table row per scan, decay, size and form."""
    chosen = [r for r in measured if r["benchmark"] == "matrix scan time"]
    columns = (
        key_column("scan"),
        key_column("decay"),
        SIZE,
        key_column("form"),
        Column("time in ms", lambda r: format_ms(r["seconds"])),
        ratio_column("× loop"),
        RATIO_QUARTILES,
        MEMORY,
    )
    title = f"{device_label(chosen[0])}; forward and backward at {BATCH} × {LENGTH}, float32"
    return make_table(title, columns, chosen, ())


def error_table(measured: Sequence[Record]) -> Table:
    """One table row per scan, decay and range of decays."""
    chosen = [r for r in measured if r["benchmark"] == "matrix scan error"]
    columns = (
        key_column("scan"),
        key_column("decay"),
        key_column("operands"),
        Column("largest relative error", lambda r: f"{r['error']:.1e}"),
    )
    title = f"{device_label(chosen[0])}; after {LONG:,} steps, float32"
    return make_table(title, columns, chosen, ())


def operands(scan: str, decay: str, heads: int, features: int, length: int, lowest: float):
    """Returns random operands by name; keys have length 1 and decays are log-uniform."""
    rng = np.random.default_rng(0)
    steps = (BATCH if length == LENGTH else 1, length, heads)
    k = rng.normal(size=(*steps, features))
    shape = (*steps, features) if decay == "key feature" else steps
    arrays = {
        "q": rng.normal(size=(*steps, features)) * features**-0.5,
        "k": k / np.linalg.norm(k, axis=-1, keepdims=True),
        "v": rng.normal(size=(*steps, features)),
        "log_decay": np.log(lowest) * rng.random(shape),
    }
    if scan == "delta_scan":
        arrays["beta"] = rng.random(steps)
    return {name: x.astype(np.float32) for name, x in arrays.items()}


def by_steps(q, k, v, log_decay, beta=None) -> tuple[Array, Array]:
    """The recurrence as a loop over time, which JAX differentiates."""
    decay = jnp.exp(log_decay if log_decay.ndim == k.ndim else log_decay[..., None])

    def body(state, step):
        q, k, v, decay, beta = step
        state = decay[..., None] * state
        if beta is not None:
            v = beta[..., None] * (v - jnp.einsum("bhkv,bhk->bhv", state, k))
        state = state + k[..., None] * v[..., None, :]
        return state, jnp.einsum("bhkv,bhk->bhv", state, q)

    first = jnp.zeros((*k.shape[:1], *k.shape[2:], v.shape[-1]), k.dtype)
    steps = jax.tree.map(lambda x: jnp.moveaxis(x, 1, 0), (q, k, v, decay, beta))
    last, o = lax.scan(body, first, steps)
    return jnp.moveaxis(o, 0, 1), last


def measure_time(scan: str, decay: str, heads: int, features: int, repeats: int) -> list[Record]:
    """Returns a record per form of a scan, all timed in the same rounds."""
    arrays = operands(scan, decay, heads, features, LENGTH, 0.9)
    arrays = {name: jnp.asarray(x) for name, x in arrays.items()}

    def step(form: Callable[..., tuple[Array, Array]]):
        return jax.value_and_grad(lambda arrays: sum(x.sum() for x in form(**arrays)))

    forms = {"loop over time, automatic differentiation": by_steps}
    for chunk in CHUNKS:
        forms[f"chunks of {chunk}"] = lambda chunk=chunk, **arrays: SCANS[scan](
            **arrays, chunk=chunk
        )
    programs = [compile_program(step(form), arrays) for form in forms.values()]
    seconds = time_interleaved(programs, repeats)
    return [
        {
            "benchmark": "matrix scan time",
            **provenance.environment(jax.devices()[0]),
            **{"scan": scan, "decay": decay, "heads": heads, "features": features},
            **{"batch_size": BATCH, "length": LENGTH, "form": form, "seed": 0, "repeats": repeats},
            **time_keys(of_form),
            **compare_to_reference(program, of_form, seconds[0]),
        }
        for form, program, of_form in zip(forms, programs, seconds, strict=True)
    ]


def measure_errors(scan: str, decay: str) -> Iterator[Record]:
    """Yields a record per range of decays, and one of a repeated key for the delta rule."""
    cases = {
        f"decays {name}": operands(scan, decay, 1, 16, LONG, lowest)
        for name, lowest in RANGES.items()
    }
    if scan == "delta_scan":
        arrays = operands(scan, decay, 1, 16, LONG, 1.0)
        arrays["k"] = np.broadcast_to(arrays["k"][:, :1], arrays["k"].shape)
        arrays["beta"] = 2 - 0.1 * arrays["beta"]
        cases[REPEATED] = arrays
    for name, arrays in cases.items():
        exact = loop_in_float64(**arrays)
        found = np.asarray(SCANS[scan](**arrays)[0], np.float64)
        yield {
            "benchmark": "matrix scan error",
            **provenance.environment(jax.devices()[0]),
            **{"scan": scan, "decay": decay, "operands": name, "length": LONG, "seed": 0},
            "error": float(np.abs(found - exact).max() / np.abs(exact).max()),
        }


def loop_in_float64(q, k, v, log_decay, beta=None) -> np.ndarray:
    """The outputs of one example and head, by a loop in NumPy."""
    q, k, v, log_decay = (np.asarray(x[0, :, 0], np.float64) for x in (q, k, v, log_decay))
    decay = np.exp(log_decay.reshape(len(q), -1))
    state, o = np.zeros((k.shape[-1], v.shape[-1])), np.zeros_like(v)
    for t in range(len(q)):
        state = decay[t][:, None] * state
        value = v[t]
        if beta is not None:
            value = float(beta[0, t, 0]) * (value - k[t] @ state)
        state = state + np.outer(k[t], value)
        o[t] = q[t] @ state
    return o[None, :, None]


def main() -> int:
    measured = []
    for scan in SCANS:
        for decay in ("head", "key feature"):
            for record in measure_errors(scan, decay):
                records.append(OUT, record)
                measured.append(record)
            for heads, features in HEADS:
                found = measure_time(scan, decay, heads, features, repeats=7)
                for record in found:
                    records.append(OUT, record)
                measured += found
    print_table(time_table(measured))
    print_table(error_table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
