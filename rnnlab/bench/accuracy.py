"""The error of every form of the scan against a float64 loop, by length, dtype and decay range."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rnnlab.bench.base import Benchmark, OnProgress
from rnnlab.dtypes import accumulation_dtype
from rnnlab.records import Record
from rnnlab.scan import heinsen_scan, linear_scan, log_linear_scan
from rnnlab.tables import Table, device_label

LOG_FORM_16BIT = "published log form in 16 bit"


class AccuracyCase(NamedTuple):
    """The distributions that decays and inputs are drawn from.

    Attributes:
      mean: mean of the decay's pre-activations; their standard deviation is 1.
      signed_decay: whether decays are rescaled to (-1, 1).
      signed_inputs: whether inputs are standard normal instead of uniform in (0, 1).
    """

    mean: float
    signed_decay: bool = False
    signed_inputs: bool = False

    @property
    def positive(self) -> bool:
        """Whether decays and inputs have logarithms."""
        return not (self.signed_decay or self.signed_inputs)


CASES = {
    "N(0, 1)": AccuracyCase(0.0),
    "N(8, 1)": AccuracyCase(8.0),
    "N(0, 1), inputs N(0, 1)": AccuracyCase(0.0, signed_inputs=True),
    "N(8, 1), inputs N(0, 1)": AccuracyCase(8.0, signed_inputs=True),
    "N(0, 1) in (-1, 1), inputs N(0, 1)": AccuracyCase(0.0, signed_decay=True, signed_inputs=True),
}


@dataclass(frozen=True)
class AccuracyBenchmark(Benchmark):
    """Measures the relative error max|h - ref| / max|ref| of every form against a float64 loop.

    The decay is sigmoid of N(0, 1), or of N(8, 1), which remembers thousands of time steps; in one
    case it is rescaled to (-1, 1). Inputs are uniform in (0, 1), because the log forms accept only
    positive terms, or standard normal. Writes OUT/rows.jsonl and prints the table.

    Attributes:
      lengths: sequence lengths.
      dtypes: dtypes of inputs and outputs; the scans accumulate in float32.
      width: independent recurrences in each measurement.
      out: output directory. Records are appended to those that are there.
    """

    lengths: tuple[int, ...] = (64, 1024, 16384, 65536)
    dtypes: tuple[str, ...] = ("float32", "bfloat16", "float16")
    width: int = 64
    out: Path = Path("runs/accuracy")

    name = "accuracy"
    choices: ClassVar = {"dtypes": ("float32", "bfloat16", "float16")}

    def cases(self) -> Sequence[tuple[str, int]]:
        return [(decays, length) for decays in CASES for length in self.lengths]

    def measure(
        self, case: tuple[str, int], device: jax.Device, on_progress: OnProgress
    ) -> Iterator[Record]:
        decays, length = case
        on_progress(f"{decays}, length {length}")
        a, b = _operands(length, self.width, CASES[decays])
        for dtype in self.dtypes:
            # The reference starts from the rounded inputs, so that only the scan's error remains.
            a_in, b_in = jnp.asarray(a, dtype), jnp.asarray(b, dtype)
            reference = _loop(np.asarray(a_in, np.float64), np.asarray(b_in, np.float64))
            for form, scan in _forms(CASES[decays]).items():
                if form == LOG_FORM_16BIT and dtype == "float32":
                    continue
                h = np.asarray(scan(a_in, b_in)).astype(np.float64)
                error = np.abs(h - reference).max() / np.abs(reference).max()
                yield {
                    "form": form,
                    "gates": decays,
                    "length": length,
                    "width": self.width,
                    "dtype": dtype,
                    "relative_error": float(error) if np.isfinite(error) else None,
                }

    @classmethod
    def conclusion(cls, measured: Sequence[Record]) -> str:
        longest = max(r["length"] for r in measured)
        errors: dict[str, list[float]] = {}
        for r in measured:
            if r["length"] == longest and r["dtype"] == measured[0]["dtype"]:
                error = float("nan") if r["relative_error"] is None else r["relative_error"]
                errors.setdefault(r["form"], []).append(error)
        found = ", ".join(f"{form} {max(found):.0e}" for form, found in errors.items())
        return (
            f"Largest relative errors at {longest:,} time steps in {measured[0]['dtype']}: {found}."
        )

    @classmethod
    def table(cls, measured: Sequence[Record]) -> Table:
        """One table row per form, and one column per length."""
        lengths = sorted({r["length"] for r in measured})
        errors: dict[tuple[str, str, str], dict[int, float | None]] = {}
        for r in measured:
            key = r["dtype"], r["gates"], r["form"]
            errors.setdefault(key, {})[r["length"]] = r["relative_error"]
        order = list(dict.fromkeys(r["dtype"] for r in measured))
        keys = sorted(errors, key=lambda key: order.index(key[0]))
        lines = [
            (*key, *("NaN" if (e := errors[key].get(n)) is None else f"{e:.1e}" for n in lengths))
            for key in keys
        ]
        ends = {k for k, (x, y) in enumerate(pairwise(keys)) if x[:2] != y[:2]}
        headings = ("dtype", "decays", "form", *(f"length {n:,}" for n in lengths))
        title = f"relative error against a float64 loop on {device_label(measured[0])}"
        return Table(title, headings, lines, frozenset(ends))


def _forms(case: AccuracyCase):
    """Forms by name, each from real-space decays and inputs to real-space states."""
    real = {backend: _real(backend) for backend in ("sequential", "associative")}
    if not case.positive:
        return real
    return real | {
        "log pairs": _in_log_space(log_linear_scan),
        "published log form": _in_log_space(heinsen_scan),
        LOG_FORM_16BIT: _published_16_bit,
    }


def _real(backend):
    return jax.jit(lambda a, b: linear_scan(a, b, backend=backend))


def _in_log_space(scan):
    """A log form that takes the logarithms in float32, of 16-bit inputs too."""

    @jax.jit
    def call(a, b):
        wide = accumulation_dtype(a.dtype)
        return jnp.exp(scan(jnp.log(a.astype(wide)), jnp.log(b.astype(wide)))).astype(b.dtype)

    return call


@jax.jit
def _published_16_bit(a, b):
    """The published form as a mixed-precision run computes it in 16 bit."""
    log_s = jnp.cumsum(jnp.log(a), 0)
    return jnp.exp(log_s + jax.lax.cumlogsumexp(jnp.log(b) - log_s, 0))


def _operands(length, width, case):
    rng = np.random.default_rng(0)
    shape = (length, width)
    a = 1 / (1 + np.exp(-rng.normal(case.mean, 1.0, shape)))
    b = rng.normal(size=shape) if case.signed_inputs else rng.uniform(size=shape)
    return (2 * a - 1 if case.signed_decay else a).astype(np.float32), b.astype(np.float32)


def _loop(a, b):
    h, state = np.empty_like(b), np.zeros(b.shape[1])
    for t in range(len(b)):
        state = h[t] = a[t] * state + b[t]
    return h
